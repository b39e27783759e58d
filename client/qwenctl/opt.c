/* opt.c - the option table.  See opt.h. */
#include "opt.h"

#include <math.h>
#include <string.h>

#include "guess.h"

enum opt_kind {
    OPT_FLAG,     /* bool */
    OPT_SET,      /* struct opt_int, to lo */
    OPT_TEXT,     /* const char * */
    OPT_LIST,     /* struct opt_list */
    OPT_INT,      /* struct opt_int, lo … hi */
    OPT_U64,      /* struct opt_int, the bits of any uint64_t */
    OPT_REAL,     /* struct opt_real, lo … hi */
    OPT_CHOICE,   /* int: index in choices */
    OPT_LEVEL,    /* struct opt_int: index in choices + 1 */
    OPT_DURATION, /* struct opt_int, in ms */
};

enum { OPT_GEN = OPT_ASK | OPT_CHAT };

static const struct opt {
    const char *name, *arg;
    enum opt_kind kind;
    unsigned verbs;
    size_t offset;
    const char *help;
    double lo, hi;
    const char *const *choices; /* NULL-terminated */
    char letter;                /* 0: none */
} opt_table[] = {
#define OPT_AT(field) offsetof(struct opt_values, field)
#define OPT_CHOICES(...)                                                                                     \
    (const char *const[])                                                                                    \
    {                                                                                                        \
        __VA_ARGS__, NULL                                                                                    \
    }
    {"file", "F", OPT_LIST, OPT_ASK, OPT_AT(file), "read F before the question; may repeat", .letter = 'f'},
    {"system", "TEXT", OPT_TEXT, OPT_GEN, OPT_AT(system), "system message"},
    {"think", NULL, OPT_SET, OPT_GEN, OPT_AT(thinking), "let the model reason first", .lo = 1},
    {"no-think", NULL, OPT_SET, OPT_GEN, OPT_AT(thinking), "answer at once", .lo = 0},
    {"show-thinking", "WHERE", OPT_CHOICE, OPT_GEN | OPT_ATTACH, OPT_AT(show_thinking),
     "auto, stderr, stdout or none; auto: on a terminal",
     .choices = OPT_CHOICES("auto", "stderr", "stdout", "none")},
    {"max-tokens", "N", OPT_INT, OPT_GEN, OPT_AT(max_tokens), "end after N tokens, reasoning included", 1,
     INT32_MAX, .letter = 'n'},
    {"temp", "X", OPT_REAL, OPT_GEN, OPT_AT(temp), "temperature; 0: always the best token", 0, 100},
    {"top-p", "X", OPT_REAL, OPT_GEN, OPT_AT(top_p), "keep the best tokens of total probability X", 0, 1},
    {"top-k", "N", OPT_INT, OPT_GEN, OPT_AT(top_k), "keep the N best tokens; 0: all", 0, INT32_MAX},
    {"min-p", "X", OPT_REAL, OPT_GEN, OPT_AT(min_p), "drop tokens below X times the best", 0, 1},
    {"repeat-penalty", "X", OPT_REAL, OPT_GEN, OPT_AT(repeat_penalty), "divide repeated logits by X; 1: off",
     0.01, 100},
    {"presence-penalty", "X", OPT_REAL, OPT_GEN, OPT_AT(presence_penalty), "subtract X from what was used",
     -100, 100},
    {"frequency-penalty", "X", OPT_REAL, OPT_GEN, OPT_AT(frequency_penalty), "subtract X for each use", -100,
     100},
    {"seed", "N", OPT_U64, OPT_GEN, OPT_AT(seed), "the same seed draws the same answer"},
    {"stop", "TEXT", OPT_LIST, OPT_GEN, OPT_AT(stop), "end the answer before TEXT; up to 8"},
    {"logprobs", "N", OPT_INT, OPT_ASK, OPT_AT(logprobs), "N alternatives a token, with --json or --ndjson",
     0, 20},
    {"raw", NULL, OPT_FLAG, OPT_ASK, OPT_AT(raw), "the text as it stands instead of a chat"},
    {"special", NULL, OPT_FLAG, OPT_ASK | OPT_TOKENIZE, OPT_AT(special),
     "the text may hold special tokens (with --raw)"},
    {"priority", "P", OPT_LEVEL, OPT_GEN, OPT_AT(priority), "interactive, normal or batch",
     .choices = OPT_CHOICES("interactive", "normal", "batch")},
    {"deadline", "TIME", OPT_DURATION, OPT_GEN, OPT_AT(deadline_ms),
     "end it after TIME; refused if it begins later", 1, 24 * 3600 * 1000},
    {"usage", NULL, OPT_FLAG, OPT_GEN | OPT_ATTACH, OPT_AT(usage), "say at the end what was used, on stderr"},
    {"ndjson", NULL, OPT_FLAG, OPT_ASK | OPT_ATTACH, OPT_AT(ndjson), "one JSON object for each event"},
    {"count", NULL, OPT_FLAG, OPT_TOKENIZE, OPT_AT(count), "only how many"},
    {"detach", NULL, OPT_FLAG, OPT_ASK, OPT_AT(detach), "print the request's id and end: see qwenctl attach"},
    {"mine", NULL, OPT_FLAG, OPT_CANCEL, OPT_AT(mine), "every request of this user"},
    {"once", NULL, OPT_FLAG, OPT_TOP, OPT_AT(once), "one plain table, and end"},
    {"interval", "TIME", OPT_DURATION, OPT_TOP, OPT_AT(interval_ms),
     "between two looks: 100ms to 60s (500ms)", 100, 60000},
    {"json", NULL, OPT_FLAG, OPT_ASK | OPT_ATTACH | OPT_STATUS | OPT_PS | OPT_TOKENIZE | OPT_TOP,
     OPT_AT(json), "one JSON object"},
    {"socket", "PATH", OPT_TEXT, OPT_ANY, OPT_AT(socket), "where the daemon listens (or $QWEND_SOCKET)"},
    {"timeout", "TIME", OPT_DURATION, OPT_ANY, OPT_AT(timeout_ms), "give up after 500ms, 10s, 2m, 1h", 1,
     INT32_MAX},
    {"color", "WHEN", OPT_CHOICE, OPT_ANY, OPT_AT(color), "auto, always or never",
     .choices = OPT_CHOICES("auto", "always", "never")},
    {"quiet", NULL, OPT_FLAG, OPT_ANY, OPT_AT(quiet), "no notes, no reasoning; errors only", .letter = 'q'},
    {"verbose", NULL, OPT_FLAG, OPT_ANY, OPT_AT(verbose), "notes even where stderr is no terminal",
     .letter = 'v'},
    {"help", NULL, OPT_FLAG, OPT_ANY, OPT_AT(help), "this text", .letter = 'h'},
    {"version", NULL, OPT_FLAG, OPT_ANY, OPT_AT(version), "versions of qwenctl and of the daemon"},
};

