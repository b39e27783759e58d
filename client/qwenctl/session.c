/* session.c - finding and reading conversations that are kept.  See session.h. */
#include "session.h"

#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <sys/stat.h>

#include "file.h"

static const char session_end[] = ".ndjson";

static enum code session_folder(const char *name, char **ret_path, struct fault *fault)
{
    char file[SESSION_NAME_BYTES + 32];

    snprintf(file, sizeof(file), "sessions/%s%s", name, *name ? session_end : "");
    *ret_path = file_home("XDG_STATE_HOME", ".local/state", file);
    if (*ret_path)
        return CODE_OK;
    return (enum code)fault_set(fault, CODE_USAGE,
                                "there is no home for sessions: set $HOME or $XDG_STATE_HOME");
}

enum code session_path(const char *name, char **ret_path, struct fault *fault)
{
    if (!file_is_name(name))
        return (enum code)fault_set(fault, CODE_USAGE,
                                    "\"%.40s\" is no name for a session: up to %d letters, digits, - _ .",
                                    name, SESSION_NAME_BYTES);
    return session_folder(name, ret_path, fault);
}

bool session_exists(const char *name)
{
    _cleanup_(freep) char *path = NULL;

    return !session_path(name, &path, NULL) && !access(path, F_OK);
}

/* reading */

struct session_reader {
    struct talk *talk;
    const char *path;
    char *user; /* owned: a question that has no answer yet */
    size_t n_user;
    int line;
};

/* A question without an answer is left out: no request may end with two of them. */
static int session_on_message(struct session_reader *reader, const char *role, const char *text, size_t n)
{
    if (!strcmp(role, "system"))
        return talk_set_system(reader->talk, text);
    if (!strcmp(role, "undo"))
        talk_undo(reader->talk);
    if (!strcmp(role, "clear"))
        talk_clear(reader->talk);
    if (!strcmp(role, "user")) {
        free(reader->user);
        reader->user = strndup(text, n);
        reader->n_user = n;
        return reader->user ? 0 : err_origin(-ENOMEM);
    }
    if (!strcmp(role, "assistant") && reader->user) {
        int r = talk_add(reader->talk, reader->user, reader->n_user, text, n);

        free(reader->user);
        reader->user = NULL;
        return r;
    }
    return 0;
}

static enum code session_on_line(struct session_reader *reader, const char *line, size_t n,
                                 struct fault *fault)
{
    const char *role, *content;
    size_t n_content;
    json_error_t error;
    json_t *root = json_loadb(line, n, JSON_REJECT_DUPLICATES, &error);
    int r;

    reader->line++;
    if (!root)
        return (enum code)fault_set(fault, CODE_USAGE, "%s:%d: not a message: %.100s", reader->path,
                                    reader->line, error.text);
    if (json_unpack(root, "{s:s, s:s%}", "role", &role, "content", &content, &n_content)) {
        json_decref(root);
        return (enum code)fault_set(fault, CODE_USAGE, "%s:%d: a message has a role and content",
                                    reader->path, reader->line);
    }
    r = session_on_message(reader, role, content, n_content);
    json_decref(root);
    return r ? (enum code)fault_set(fault, CODE_FAILED, "out of memory") : CODE_OK;
}

/* The last line counts only with its newline. */
enum code session_parse(struct talk *talk, const char *path, const char *text, size_t n, struct fault *fault)
{
    struct session_reader reader = {.talk = talk, .path = path};
    enum code code = CODE_OK;
    const char *end;

    while (!code && (end = memchr(text, '\n', n))) {
        code = session_on_line(&reader, text, (size_t)(end - text), fault);
        n -= (size_t)(end - text) + 1;
        text = end + 1;
    }
    free(reader.user);
    return code;
}

enum code session_load(const char *name, struct talk *talk, struct fault *fault)
{
    _cleanup_(freep) char *path = NULL, *text = NULL;
    enum code code;
    size_t n;
    int r;

    code = session_path(name, &path, fault);
    if (code)
        return code;
    r = file_read(path, SESSION_BYTES, &text, &n);
    if (r == -ENOENT)
        return CODE_OK;
    if (r == FILE_E_BIG)
        return (enum code)fault_set(fault, CODE_TOO_LONG, "%s has more than %d MiB: begin another session",
                                    path, SESSION_BYTES >> 20);
    if (r)
        return (enum code)fault_set(fault, CODE_USAGE, "%s: %s", path, strerror(-r));
    code = session_parse(talk, path, text, n, fault);
    if (code)
        talk_deinit(talk);
    return code;
}

/* listing */

static int session_newer(const void *a, const void *b)
{
    const struct session_info *x = a, *y = b;

    return x->at != y->at ? (x->at < y->at ? 1 : -1) : strcmp(x->name, y->name);
}

static bool session_info_of(int folder, const char *file, struct session_info *ret_info)
{
    const size_t n = strlen(file), n_end = sizeof(session_end) - 1;
    struct stat st;

    if (n <= n_end || n - n_end > SESSION_NAME_BYTES || strcmp(file + n - n_end, session_end) ||
        fstatat(folder, file, &st, AT_SYMLINK_NOFOLLOW) || !S_ISREG(st.st_mode))
        return false;
    *ret_info = (struct session_info){.at = st.st_mtim.tv_sec, .bytes = (uint64_t)st.st_size};
    memcpy(ret_info->name, file, n - n_end);
    return file_is_name(ret_info->name);
}

enum code session_list(struct session_info **ret_list, size_t *ret_n, struct fault *fault)
{
    _cleanup_(freep) char *path = NULL;
    struct session_info *list = NULL;
    size_t n = 0, cap = 0;
    enum code code;
    DIR *folder;

    code = session_folder("", &path, fault);
    if (code)
        return code;
    folder = opendir(path);
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        struct session_info info;

        if (!session_info_of(dirfd(folder), entry->d_name, &info))
            continue;
        if (n == cap) {
            struct session_info *grown = reallocarray(list, cap = cap ? 2 * cap : 16, sizeof(*list));

            if (!grown) {
                free(list);
                closedir(folder);
                return (enum code)fault_set(fault, CODE_FAILED, "out of memory");
            }
            list = grown;
        }
        list[n++] = info;
    }
    if (folder)
        closedir(folder);
    if (n)
        qsort(list, n, sizeof(*list), session_newer);
    *ret_list = list;
    *ret_n = n;
    return CODE_OK;
}

enum code session_latest(char ret_name[SESSION_NAME_BYTES + 1], struct fault *fault)
{
    _cleanup_(freep) struct session_info *list = NULL;
    enum code code;
    size_t n;

    code = session_list(&list, &n, fault);
    if (code)
        return code;
    if (!n)
        return (enum code)fault_set(fault, CODE_USAGE,
                                    "there is no session to go on with: --session NAME begins one");
    memcpy(ret_name, list[0].name, sizeof(list[0].name));
    return CODE_OK;
}
