/* file.c - small files.  See file.h. */
#include "file.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

char *file_home(const char *variable, const char *fallback, const char *name)
{
    const char *folder = getenv(variable), *home = getenv("HOME");
    char *path = NULL;
    int r;

    if (folder && *folder == '/')
        r = asprintf(&path, "%s/qwend/%s", folder, name);
    else if (home && *home == '/')
        r = asprintf(&path, "%s/%s/qwend/%s", home, fallback, name);
    else
        return NULL;
    return r < 0 ? NULL : path;
}

int file_read(const char *path, size_t max, char **ret_text, size_t *ret_n)
{
    _cleanup_(freep) char *text = NULL;
    _cleanup_(closep) int fd = -1;
    size_t cap = 4096, n = 0;
    ssize_t k;

    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno; /* often no fault: the caller knows */
    text = malloc(cap);
    if (!text)
        return err_origin(-ENOMEM);
    while ((k = read(fd, text + n, cap - 1 - n)) != 0) {
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            return err_errno();
        n += (size_t)k;
        if (n > max)
            return FILE_E_BIG;
        if (cap - 1 == n) {
            char *grown = realloc(text, 2 * cap);

            if (!grown)
                return err_origin(-ENOMEM);
            text = grown;
            cap *= 2;
        }
    }
    text[n] = 0;
    *ret_text = steal(&text);
    *ret_n = n;
    return FILE_OK;
}

int file_make_folders(const char *path)
{
    _cleanup_(freep) char *copy = strdup(path);

    if (!copy)
        return err_origin(-ENOMEM);
    for (char *p = strchr(copy + 1, '/'); p; p = strchr(p + 1, '/')) {
        *p = 0;
        if (mkdir(copy, 0700) < 0 && errno != EEXIST)
            return err_errno();
        *p = '/';
    }
    return 0;
}

static int file_write_all(int fd, const char *text, size_t n)
{
    while (n) {
        ssize_t k = write(fd, text, n);

        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            return err_errno();
        text += k;
        n -= (size_t)k;
    }
    return fsync(fd) < 0 ? err_errno() : 0;
}

int file_replace(const char *path, const char *text, size_t n, mode_t mode)
{
    _cleanup_(freep) char *target = realpath(path, NULL), *fresh = NULL;
    _cleanup_(closep) int fd = -1;
    int r;

    if (asprintf(&fresh, "%s.XXXXXX", target ? target : path) < 0)
        return err_origin(-ENOMEM);
    fd = mkostemp(fresh, O_CLOEXEC);
    if (fd < 0)
        return err_errno();
    r = fchmod(fd, mode) < 0 ? err_errno() : file_write_all(fd, text, n);
    if (!r && rename(fresh, target ? target : path) < 0)
        r = err_errno();
    if (r)
        unlink(fresh);
    return r;
}

bool file_is_name(const char *name)
{
    const size_t n = strlen(name);

    return n >= 1 && n <= 64 && *name != '.' && *name != '-' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == n;
}