int opt_duration(const char *text, int64_t *ret_ms)
{
    static const struct {
        const char *unit;
        double ms;
    } units[] = {{"", 1e3}, {"ms", 1}, {"s", 1e3}, {"m", 60e3}, {"h", 3600e3}};
    char *end;
    double value = strtod(text, &end);

    if (end == text || !(value >= 0) || value > INT32_MAX)
        return OPT_E_USAGE;
    for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
        if (strcmp(end, units[i].unit))
            continue;
        *ret_ms = (int64_t)ceil(value * units[i].ms);
        return OPT_OK;
    }
    return OPT_E_USAGE;
}

static int opt_choice(const struct opt *opt, const char *text, int *ret_index, struct fault *fault)
{
    for (int i = 0; opt->choices[i]; i++) {
        if (strcmp(opt->choices[i], text))
            continue;
        *ret_index = i;
        return OPT_OK;
    }
    return fault_set(fault, OPT_E_USAGE, "--%s is %s, not \"%.60s\"", opt->name, opt->help, text);
}

static int opt_number(const struct opt *opt, const char *text, double *ret_value, struct fault *fault)
{
    int64_t ms;
    char *end;

    if (opt->kind == OPT_DURATION) {
        if (opt_duration(text, &ms))
            return fault_set(fault, OPT_E_USAGE, "--%s needs a time like 500ms, 10s, 2m or 1h, not \"%.60s\"",
                             opt->name, text);
        *ret_value = (double)ms;
    } else {
        *ret_value = strtod(text, &end);
        if (end == text || *end || (opt->kind == OPT_INT && *ret_value != floor(*ret_value)))
            return fault_set(fault, OPT_E_USAGE, "--%s needs a %snumber, not \"%.60s\"", opt->name,
                             opt->kind == OPT_INT ? "whole " : "", text);
    }
    if (!(*ret_value >= opt->lo && *ret_value <= opt->hi))
        return fault_set(fault, OPT_E_USAGE, "--%s is %.15g to %.15g, not %.60s", opt->name, opt->lo, opt->hi,
                         text);
    return OPT_OK;
}

