/* cmd_models.c - `qwenctl models`: the models of this machine, and which of them is served. */
#include <dirent.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "cmd.h"
#include "json.h"
#include "store.h"
#include "term.h"

struct models {
    const struct cmd_args *args;
    FILE *out;
    struct json json;
    char *served; /* the daemon's file, by path if it said that; NULL: no daemon, or it has none */
    size_t n;
};

/* No daemon is no fault here: the question was for files. */
static char *models_served(const struct cmd_args *args)
{
    _cleanup_(qwend_closep) qwend *q = NULL;
    qwend_status_info info;
    qwend_served served;

    if (qwend_open_as(&q, args->values->socket, 0, "qwenctl " QWEND_VERSION) ||
        qwend_set_timeout(q, args->values->timeout_ms.given ? (int)args->values->timeout_ms.value : 2000) ||
        qwend_status(q, &info) || !*info.file)
        return NULL;
    return strdup(!qwend_status_served(q, &served) && *served.path == '/' ? served.path : info.file);
}

static bool models_is_served(const struct models *models, const char *path)
{
    const char *name = strrchr(path, '/'), *served = models->served ? strrchr(models->served, '/') : NULL;
    struct stat a, b;

    if (!models->served)
        return false;
    if (served && !stat(models->served, &a) && !stat(path, &b))
        return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
    /* all there is to go by if the daemon sees other folders than we do */
    return name && !strcmp(name + 1, served ? served + 1 : models->served);
}

/* A file's name may be any bytes but none that a terminal obeys, and it is one line. */
static void models_put_path(FILE *out, const char *path)
{
    char safe[TERM_GROWTH * PATH_MAX];
    const size_t n = term_escape(path, strnlen(path, PATH_MAX), safe);

    for (size_t i = 0; i < n; i++)
        safe[i] = safe[i] == '\n' || safe[i] == '\t' ? '?' : safe[i];
    fwrite(safe, 1, n, out);
    fputc('\n', out);
}

static void models_put(struct models *models, const char *path, uint64_t bytes)
{
    const bool served = models_is_served(models, path);
    char hex[STORE_HASH_BYTES + 1] = "";

    models->n++;
    if (models->args->ui->quiet && !models->args->values->json) {
        fprintf(models->out, "%s\n", strrchr(path, '/') + 1);
        return;
    }
    store_known_hash(path, hex);
    if (!models->args->values->json) {
        fprintf(models->out, "%c %8.1f MiB  %-12.12s  ", served ? '*' : ' ', (double)bytes / (1 << 20),
                *hex ? hex : "-");
        models_put_path(models->out, path);
        return;
    }
    json_open(&models->json, NULL, '{');
    json_text(&models->json, "file", path, (size_t)-1);
    json_uint(&models->json, "bytes", bytes);
    json_text(&models->json, "sha256", hex, (size_t)-1);
    json_bool(&models->json, "served", served);
    json_close(&models->json, '}');
}

static int models_by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void models_ls(struct models *models, const char *folder)
{
    struct dirent **list;
    int n = folder ? scandir(folder, &list, NULL, models_by_name) : 0;

    for (int i = 0; i < n; i++) {
        const size_t n_name = strlen(list[i]->d_name);
        _cleanup_(freep) char *path = NULL;
        struct stat st;

        if (n_name > 5 && !strcmp(list[i]->d_name + n_name - 5, ".gguf") &&
            asprintf(&path, "%s/%s", folder, list[i]->d_name) >= 0 && !stat(path, &st) && S_ISREG(st.st_mode))
            models_put(models, path, (uint64_t)st.st_size);
        free(list[i]);
    }
    if (n > 0)
        free(list);
}

enum code cmd_models(const struct cmd_args *args)
{
    struct models models = {.args = args};
    struct cmd_page page;
    char *folders[2];
    enum code code = cmd_page_open(args, &page);

    if (code)
        return code;
    models.out = models.json.file = page.file;
    if (!args->ui->quiet || args->values->json)
        models.served = models_served(args);
    if (args->values->json) {
        json_open(&models.json, NULL, '{');
        json_open(&models.json, "models", '[');
    }
    store_folders(folders);
    for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
        models_ls(&models, folders[i]);
        free(folders[i]);
    }
    if (args->values->json) {
        json_close(&models.json, ']');
        json_close(&models.json, '}');
        fputc('\n', page.file);
    } else if (!models.n) {
        ui_note(args->ui, "no models yet: qwenctl pull URL, or qwenctl import FILE");
    }
    free(models.served);
    return cmd_page_close(args, &page);
}
