/* conf.h - configuration: one table of keys that the file, the command line and the help text all come from.
 *
 * The file is INI (libinih).  Every key has a type and a range; an unknown section or key, a value out of
 * range and a key given twice are faults that name file, line and key, with the nearest known key where one
 * is near. */
#pragma once

#include "proto/base.h"

enum { CONF_OK, CONF_E_KEY, CONF_E_VALUE, CONF_E_SYNTAX, CONF_E_FILE };

enum conf_type {
    CONF_STRING, /* char *, owned by the target, never empty */
    CONF_UINT,   /* uint32_t within min..max */
    CONF_BOOL,   /* bool: yes no true false on off 1 0 */
    CONF_CHOICE, /* const char *, one of choices[] */
};

enum { CONF_KEYS_MAX = 64 };

struct conf_key {
    const char *section, *name; /* name: lower case and '_'; on the command line '-' */
    enum conf_type type;
    size_t offset; /* of the field in the target */
    uint32_t min, max;
    const char *const *choices; /* NULL-terminated */
    const char *help;           /* one line, for --help */
};

/* Sets one key from text.  where ("qwend.conf:12", "--slots") goes into the fault.  -ENOMEM. */
int conf_set(const struct conf_key *key, const char *value, const char *where, void *target,
             struct fault *fault);

/* Reads a whole file into target; what it does not name is left as it is.  CONF_E_FILE: cannot be opened or
 * read. After a fault the target is half set and fit for freeing only. */
int conf_read(const char *path, const struct conf_key *keys, size_t n_keys, void *target,
              struct fault *fault);

const struct conf_key *conf_find(const struct conf_key *keys, size_t n_keys, const char *section,
                                 const char *name);
/* The known name nearest to a mistyped one, '-' and '_' being equal; NULL if none is near. */
const char *conf_nearest(const struct conf_key *keys, size_t n_keys, const char *name);
