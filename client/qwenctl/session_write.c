/* session_write.c - a turn appended to a conversation that is kept.  See session.h. */
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include "file.h"
#include "json.h"
#include "session.h"

static void session_put(FILE *out, const char *role, const char *text, size_t n)
{
    struct json json = {.file = out};

    json_open(&json, NULL, '{');
    json_text(&json, "role", role, (size_t)-1);
    json_text(&json, "content", text, n);
    json_uint(&json, "at", (uint64_t)time(NULL));
    json_close(&json, '}');
    fputc('\n', out);
}

/* Locked, behind the last whole line. */
static int session_open(const char *path, off_t *ret_end)
{
    _cleanup_(closep) int fd = -1;
    char last = '\n';
    off_t end;

    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || flock(fd, LOCK_EX) < 0)
        return err_errno();
    end = lseek(fd, 0, SEEK_END);
    while (end > 0 && pread(fd, &last, 1, end - 1) == 1 && last != '\n')
        end--;
    if (end < 0 || ftruncate(fd, end) < 0 || lseek(fd, end, SEEK_SET) < 0)
        return err_errno();
    *ret_end = end;
    return steal_fd(&fd);
}

static int session_append(const char *path, const char *text, size_t n)
{
    _cleanup_(closep) int fd = -1;
    off_t end = 0;

    fd = session_open(path, &end);
    if (fd < 0)
        return fd;
    if ((uint64_t)end + n > SESSION_BYTES)
        return -EFBIG;
    for (size_t done = 0; done < n;) {
        ssize_t k = write(fd, text + done, n - done);

        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0) { /* a disk that is full must not leave half a turn */
            const int r = err_errno();

            (void)!ftruncate(fd, end);
            return r;
        }
        done += (size_t)k;
    }
    return 0;
}

/* Text of whole lines, written by a function of the caller's. */
struct session_page {
    FILE *file;
    char *text;
    size_t n;
};

static enum code session_close(struct session_page *page, const char *path, struct fault *fault)
{
    int r = fclose(page->file) ? -ENOMEM : file_make_folders(path);

    if (!r)
        r = session_append(path, page->text, page->n);
    free(page->text);
    if (r)
        return (enum code)fault_set(fault, CODE_FAILED, "%s: the turn is not kept: %s", path, strerror(-r));
    return CODE_OK;
}

static enum code session_begin(const char *name, struct session_page *page, char **ret_path,
                               struct fault *fault)
{
    enum code code = session_path(name, ret_path, fault);

    if (code)
        return code;
    page->file = open_memstream(&page->text, &page->n);
    return page->file ? CODE_OK : (enum code)fault_set(fault, CODE_FAILED, "out of memory");
}

enum code session_add(const char *name, const char *system, const struct talk_turn *turn, struct fault *fault)
{
    _cleanup_(freep) char *path = NULL;
    struct session_page page = {};
    enum code code = session_begin(name, &page, &path, fault);

    if (code)
        return code;
    if (system)
        session_put(page.file, "system", system, strlen(system));
    session_put(page.file, "user", turn->user, turn->n_user);
    session_put(page.file, "assistant", turn->assistant, turn->n_assistant);
    return session_close(&page, path, fault);
}

enum code session_take_back(const char *name, const char *what, struct fault *fault)
{
    _cleanup_(freep) char *path = NULL;
    struct session_page page = {};
    enum code code = session_begin(name, &page, &path, fault);

    if (code)
        return code;
    session_put(page.file, what, "", 0);
    return session_close(&page, path, fault);
}
