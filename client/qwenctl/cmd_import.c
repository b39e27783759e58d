/* cmd_import.c - `qwenctl import FILE`: a model file of elsewhere becomes one of this machine's; `qwenctl
 * verify`: is a model what it was? */
#include <fcntl.h>
#include <jansson.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "cmd.h"
#include "file.h"
#include "sig.h"
#include "store.h"
#include "tool.h"

struct import {
    const struct cmd_args *args;
    const char *from;
    char *to, *part;
    int in, out;
    uint64_t bytes;
    struct fault fault;
};

static bool import_is_stopped(void)
{
    return sig_pending() != 0;
}

static enum code import_refuse(struct import *import, enum code code, const char *path)
{
    return (enum code)fault_set(&import->fault, code, "%s: %s", path, strerror(errno));
}

static enum code import_open(struct import *import)
{
    const char *name = strrchr(import->from, '/');
    _cleanup_(freep) char *folder = NULL;
    enum code code;
    struct stat st;

    import->in = open(import->from, O_RDONLY | O_CLOEXEC);
    if (import->in < 0 || fstat(import->in, &st) < 0)
        return import_refuse(import, CODE_USAGE, import->from);
    if (!S_ISREG(st.st_mode) || !store_is_gguf(import->in))
        return (enum code)fault_set(&import->fault, CODE_USAGE, "%s is no GGUF file", import->from);
    import->bytes = (uint64_t)st.st_size;
    code = store_folder(import->args->values->into, &folder, &import->fault);
    if (code)
        return code;
    if (asprintf(&import->to, "%s/%s", folder, name ? name + 1 : import->from) < 0 ||
        asprintf(&import->part, "%s.part", import->to) < 0)
        return (enum code)fault_set(&import->fault, CODE_FAILED, "out of memory");
    if (strlen(import->to) < 6 || strcmp(import->to + strlen(import->to) - 5, ".gguf"))
        return (enum code)fault_set(&import->fault, CODE_USAGE, "%s: the name of a model ends in .gguf",
                                    import->from);
    if (!access(import->to, F_OK))
        return (enum code)fault_set(&import->fault, CODE_USAGE, "%s is there already", import->to);
    if (file_make_folders(import->to))
        return import_refuse(import, CODE_FAILED, import->to);
    return import->args->values->link ? CODE_OK : store_check_room(folder, import->bytes, &import->fault);
}

/* Shared blocks where the file system can, bytes where it cannot. */
static enum code import_copy(struct import *import)
{
    uint64_t done = 0;

    import->out = open(import->part, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (import->out < 0)
        return import_refuse(import, CODE_FAILED, import->part);
    if (!ioctl(import->out, FICLONE, import->in))
        return CODE_OK;
    while (done < import->bytes) {
        const size_t want = MIN(import->bytes - done, (uint64_t)16 << 20);
        const ssize_t n = copy_file_range(import->in, NULL, import->out, NULL, want, 0);

        if (import_is_stopped())
            return sig_pending() == SIGTERM ? CODE_TERM : CODE_INT;
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n ? import_refuse(import, CODE_FAILED, import->part)
                     : (enum code)fault_set(&import->fault, CODE_FAILED, "%s became shorter", import->from);
        done += (uint64_t)n;
        ui_progress(import->args->ui, "%.0f of %.0f MiB", (double)done / (1 << 20),
                    (double)import->bytes / (1 << 20));
    }
    return fsync(import->out) < 0 ? import_refuse(import, CODE_FAILED, import->part) : CODE_OK;
}

static enum code import_put(struct import *import)
{
    char hex[STORE_HASH_BYTES + 1];
    enum code code = CODE_OK;
    int r;

