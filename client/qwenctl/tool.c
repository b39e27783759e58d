/* tool.c - other programs.  See tool.h. */
#include "tool.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

enum { TOOL_OUT_BYTES = 64 << 20 };

static char *tool_in(const char *folder, size_t n, const char *name)
{
    char *path = NULL;

    if (asprintf(&path, "%.*s/%s", (int)n, folder, name) < 0)
        return NULL;
    if (!access(path, X_OK))
        return path;
    free(path);
    return NULL;
}

char *tool_find(const char *name)
{
    const char *folders = getenv("PATH");
    char self[PATH_MAX], *path = NULL;
    const ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

    if (n > 0) {
        self[n] = 0;
        path = tool_in(self, (size_t)(strrchr(self, '/') - self), name);
    }
    if (!path)
        path = tool_in(QWENCTL_LIBEXEC, strlen(QWENCTL_LIBEXEC), name);
    while (!path && folders && *folders) {
        const size_t n_folder = strcspn(folders, ":");

        if (n_folder && *folders == '/') /* what lies in the working folder is nobody's installation */
            path = tool_in(folders, n_folder, name);
        folders += n_folder + (folders[n_folder] == ':');
    }
    return path;
}

static enum code tool_missing(struct ui *ui, const char *name)
{
    ui_error(ui, "%s is not installed: neither beside qwenctl, in " QWENCTL_LIBEXEC " nor in $PATH", name);
    return CODE_FAILED;
}

enum code tool_exec(struct ui *ui, const char *name, char **argv)
{
    _cleanup_(freep) char *path = tool_find(name);

    if (!path)
        return tool_missing(ui, name);
    argv[0] = path;
    signal(SIGPIPE, SIG_DFL); /* ignored by us, and what is ignored stays so over an exec */
    execv(path, argv);
    ui_error(ui, "%s: %s", path, strerror(errno));
    return CODE_FAILED;
}

static enum code tool_read(struct ui *ui, int fd, char **ret_out, size_t *ret_n)
{
    _cleanup_(freep) char *out = NULL;
    size_t cap = 0, n = 0;
    ssize_t k = 1;

    while (k) {
        if (cap - n < 4096) {
            char *grown = cap < TOOL_OUT_BYTES ? realloc(out, cap = cap ? 2 * cap : 8192) : NULL;

            if (!grown) {
                ui_error(ui, "its output is too long");
                return CODE_FAILED;
            }
            out = grown;
        }
        k = read(fd, out + n, cap - 1 - n);
        if (k < 0 && errno != EINTR) {
            ui_error(ui, "reading its output: %s", strerror(errno));
            return CODE_FAILED;
        }
        n += (size_t)MAX(k, 0);
    }
    out[n] = 0;
    *ret_out = steal(&out);
    *ret_n = n;
    return CODE_OK;
}

enum code tool_run(struct ui *ui, const char *name, char **argv, char **ret_out, size_t *ret_n,
                   int *ret_status)
{
    _cleanup_(freep) char *path = tool_find(name);
    enum code code;
    int fds[2];
    pid_t pid;

    if (!path)
        return tool_missing(ui, name);
    argv[0] = path;
    if (pipe2(fds, O_CLOEXEC) < 0 || (pid = fork()) < 0) {
        ui_error(ui, "cannot start %s: %s", name, strerror(errno));
        return CODE_FAILED;
    }
    if (!pid) {
        signal(SIGPIPE, SIG_DFL);
        dup2(fds[1], STDOUT_FILENO);
        execv(path, argv);
        kill(getpid(), SIGKILL); /* its parent hears of that */
    }
    close(fds[1]);
    code = tool_read(ui, fds[0], ret_out, ret_n);
    close(fds[0]);
    while (waitpid(pid, ret_status, 0) < 0 && errno == EINTR)
        ;
    return code;
}
