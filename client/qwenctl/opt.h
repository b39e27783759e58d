/* opt.h - the options of qwenctl: one table that parses, checks, and prints the help.
 *
 * An option may stand anywhere, before or after the verb; "--" ends them.  -nV, -n V, --name=V and --name V
 * are the same; flags combine (-qv).  Names are not abbreviated: a script must not change its meaning with a
 * new option. */
#pragma once

#include <stdio.h>

#include "proto/base.h"

enum { OPT_LIST_MAX = 8 }; /* of --stop and --file: as many stops as the daemon takes */

enum opt_verb {
    OPT_ASK = 1 << 0,
    OPT_CHAT = 1 << 1,
    OPT_STATUS = 1 << 2,
    OPT_PS = 1 << 3,
    OPT_CANCEL = 1 << 4,
    OPT_TOKENIZE = 1 << 5,
    OPT_VERSION = 1 << 6,
    OPT_HELP = 1 << 7,
    OPT_TOP = 1 << 8,
    OPT_ATTACH = 1 << 9,
    OPT_ADMIN = 1 << 12,
    OPT_ANY = (1 << 13) - 1,
};

enum opt_show { OPT_SHOW_AUTO, OPT_SHOW_STDERR, OPT_SHOW_STDOUT, OPT_SHOW_NONE };
enum opt_color { OPT_COLOR_AUTO, OPT_COLOR_ALWAYS, OPT_COLOR_NEVER };

struct opt_int {
    bool given;
    int64_t value;
};
struct opt_real {
    bool given;
    double value;
};
struct opt_list {
    const char *items[OPT_LIST_MAX]; /* borrowed from argv */
    size_t n;
};

struct opt_values {
    const char *socket, *system; /* borrowed from argv; NULL: not given */
    struct opt_list stop, file;
    struct opt_int max_tokens, top_k, seed, logprobs, timeout_ms, deadline_ms, thinking, priority,
        interval_ms;
    struct opt_real temp, top_p, min_p, repeat_penalty, presence_penalty, frequency_penalty;
    int color, show_thinking; /* enum opt_color, enum opt_show */
    bool quiet, verbose, json, ndjson, raw, usage, mine, count, detach, special, once, help, version;
    uint64_t given; /* bit i: the i-th option of the table */
};

enum { OPT_OK, OPT_E_USAGE };

/* Fills values; what is no option goes to args, in order, n of them.  args has room for argc entries. */
int opt_parse(int argc, char **argv, struct opt_values *ret_values, char **args, int *ret_n,
              struct fault *fault);

/* OPT_E_USAGE if an option was given that this verb does not have. */
int opt_check_verb(const struct opt_values *values, enum opt_verb verb, const char *verb_name,
                   struct fault *fault);

/* One line an option of the verb: "  -n, --max-tokens N   …", at most 80 columns. */
void opt_print(FILE *out, enum opt_verb verb);

/* The i-th long name and its verbs; NULL past the last. */
const char *opt_name(size_t i, unsigned *ret_verbs);

/* "500ms", "10s", "2m", "1h", or seconds. */
int opt_duration(const char *text, int64_t *ret_ms);