    if (import->args->values->link) {
        if (linkat(AT_FDCWD, import->from, AT_FDCWD, import->part, AT_SYMLINK_FOLLOW) < 0)
            return import_refuse(import, CODE_FAILED, import->to);
    } else {
        code = import_copy(import);
    }
    if (code)
        return code;
    r = store_hash(import->in, import_is_stopped, hex);
    if (r)
        return import_is_stopped()
                   ? (sig_pending() == SIGTERM ? CODE_TERM : CODE_INT)
                   : (enum code)fault_set(&import->fault, CODE_FAILED, "%s: %s", import->from, strerror(-r));
    r = store_write_hash(import->to, hex);
    if (!r && rename(import->part, import->to) < 0)
        r = err_errno();
    if (r)
        return (enum code)fault_set(&import->fault, CODE_FAILED, "%s: %s", import->to, strerror(-r));
    ui_progress_end(import->args->ui);
    return CODE_OK;
}

enum code cmd_import(const struct cmd_args *args)
{
    struct import import = {.args = args, .from = args->n ? args->args[0] : NULL, .in = -1, .out = -1};
    enum code code;

    if (!args->n) {
        ui_error(args->ui, "import takes a GGUF file");
        return CODE_USAGE;
    }
    code =
        sig_listen() ? import_refuse(&import, CODE_FAILED, "cannot watch for signals") : import_open(&import);
    if (!code) {
        code = import_put(&import);
        if (code)
            unlink(import.part);
    }
    if (!code && !args->ui->quiet)
        code = cmd_print(args, import.to, strlen(import.to)) ?: cmd_print(args, "\n", 1);
    if (*import.fault.text)
        ui_error(args->ui, "%s", import.fault.text);
    closep(&import.in);
    closep(&import.out);
    free(import.to);
    free(import.part);
    return code;
}

/* verify */

static enum code verify_hash(const struct cmd_args *args, const char *path, FILE *out, bool *ok)
{
    _cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    char hex[STORE_HASH_BYTES + 1], known[STORE_HASH_BYTES + 1];
    int r;

    if (fd < 0) {
        ui_error(args->ui, "%s: %s", path, strerror(errno));
        return CODE_USAGE;
    }
    r = store_hash(fd, NULL, hex);
    if (r) {
        ui_error(args->ui, "%s: %s", path, strerror(-r));
        return CODE_FAILED;
    }
    if (!store_known_hash(path, known)) {
        fprintf(out, "skip  sha256     %s: nothing to compare it with\n", hex);
        return CODE_OK;
    }
    *ok &= !strcmp(hex, known);
    fprintf(out, "%s  sha256     %s%s%s\n", !strcmp(hex, known) ? "ok  " : "fail", hex,
            strcmp(hex, known) ? ", it was " : "", strcmp(hex, known) ? known : "");
    return CODE_OK;
}

/* The model library reads header, tensors and shapes as it would to load them. */
static enum code verify_structure(const struct cmd_args *args, const char *path, FILE *out, bool *ok)
{
    char *argv[] = {NULL, "inspect", (char *)path, "--json", NULL};
    _cleanup_(freep) char *text = NULL;
    const char *why = NULL;
    json_t *root, *model;
    enum code code;
    int status;
    size_t n;

    code = tool_run(args->ui, "qwend-probe", argv, &text, &n, &status);
    if (code)
        return code;
    root = json_loadb(text, n, 0, NULL);
    model = json_object_get(root, "model");
    if (json_is_string(model))
        why = json_string_value(model);
    if (!root || !WIFEXITED(status) || WEXITSTATUS(status))
        why = "qwend-probe cannot read it";
    else if (!model)
        why = "it has no model";
    *ok &= !why;
    fprintf(out, "%s  structure  %s\n", why ? "fail" : "ok  ",
            why ? why : "header, tensors and shapes fit together");
    json_decref(root);
    return CODE_OK;
}

enum code cmd_verify(const struct cmd_args *args)
{
    struct cmd_page page;
    enum code code;
    bool ok = true;

    if (!args->n) {
        ui_error(args->ui, "verify takes a GGUF file (qwenctl models lists them)");
        return CODE_USAGE;
    }
    code = cmd_page_open(args, &page);
    if (code)
        return code;
    code = verify_hash(args, args->args[0], page.file, &ok);
    if (!code)
        code = verify_structure(args, args->args[0], page.file, &ok);
    if (code) {
        fclose(page.file);
        free(page.data);
        return code;
    }
    code = cmd_page_close(args, &page);
    return code ? code : ok ? CODE_OK : CODE_NO;
}
