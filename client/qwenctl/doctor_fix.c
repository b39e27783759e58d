/* doctor_fix.c - what `qwenctl doctor --fix` does to the user's own files.  See doctor.h. */
#include "doctor.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

void doctor_fix_add(struct doctor_fixes *fixes, const struct doctor_fix *fix)
{
    char *copy = fixes->n < DOCTOR_FIXES_MAX ? strdup(fix->path) : NULL;

    if (!copy) {
        fixes->n_more++;
        return;
    }
    fixes->items[fixes->n] = *fix;
    fixes->items[fixes->n++].path = copy;
}

void doctor_fixes_deinit(struct doctor_fixes *fixes)
{
    for (size_t i = 0; i < fixes->n; i++)
        free(fixes->items[i].path);
    fixes->n = fixes->n_more = 0;
}

/* The path in quotes of the shell, where it needs them. */
static void fix_quote(const char *path, char *out, size_t size)
{
    const char *plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-+/@%:,";
    const bool quoted = strspn(path, plain) != strlen(path);
    size_t n = 0;

    if (quoted && n + 1 < size)
        out[n++] = '\'';
    for (; *path && n + 6 < size; path++)
        n += (size_t)snprintf(out + n, size - n, *path == '\'' ? "'\\''" : "%c", *path);
    if (quoted && n + 1 < size)
        out[n++] = '\'';
    out[n] = '\0';
}

void doctor_fix_text(const struct doctor_fix *fix, char *out, size_t size)
{
    char path[1100];

    fix_quote(fix->path, path, sizeof(path));
    if (fix->kind == DOCTOR_CHMOD)
        snprintf(out, size, "chmod %04o %s", (unsigned)fix->mode, path);
    else if (fix->kind == DOCTOR_MKDIR)
        snprintf(out, size, "mkdir -m 0700 %s", path);
    else
        snprintf(out, size, "rm %s", path);
}

const char *doctor_fix_remedy(const struct doctor_fixes *fixes, char *out, size_t size)
{
    enum { SHOWN = 3 };
    size_t n = (size_t)snprintf(out, size, "qwenctl doctor --fix, which does: ");

    for (size_t i = 0; i < MIN(fixes->n, (size_t)SHOWN) && n < size; i++) {
        char text[1200];

        doctor_fix_text(&fixes->items[i], text, sizeof(text));
        n += (size_t)snprintf(out + n, size - n, "%s%s", i ? "; " : "", text);
    }
    if (fixes->n + fixes->n_more > SHOWN && n < size)
        snprintf(out + n, size - n, "; and %zu more", fixes->n + fixes->n_more - SHOWN);
    return out;
}

static bool fix_is_own(int fd)
{
    struct stat st;

    return !fstat(fd, &st) && st.st_uid == geteuid() && !S_ISLNK(st.st_mode);
}

/* The first n bytes of at are its name in the folder. */
static int fix_open_in(int folder, const char *at, size_t n)
{
    _cleanup_(freep) char *name = strndup(at, n);
    _cleanup_(closep) int fd = name ? openat(folder, name, O_PATH | O_NOFOLLOW | O_CLOEXEC) : -1;

    return fd >= 0 && fix_is_own(fd) ? steal_fd(&fd) : -1;
}

int doctor_open_own(const char *path, size_t n_trusted)
{
    _cleanup_(freep) char *trusted = strndup(path, n_trusted);
    _cleanup_(closep) int fd =
        trusted ? open(*trusted ? trusted : "/", O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
    const char *at = path + n_trusted;

    while (fd >= 0 && *(at += strspn(at, "/"))) {
        const size_t n = strcspn(at, "/");
        const int next = fix_open_in(fd, at, n);

        close(fd);
        fd = next;
        at += n;
    }
    return steal_fd(&fd);
}

/* By what was opened, so that nothing can be put in its place meanwhile. */
static bool fix_chmod(const struct doctor_fix *fix)
{
    _cleanup_(closep) int fd = doctor_open_own(fix->path, fix->n_trusted);
    char path[40];

    if (fd < 0)
        return false;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return !chmod(path, fix->mode);
}

static bool fix_make(const struct doctor_fix *fix)
{
    switch (fix->kind) {
    case DOCTOR_CHMOD:
        return fix_chmod(fix);
    case DOCTOR_MKDIR:
        return !mkdir(fix->path, 0700);
    case DOCTOR_UNLINK:
        break;
    }
    return !unlink(fix->path);
}

/* Each that was made goes to doctor->did, from fixes to there. */
static size_t fix_make_all(struct doctor *doctor, struct doctor_fixes *fixes)
{
    size_t n_made = 0;

    for (size_t i = 0; i < fixes->n; i++) {
        if (!fix_make(&fixes->items[i]))
            continue;
        n_made++;
        doctor_fix_add(&doctor->did, &fixes->items[i]);
    }
    return n_made;
}

/* Until there is nothing more that can be done: a list holds so many at a time, and where modes do not hold
 * nothing becomes less. */
void doctor_mend(struct doctor *doctor, doctor_look_fn *look, struct doctor_fixes *fixes)
{
    size_t n_before = SIZE_MAX, n_made;

    do {
        doctor_fixes_deinit(fixes);
        look(doctor, fixes);
        if (fixes->n + fixes->n_more >= n_before || !doctor->args->values->fix)
            return;
        n_before = fixes->n + fixes->n_more;
        n_made = fix_make_all(doctor, fixes);
    } while (n_made);
}