static int opt_set_number(const struct opt *opt, const char *text, void *at, struct fault *fault)
{
    double value = 0;
    int r;

    r = opt_number(opt, text, &value, fault);
    if (r)
        return r;
    if (opt->kind == OPT_REAL)
        *(struct opt_real *)at = (struct opt_real){true, value};
    else
        *(struct opt_int *)at = (struct opt_int){true, (int64_t)value}; /* whole and below 2^53: exact */
    return OPT_OK;
}

static int opt_set_u64(const struct opt *opt, const char *text, struct opt_int *ret_value,
                       struct fault *fault)
{
    char *end;

    errno = 0;
    *ret_value = (struct opt_int){true, (int64_t)strtoull(text, &end, 10)};
    if (errno || *end || *text < '0' || *text > '9')
        return fault_set(fault, OPT_E_USAGE, "--%s is 0 to 18446744073709551615, not \"%.60s\"", opt->name,
                         text);
    return OPT_OK;
}

static int opt_set_list(const struct opt *opt, const char *text, struct opt_list *list, struct fault *fault)
{
    if (list->n == OPT_LIST_MAX)
        return fault_set(fault, OPT_E_USAGE, "--%s may be given %d times at most", opt->name, OPT_LIST_MAX);
    list->items[list->n++] = text;
    return OPT_OK;
}

/* text: its value, NULL for a flag */
static int opt_set(const struct opt *opt, const char *text, struct opt_values *values, struct fault *fault)
{
    void *at = (char *)values + opt->offset;
    int index, r;

    values->given |= UINT64_C(1) << (opt - opt_table);
    switch (opt->kind) {
    case OPT_FLAG:
        *(bool *)at = true;
        return OPT_OK;
    case OPT_SET:
        *(struct opt_int *)at = (struct opt_int){true, (int64_t)opt->lo};
        return OPT_OK;
    case OPT_TEXT:
        *(const char **)at = text;
        return OPT_OK;
    case OPT_LIST:
        return opt_set_list(opt, text, at, fault);
    case OPT_U64:
        return opt_set_u64(opt, text, at, fault);
    case OPT_CHOICE:
        return opt_choice(opt, text, at, fault);
    case OPT_LEVEL:
        r = opt_choice(opt, text, &index, fault);
        if (!r)
            *(struct opt_int *)at = (struct opt_int){true, index + 1};
        return r;
    default:
        return opt_set_number(opt, text, at, fault);
    }
}

static int opt_unknown(const char *word, size_t n, struct fault *fault)
{
    char name[64];
    const char *best = NULL;

    snprintf(name, sizeof(name), "%.*s", (int)MIN(n, sizeof(name) - 1), word);
    for (size_t i = 0; i < ARRAY_SIZE(opt_table); i++)
        guess_offer(name, opt_table[i].name, &best);
    return fault_set(fault, OPT_E_USAGE,
                     best ? "unknown option --%s: did you mean --%s?" : "unknown option --%s", name, best);
}

