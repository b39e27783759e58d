/* conf.h - configuration: one table of keys that the file, the command line and the help text all come from.
 *
 * The file is INI (libinih); beside it may stand a folder of the same name with ".d" at its end, whose *.conf
 * are read after it, in the order of their names.  Every key has a type and a range; an unknown section or
 * key, a value out of range and a key given twice are faults that name file, line and key, with the nearest
 * known key where one is near. */
#pragma once

#include <stdio.h>

#include "proto/base.h"

enum { CONF_OK, CONF_E_KEY, CONF_E_VALUE, CONF_E_SYNTAX, CONF_E_FILE };

enum conf_type {
    CONF_STRING, /* char *, owned by the target, never empty */
    CONF_UINT,   /* uint32_t within min..max */
    CONF_BOOL,   /* bool: yes no true false on off 1 0 */
    CONF_CHOICE, /* const char *, one of choices[] */
    CONF_SET,    /* uint32_t, bit i for choices[i]: "a,b"; "no" for none of them if min is 0 */
};

enum { CONF_KEYS_MAX = 64, CONF_FILES_MAX = 64 };

struct conf_key {
    const char *section, *name; /* name: lower case and '_'; on the command line '-' */
    enum conf_type type;
    size_t offset; /* of the field in the target */
    uint32_t min, max;
    const char *const *choices; /* NULL-terminated */
    const char *help;           /* one line, for --help */
};

/* A row: section, struct of the target, field of it, name, type, then what else it has. */
#define CONF_KEY(section_name, target, field, key_name, kind, ...)                                           \
    {                                                                                                        \
        .section = section_name, .name = key_name, .type = kind, .offset = offsetof(target, field),          \
        __VA_ARGS__                                                                                          \
    }

/* A table, and a target as it is before anything is read; both borrowed.  For the manual pages. */
struct conf_table {
    const struct conf_key *keys;
    size_t n;
    const void *defaults;
};

static inline void conf_fclosep(FILE **file)
{
    if (*file)
        fclose(*file);
}

/* Sets one key from text.  where ("qwend.conf:12", "--slots") goes into the fault.  -ENOMEM. */
int conf_set(const struct conf_key *key, const char *value, const char *where, void *target,
             struct fault *fault);

/* Reads a whole file into target; what it does not name is left as it is.  CONF_E_FILE: cannot be opened or
 * read. After a fault the target is half set and fit for freeing only.  others: sections that somebody else
 * reads, NULL-terminated or NULL; with '*' at its end a name stands for all that begin so. */
int conf_read(const char *path, const struct conf_key *keys, size_t n_keys, const char *const *others,
              void *target, struct fault *fault);

/* What conf_read() is made of: each "name = value" in order, until one is a fault. */
struct conf_place {
    const char *path;
    int line;
    const char *section, *name;
};
typedef int conf_value_fn(void *arg, const struct conf_place *place, const char *value, struct fault *fault);
int conf_walk(FILE *file, const char *path, conf_value_fn *on_value, void *arg, struct fault *fault);
/* The fault for a key that keys[] does not have in this section; the nearest of them is named. */
int conf_refuse_key(const struct conf_key *keys, size_t n_keys, const struct conf_place *place,
                    struct fault *fault);

/* The file itself, if it is there or must be, and its folder's.  Whatever is returned, conf_files_deinit().
 */
struct conf_files {
    char *paths[CONF_FILES_MAX]; /* owned */
    size_t n;
};
int conf_files_find(const char *path, bool must_exist, struct conf_files *files, struct fault *fault);
void conf_files_deinit(struct conf_files *files);

const struct conf_key *conf_find(const struct conf_key *keys, size_t n_keys, const char *section,
                                 const char *name);
/* The known name nearest to a mistyped one, '-' and '_' being equal; NULL if none is near. */
const char *conf_nearest(const struct conf_key *keys, size_t n_keys, const char *name);
