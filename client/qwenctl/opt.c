/* opt.c - options parsed, checked and listed.  See opt.h. */
#include "opt.h"

#include <math.h>
#include <string.h>

#include "guess.h"

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

/* "auto, always or never" */
static const char *opt_choices_text(const struct opt *opt, char *out, size_t size)
{
    size_t n = 0;

    for (int i = 0; opt->choices[i] && n < size; i++)
        n += (size_t)snprintf(out + n, size - n, "%s%s",
                              !i                     ? ""
                              : !opt->choices[i + 1] ? " or "
                                                     : ", ",
                              opt->choices[i]);
    return out;
}

static int opt_choice(const struct opt *opt, const char *text, int *ret_index, struct fault *fault)
{
    char list[100];

    for (int i = 0; opt->choices[i]; i++) {
        if (strcmp(opt->choices[i], text))
            continue;
        *ret_index = i;
        return OPT_OK;
    }
    return fault_set(fault, OPT_E_USAGE, "--%s is %s, not \"%.60s\"", opt->name,
                     opt_choices_text(opt, list, sizeof(list)), text);
}

/* A number would be a budget, which no engine keeps yet: refused by name rather than as a wrong word. */
static int opt_set_think(const struct opt *opt, const char *text, struct opt_int *thinking,
                         struct fault *fault)
{
    int index, r;

