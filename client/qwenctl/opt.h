/* opt.h - the options of qwenctl: one table that is parsed by, and that the help, the man page, the
 * completions and the configuration are made from.
 *
 * An option may stand anywhere, before or after the verb; "--" ends them.  -nV, -n V, --name=V and --name V
 * are the same; flags combine (-qv).  Names are not abbreviated: a script must not change its meaning with a
 * new option.  Two verbs may give one name different meanings (two rows), as long as both or neither take a
 * value. */
#pragma once

#include <stdio.h>

#include "proto/base.h"

enum { OPT_LIST_MAX = 8 }; /* of --stop and --file: as many stops as the daemon takes */

/* One bit a verb, or for verbs that have the same options. */
enum opt_verb {
    OPT_ASK = 1ull << 0,
    OPT_CHAT = 1ull << 1,
    OPT_STATUS = 1ull << 2,
    OPT_PS = 1ull << 3,
    OPT_CANCEL = 1ull << 4,
    OPT_TOKENIZE = 1ull << 5,
    OPT_VERSION = 1ull << 6,
    OPT_HELP = 1ull << 7,
    OPT_TOP = 1ull << 8,
    OPT_ATTACH = 1ull << 9,
    OPT_COMPLETION = 1ull << 10,
    OPT_CONFIG = 1ull << 11,
    OPT_ADMIN = 1ull << 12,
    OPT_SESSION = 1ull << 13,
    OPT_TEMPLATE = 1ull << 14,
    OPT_DOCTOR = 1ull << 15,
    OPT_MODELS = 1ull << 16,
    OPT_IMPORT = 1ull << 17,
    OPT_PULL = 1ull << 18,
    OPT_VERIFY = 1ull << 19,
    OPT_COMPLETE = 1ull << 20,
    OPT_FIM = 1ull << 21,
    OPT_LSP = 1ull << 22,
    OPT_MAP = 1ull << 24,
    OPT_USE = 1ull << 25,
    OPT_ANY = ~0ull,
};

enum opt_show { OPT_SHOW_AUTO, OPT_SHOW_STDERR, OPT_SHOW_STDOUT, OPT_SHOW_NONE };
enum opt_overflow { OPT_OVERFLOW_REFUSE, OPT_OVERFLOW_HEAD, OPT_OVERFLOW_TAIL, OPT_OVERFLOW_MIDDLE };
enum opt_map_in { OPT_MAP_LINES, OPT_MAP_NDJSON, OPT_MAP_CSV, OPT_MAP_NUL, OPT_MAP_FILES };
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
    const char *profile, *template, *session, *extract; /* extract: a language, "" for any; NULL: not given */
    const char *into, *sha256;
    struct opt_int limit_rate;
    bool link, unpinned;
    bool show_origin, keep_on, dry_run, strict, fix;
    bool no_wait, call_off; /* of use */
    int overflow;           /* enum opt_overflow */
    /* of complete and fim */
    const char *prefix, *suffix;
    struct opt_list extra;
    struct opt_int time_limit_ms;
    bool suffix_first, warm;
    /* of map */
    const char *input, *output, *key, *errors, *max_failures;
    int map_in; /* enum opt_map_in */
    struct opt_int jobs, sync_every, retry, budget_tokens;
    bool null, ordered, unordered, resume, mixed;
    uint64_t given[2], set[2]; /* bit i: the i-th option of the table, on the command line; from anywhere */
};

enum opt_kind {
    OPT_FLAG,     /* bool */
    OPT_SET,      /* struct opt_int, to lo */
    OPT_THINK,    /* struct opt_int: on 1, off 0, auto not given; alone it is on */
    OPT_TEXT,     /* const char * */
    OPT_LIST,     /* struct opt_list */
    OPT_INT,      /* struct opt_int, lo … hi */
    OPT_U64,      /* struct opt_int, the bits of any uint64_t */
    OPT_REAL,     /* struct opt_real, lo … hi */
    OPT_CHOICE,   /* int: index in choices */
    OPT_LEVEL,    /* struct opt_int: index in choices + 1 */
    OPT_DURATION, /* struct opt_int, in ms */
};

struct opt {
    const char *name, *arg; /* arg: what the value is called, NULL: there is none */
    enum opt_kind kind;
    uint64_t verbs;
    size_t offset; /* in struct opt_values */
    const char *help;
    double lo, hi;
    const char *const *choices; /* NULL-terminated: the values, or some of them; for completion too */
    const char *names;          /* a command that prints the values there are, for completion */
    char letter;                /* 0: none */
    bool optional;              /* the value may be left out, and is only taken from --name=V */
    bool conf;                  /* may be set by the environment, the configuration and templates: conf.h */
};

enum {
    OPT_OK,
    OPT_E_USAGE,
    OPT_E_GRAMMAR
}; /* GRAMMAR: an answer of a given form, which the engine cannot do */

/* Every option of every verb, in the order of the help. */
const struct opt *opt_table(size_t *ret_n);

/* Where the verb stands: the index in argv of the first word that is neither an option nor its value; 0:
 * none. */
int opt_verb_at(int argc, char **argv);

/* Fills values; what is no option goes to args, in order, n of them.  args has room for argc entries.  verb:
 * whose options are meant where a name has two meanings. */
int opt_parse(int argc, char **argv, uint64_t verb, struct opt_values *ret_values, char **args, int *ret_n,
              struct fault *fault);

/* OPT_E_USAGE if an option was given that this verb does not have. */
int opt_check_verb(const struct opt_values *values, uint64_t verb, const char *verb_name,
                   struct fault *fault);

/* Sets one option from text that is not of the command line; a flag is yes or no.  Nothing happens if it is
 * set already, in this row or in another of the same field: whoever goes first wins. */
int opt_assign(struct opt_values *values, const struct opt *opt, const char *text, struct fault *fault);

/* Was the option given on the command line?  Others must yield where two exclude each other. */
bool opt_is_given(const struct opt_values *values, const char *name);

/* "-n, --max-tokens N", "--think[=X]", "    --raw": as the help, the man page and OPERATIONS spell it. */
size_t opt_spell(const struct opt *opt, char *out, size_t size);

/* One line an option of the verb: "  -n, --max-tokens N   …", at most 80 columns. */
void opt_print(FILE *out, uint64_t verb);

/* "500ms", "10s", "2m", "1h", or seconds. */
int opt_duration(const char *text, int64_t *ret_ms);
