/* doctor_fix.c - what `qwenctl doctor --fix` does to the user's own files.  See doctor.h. */
#include "doctor.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

void doctor_fix_add(struct doctor_fixes *fixes, enum doctor_fix_kind kind, const char *path, mode_t mode)
{
    char *copy = fixes->n < DOCTOR_FIXES_MAX ? strdup(path) : NULL;

    if (copy)
        fixes->items[fixes->n++] = (struct doctor_fix){kind, copy, mode};
    else
        fixes->n_more++;
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

/* Of this user, not by a link, and by what was opened, so that nothing can be put in its place meanwhile. */
static bool fix_chmod(const struct doctor_fix *fix)
{
    _cleanup_(closep) int fd = open(fix->path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    char path[40];
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0 || st.st_uid != geteuid() || S_ISLNK(st.st_mode))
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
        doctor_fix_add(&doctor->did, fixes->items[i].kind, fixes->items[i].path, fixes->items[i].mode);
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
