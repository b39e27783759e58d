/* conf_argv.h - the command line of a program whose options are its configuration's keys: --name VALUE for
 * each, "--name" alone for a bool, and --config, --version, --help. */
#pragma once

#include "conf.h"

enum conf_action { CONF_RUN, CONF_HELP, CONF_VERSION };

typedef int conf_set_fn(const struct conf_key *key, const char *value, const char *where, void *target,
                        struct fault *fault);

struct conf_argv {
    const struct conf_key *keys; /* borrowed */
    size_t n_keys;               /* <= CONF_KEYS_MAX */
    conf_set_fn *set;            /* conf_set(), or what stands before it */
};

/* One pass.  target NULL: nothing is set, it only looks for --config (*ret_config: borrowed from argv, left
 * as it is without one), --help and --version.  CONF_E_KEY, CONF_E_VALUE: the fault says which argument; < 0.
 */
int conf_argv_scan(const struct conf_argv *spec, int argc, char **argv, void *target, const char **ret_config,
                   enum conf_action *ret_action, struct fault *fault);

/* A line for each option, to stdout; width: of the column before the help. */
void conf_argv_print_help(const struct conf_argv *spec, int width);
