/* conf.h - what qwenctl is told besides its arguments, from what goes first to what goes last:
 *
 *     the environment (QWENCTL_MAX_TOKENS; QWEND_SOCKET for the socket)
 *     [profile NAME] of the user's file, then of the machine's
 *     the user's file, $XDG_CONFIG_HOME/qwend/qwenctl.conf
 *     the machine's, /etc/qwend/qwenctl.conf
 *
 * The keys are the options of the table that have .conf, with the checks that they have as arguments.  A key
 * holds for the verbs that have the option; an unknown key, section or a bad value is a fault that names file
 * and line. */
#pragma once

#include <stdio.h>

#include "opt.h"

enum { CONF_OK, CONF_E_FAULT };
enum { CONF_FILE_BYTES = 256 << 10, CONF_NAME_BYTES = 64 };

struct conf_entry {
    const struct opt *opt;
    char *value;   /* owned */
    char *profile; /* owned; NULL: outside of every profile */
    char *origin;  /* owned: "/etc/qwend/qwenctl.conf:3" */
};

struct conf {
    struct conf_entry *entries; /* in the order of the files: the last one holds */
    size_t n, cap;
};

/* Reads both files, as far as they are there.  user NULL: there is none.  CONF_E_FAULT, negative errno. */
int conf_load(const char *machine, const char *user, struct conf *ret_conf, struct fault *fault);
int conf_load_all(struct conf *ret_conf, struct fault *fault); /* where they belong */
/* Adds what the text of a file says; path is for faults. */
int conf_parse(struct conf *conf, const char *path, const char *text, size_t n, struct fault *fault);
void conf_deinit(struct conf *conf);

/* Sets the options of verb that are not set yet.  values borrows the text from conf. */
int conf_apply(const struct conf *conf, uint64_t verb, struct opt_values *values, struct fault *fault);

/* The value that an option has from here, and where from; NULL: none. */
const char *conf_get(const struct conf *conf, const struct opt *opt, const char *profile,
                     char ret_origin[static 400]);
const char *conf_profile(const struct conf *conf, const struct opt_values *values); /* NULL: none is chosen */

/* An option that may stand in the configuration, by its name; otherwise CONF_E_FAULT and the nearest. */
int conf_find_key(const char *name, size_t n, const struct opt **ret_opt, struct fault *fault);

/* "key = value" of one line, blanks around both taken off.  false: an empty line or a comment. */
struct conf_line {
    const char *key, *value; /* borrowed; key NULL: a section, whose name is value */
    size_t n_key, n_value;
};
bool conf_line(const char *text, size_t n, struct conf_line *ret_line);

/* The user's file; the caller frees.  NULL: there is no home. */
char *conf_user_path(void);
/* Sets key in the user's file (value NULL: takes it away), in a profile or, if NULL, outside; comments and
 * the rest stay.  CONF_E_FAULT, negative errno. */
int conf_write(const char *path, const char *profile, const char *key, const char *value,
               struct fault *fault);
