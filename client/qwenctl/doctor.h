/* doctor.h - the checks of `qwenctl doctor`, and what it may mend.
 *
 * Each check looks at one thing and says one line about it.  What is wrong with a file or folder of the
 * user's own becomes a list of fixes, which are made if the user said --fix, and told either way; everything
 * else is told as a remedy, with a command for the administrator where one will do. */
#pragma once

#include <sys/stat.h>

#include "cmd.h"
#include "json.h"

enum doctor_state { DOCTOR_OK, DOCTOR_WARN, DOCTOR_FAIL, DOCTOR_SKIP };

/* Ids are stable; the manual lists them. */
struct doctor_check {
    const char *id;
    enum doctor_state state;
    const char *remedy;  /* one line; of a check that is well it is not shown */
    const char *command; /* what an administrator can paste into a shell; NULL: it takes more, or less */
};

enum { DOCTOR_FIXES_MAX = 64 };

enum doctor_fix_kind { DOCTOR_CHMOD, DOCTOR_MKDIR, DOCTOR_UNLINK };
struct doctor_fix {
    enum doctor_fix_kind kind;
    char *path;       /* owned */
    size_t n_trusted; /* of a file: see doctor_open_own() */
    mode_t mode;      /* of a file: what it gets */
};
struct doctor_fixes {
    struct doctor_fix items[DOCTOR_FIXES_MAX];
    size_t n;      /* of which there are items */
    size_t n_more; /* that the list had no room for */
};

struct doctor {
    const struct cmd_args *args;
    const char *root; /* "" but in tests: where /proc, /sys and /dev are looked for */
    FILE *out;
    struct json json;
    struct doctor_fixes did; /* by --fix, for the next check that is said */
    qwend *q;                /* NULL: no connection */
    int connected;           /* what opening it gave */
    char trouble[300];       /* and in words */
    qwend_status_info info;  /* strings borrowed from q until the next call */
    bool has_info, has_gpu, failed;
};

/* cmd_doctor.c */
void doctor_say(struct doctor *doctor, const struct doctor_check *check, const char *fmt, ...) _printf_(3, 4);

/* doctor_fix.c: fixes are added by a look at what is wrong.  doctor_mend() looks, makes them if --fix was
 * given, and looks again: what is in fixes then is still wrong. */
typedef void doctor_look_fn(const struct doctor *doctor, struct doctor_fixes *fixes);
void doctor_mend(struct doctor *doctor, doctor_look_fn *look, struct doctor_fixes *fixes);
void doctor_fix_add(struct doctor_fixes *fixes, const struct doctor_fix *fix); /* copies the path */
/* The file at path with O_PATH: what stands behind its first n_trusted bytes is this user's, folder by
 * folder, and none of it a link.  -1: it is not, or not there. */
int doctor_open_own(const char *path, size_t n_trusted);
void doctor_fix_text(const struct doctor_fix *fix, char *out, size_t size); /* as a command of the shell */
/* "qwenctl doctor --fix does: chmod 0600 x; …" */
const char *doctor_fix_remedy(const struct doctor_fixes *fixes, char *out, size_t size);
void doctor_fixes_deinit(struct doctor_fixes *fixes);

/* doctor_client.c */
void doctor_look_at_client(struct doctor *doctor);
/* doctor_machine.c, doctor_gpu.c */
void doctor_look_at_machine(struct doctor *doctor);
void doctor_look_at_gpu(struct doctor *doctor);
/* doctor_service.c */
void doctor_connect(struct doctor *doctor);
void doctor_look_at_service(struct doctor *doctor);

/* A file below root: FILE_OK, or as file_read() has it. */
int doctor_read(const struct doctor *doctor, const char *path, char **ret_text);