/* --name, --name=V or --name V.  *i is the index of the argument, moved if the value is the next one. */
static int opt_parse_long(int argc, char **argv, int *i, struct opt_values *values, struct fault *fault)
{
    const char *word = argv[*i] + 2, *text = strchr(word, '=');
    size_t n = text ? (size_t)(text++ - word) : strlen(word);

    for (size_t k = 0; k < ARRAY_SIZE(opt_table); k++) {
        const struct opt *opt = &opt_table[k];

        if (strlen(opt->name) != n || memcmp(opt->name, word, n))
            continue;
        if (!opt->arg && text)
            return fault_set(fault, OPT_E_USAGE, "--%s takes no value", opt->name);
        if (opt->arg && !text && *i + 1 == argc)
            return fault_set(fault, OPT_E_USAGE, "--%s needs a value: %s", opt->name, opt->arg);
        if (opt->arg && !text)
            text = argv[++*i];
        return opt_set(opt, text, values, fault);
    }
    return opt_unknown(word, n, fault);
}

/* -q, -qv, -nV or -n V */
static int opt_parse_short(int argc, char **argv, int *i, struct opt_values *values, struct fault *fault)
{
    for (const char *p = argv[*i] + 1; *p; p++) {
        const struct opt *opt = opt_table;
        int r;

        while (opt < opt_table + ARRAY_SIZE(opt_table) && opt->letter != *p)
            opt++;
        if (opt == opt_table + ARRAY_SIZE(opt_table))
            return fault_set(fault, OPT_E_USAGE, "unknown option -%c (text that starts with - goes after --)",
                             *p);
        if (!opt->arg) {
            r = opt_set(opt, NULL, values, fault);
            if (r)
                return r;
            continue;
        }
        if (!p[1] && *i + 1 == argc)
            return fault_set(fault, OPT_E_USAGE, "-%c needs a value: %s", *p, opt->arg);
        return opt_set(opt, p[1] ? p + 1 : argv[++*i], values, fault);
    }
    return OPT_OK;
}

int opt_parse(int argc, char **argv, struct opt_values *ret_values, char **args, int *ret_n,
              struct fault *fault)
{
    struct opt_values values = {};
    bool only_args = false;
    int n = 0, r = OPT_OK;

    for (int i = 1; i < argc && !r; i++) {
        if (only_args || argv[i][0] != '-' || !argv[i][1])
            args[n++] = argv[i];
        else if (!strcmp(argv[i], "--"))
            only_args = true;
        else if (argv[i][1] == '-')
            r = opt_parse_long(argc, argv, &i, &values, fault);
        else
            r = opt_parse_short(argc, argv, &i, &values, fault);
    }
    if (r)
        return r;
    *ret_values = values;
    *ret_n = n;
    return OPT_OK;
}

int opt_check_verb(const struct opt_values *values, enum opt_verb verb, const char *verb_name,
                   struct fault *fault)
{
    for (size_t i = 0; i < ARRAY_SIZE(opt_table); i++)
        if (values->given >> i & 1 && !(opt_table[i].verbs & verb))
            return fault_set(fault, OPT_E_USAGE, "%s has no option --%s", verb_name, opt_table[i].name);
    return OPT_OK;
}

void opt_print(FILE *out, enum opt_verb verb)
{
    for (size_t i = 0; i < ARRAY_SIZE(opt_table); i++) {
        const struct opt *opt = &opt_table[i];
        char left[40];

        if (!(opt->verbs & verb))
            continue;
        snprintf(left, sizeof(left), "%c%c%s--%s%s%s", opt->letter ? '-' : ' ',
                 opt->letter ? opt->letter : ' ', opt->letter ? ", " : "  ", opt->name, opt->arg ? " " : "",
                 opt->arg ? opt->arg : "");
        fprintf(out, "  %-27s %s\n", left, opt->help);
    }
}

const char *opt_name(size_t i, unsigned *ret_verbs)
{
    if (i >= ARRAY_SIZE(opt_table))
        return NULL;
    *ret_verbs = opt_table[i].verbs;
    return opt_table[i].name;
}

_Static_assert(ARRAY_SIZE(opt_table) <= 64, "opt_values.given has a bit for each option");