    if (text && *text && strspn(text, "0123456789") == strlen(text))
        return fault_set(fault, OPT_E_USAGE,
                         "--think=%.20s: the engine has no budget of reasoning tokens; on, off or auto",
                         text);
    r = opt_choice(opt, text ? text : "on", &index, fault);
    if (!r)
        *thinking = (struct opt_int){index < 2, index == 0};
    return r;
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

static void opt_mark(uint64_t bits[2], const struct opt *opt)
{
    size_t n, i = (size_t)(opt - opt_table(&n));

    bits[i / 64] |= UINT64_C(1) << i % 64;
}

static bool opt_is_marked(const uint64_t bits[2], size_t i)
{
    return bits[i / 64] >> i % 64 & 1;
}

/* text: its value, NULL for a flag */
static int opt_set(const struct opt *opt, const char *text, struct opt_values *values, struct fault *fault)
{
    void *at = (char *)values + opt->offset;
    int index, r;

    opt_mark(values->set, opt);
    switch (opt->kind) {
    case OPT_FLAG:
        *(bool *)at = true;
        return OPT_OK;
    case OPT_SET:
        *(struct opt_int *)at = (struct opt_int){true, (int64_t)opt->lo};
        return OPT_OK;
    case OPT_THINK:
        return opt_set_think(opt, text, at, fault);
    case OPT_TEXT:
        *(const char **)at = text ? text : "";
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

/* The row that a name has for this verb, or else for another one: name[n], or the letter if there is one. */
static const struct opt *opt_find(const char *name, size_t n, char letter, uint64_t verb)
{
    const struct opt *found = NULL, *table;
    size_t n_table;

    table = opt_table(&n_table);
    for (size_t i = 0; i < n_table; i++) {
        const struct opt *opt = &table[i];

        if (letter ? opt->letter != letter : strlen(opt->name) != n || memcmp(opt->name, name, n))
            continue;
        if (opt->verbs & verb)
            return opt;
        if (!found)
            found = opt;
    }
    return found;
}

/* Options of other programs of this kind for what no engine does yet: refused by name, never guessed at. */
static int opt_refuse_absent(const char *name, struct fault *fault)
{
    static const struct {
        const char *name, *what;
        int code;
    } absent[] = {
        {"json-schema", "hold an answer to a schema", OPT_E_GRAMMAR},
        {"grammar", "hold an answer to a grammar", OPT_E_GRAMMAR},
        {"regex", "hold an answer to a pattern", OPT_E_GRAMMAR},
        {"choice", "hold an answer to a choice", OPT_E_GRAMMAR},
        {"tools", "call tools", OPT_E_USAGE},
        {"tool-policy", "call tools", OPT_E_USAGE},
        {"max-steps", "call tools", OPT_E_USAGE},
        {"candidates", "give several answers at once", OPT_E_USAGE},
    };

    for (size_t i = 0; i < ARRAY_SIZE(absent); i++)
        if (!strcmp(absent[i].name, name))
            return fault_set(fault, absent[i].code, "--%s: this version cannot %s", name, absent[i].what);
    return OPT_OK;
}

/* The nearest name that this verb has; if it has none near, that anything has. */
static int opt_unknown(const char *word, size_t n, uint64_t verb, struct fault *fault)
{
    char name[64];
    const char *best = NULL;
    const struct opt *table;
    size_t n_table;
    int r;

    snprintf(name, sizeof(name), "%.*s", (int)MIN(n, sizeof(name) - 1), word);
    r = opt_refuse_absent(name, fault);
    if (r)
        return r;
    table = opt_table(&n_table);
    for (size_t i = 0; i < n_table; i++)
        if (table[i].verbs & verb)
            guess_offer(name, table[i].name, &best);
    for (size_t i = 0; !best && i < n_table; i++)
        guess_offer(name, table[i].name, &best);
    return fault_set(fault, OPT_E_USAGE,
                     best ? "unknown option --%s: did you mean --%s?" : "unknown option --%s", name, best);
}

static int opt_take(const struct opt *opt, const char *text, struct opt_values *values, struct fault *fault)
{
    opt_mark(values->given, opt);
    return opt_set(opt, text, values, fault);
}

/* --name, --name=V or --name V.  *i is the index of the argument, moved if the value is the next one. */
static int opt_parse_long(int argc, char **argv, int *i, uint64_t verb, struct opt_values *values,
                          struct fault *fault)
{
    const char *word = argv[*i] + 2, *text = strchr(word, '=');
    size_t n = text ? (size_t)(text++ - word) : strlen(word);
    const struct opt *opt = opt_find(word, n, 0, verb);

    if (!opt)
        return opt_unknown(word, n, verb, fault);
    if (!opt->arg && text)
        return fault_set(fault, OPT_E_USAGE, "--%s takes no value", opt->name);
    if (opt->arg && !opt->optional && !text) {
        if (*i + 1 == argc)
            return fault_set(fault, OPT_E_USAGE, "--%s needs a value: %s", opt->name, opt->arg);
        text = argv[++*i];
    }
    return opt_take(opt, text, values, fault);
}

/* -q, -qv, -nV, -n V, and -x or -x=V of a value that may be left out */
static int opt_parse_short(int argc, char **argv, int *i, uint64_t verb, struct opt_values *values,
                           struct fault *fault)
{
    for (const char *p = argv[*i] + 1; *p; p++) {
        const struct opt *opt = opt_find(NULL, 0, *p, verb);
        int r;

        if (!opt)
            return fault_set(fault, OPT_E_USAGE, "unknown option -%c (text that starts with - goes after --)",
                             *p);
        if (opt->optional && p[1] == '=')
            return opt_take(opt, p + 2, values, fault);
        if (!opt->arg || opt->optional) {
            r = opt_take(opt, NULL, values, fault);
            if (r)
                return r;
            continue;
        }
        if (!p[1] && *i + 1 == argc)
            return fault_set(fault, OPT_E_USAGE, "-%c needs a value: %s", *p, opt->arg);
        return opt_take(opt, p[1] ? p + 1 : argv[++*i], values, fault);
    }
    return OPT_OK;
}

/* How many arguments the option argv[i] takes: 2 if its value is the next one. */
static int opt_width(const char *word)
{
    const struct opt *opt;

    if (word[1] == '-') {
        opt = opt_find(word + 2, strlen(word + 2), 0, OPT_ANY); /* --name=V is found by no name: one */
        return opt && opt->arg && !opt->optional ? 2 : 1;
    }
    for (const char *p = word + 1; *p; p++) {
        opt = opt_find(NULL, 0, *p, OPT_ANY);
        if (opt && opt->arg)
            return opt->optional || p[1] ? 1 : 2;
    }
    return 1;
}

int opt_verb_at(int argc, char **argv)
{
    for (int i = 1; i < argc; i += opt_width(argv[i])) {
        if (argv[i][0] != '-' || !argv[i][1])
            return i;
        if (!strcmp(argv[i], "--"))
            return i + 1 < argc ? i + 1 : 0;
    }
    return 0;
}

int opt_parse(int argc, char **argv, uint64_t verb, struct opt_values *ret_values, char **args, int *ret_n,
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
            r = opt_parse_long(argc, argv, &i, verb, &values, fault);
        else
            r = opt_parse_short(argc, argv, &i, verb, &values, fault);
    }
    if (r)
        return r;
    *ret_values = values;
    *ret_n = n;
    return OPT_OK;
}

int opt_check_verb(const struct opt_values *values, uint64_t verb, const char *verb_name, struct fault *fault)
{
    const struct opt *table;
    size_t n;

    table = opt_table(&n);
    for (size_t i = 0; i < n; i++)
        if (opt_is_marked(values->given, i) && !(table[i].verbs & verb))
            return fault_set(fault, OPT_E_USAGE, "%s has no option --%s", verb_name, table[i].name);
    return OPT_OK;
}

static int opt_assign_flag(const struct opt *opt, const char *text, struct opt_values *values,
                           struct fault *fault)
{
    static const char *const words[] = {"no", "yes", "false", "true", "off", "on", "0", "1"};

    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        if (strcasecmp(words[i], text))
            continue;
        opt_mark(values->set, opt);
        *(bool *)((char *)values + opt->offset) = i % 2;
        return OPT_OK;
    }
    return fault_set(fault, OPT_E_USAGE, "%s is yes or no, not \"%.60s\"", opt->name, text);
}

int opt_assign(struct opt_values *values, const struct opt *opt, const char *text, struct fault *fault)
{
    const struct opt *table;
    size_t n;

    table = opt_table(&n);
    for (size_t i = 0; i < n; i++)
        if (table[i].offset == opt->offset && opt_is_marked(values->set, i))
            return OPT_OK;
    return opt->kind == OPT_FLAG ? opt_assign_flag(opt, text, values, fault)
                                 : opt_set(opt, text, values, fault);
}

bool opt_is_given(const struct opt_values *values, const char *name)
{
    const struct opt *table;
    size_t n;

    table = opt_table(&n);
    for (size_t i = 0; i < n; i++)
        if (!strcmp(table[i].name, name) && opt_is_marked(values->given, i))
            return true;
    return false;
}

size_t opt_spell(const struct opt *opt, char *out, size_t size)
{
    const char *arg = opt->arg ? opt->arg : "";
    int n;

    if (opt->letter)
        n = snprintf(out, size, "-%c, --%s", opt->letter, opt->name);
    else
        n = snprintf(out, size, "    --%s", opt->name);
    if (opt->optional)
        n += snprintf(out + n, size - (size_t)n, "[=%s]", arg);
    else if (opt->arg)
        n += snprintf(out + n, size - (size_t)n, " %s", arg);
    return (size_t)n;
}

void opt_print(FILE *out, uint64_t verb)
{
    const struct opt *table;
    size_t n;

    table = opt_table(&n);
    for (size_t i = 0; i < n; i++) {
        char left[60];

        if (!(table[i].verbs & verb))
            continue;
        opt_spell(&table[i], left, sizeof(left));
        fprintf(out, "  %-27s %s\n", left, table[i].help);
    }
}
