/* args.c - complaints and options of qwend-probe.  See probe.h. */
#include "probe.h"

#include <stdarg.h>
#include <string.h>

int probe_error(const char *fmt, ...)
{
    va_list ap;

    fflush(stdout); /* what was answered before comes before the complaint, also in a terminal */
    fputs("qwend-probe: ", stderr);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    return 1;
}

int probe_usage(const struct probe_verb *verb, const char *fmt, ...)
{
    va_list ap;

    fprintf(stderr, "qwend-probe %s: ", verb->name);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fprintf(stderr, "\nusage: qwend-probe %s %s\n", verb->name, verb->args);
    return 2;
}

int probe_fault(const char *what, int r, const struct fault *fault)
{
    if (fault->text[0])
        return probe_error("%s: %s", what, fault->text);
    if (r < 0)
        return probe_error("%s: %s (%s)", what, strerror(-r), err_place());
    return probe_error("%s: error %d", what, r);
}

/* options */
static const struct probe_opt *probe_find_opt(const struct probe_opt *opts, size_t n_opts, const char *arg,
                                              size_t n)
{
    for (size_t i = 0; i < n_opts; i++)
        if (strlen(opts[i].name) == n && !memcmp(opts[i].name, arg, n))
            return &opts[i];
    return NULL;
}

static int probe_set_number(const struct probe_verb *verb, const struct probe_opt *opt, const char *value)
{
    char *end;
    long v;

    errno = 0;
    v = strtol(value, &end, 10);
    if (errno || end == value || *end || v < opt->lo || v > opt->hi)
        return probe_usage(verb, "--%s is \"%s\", should be an integer in [%d, %d]", opt->name, value,
                           opt->lo, opt->hi);
    *opt->number = (int)v;
    return 0;
}

/* argv[*at] begins with "--"; *at is left at the last word that belongs to it. */
static int probe_parse_opt(const struct probe_verb *verb, int argc, char **argv, const struct probe_opt *opts,
                           size_t n_opts, int *at)
{
    const char *arg = argv[*at] + 2, *eq = strchr(arg, '='), *value = eq ? eq + 1 : NULL;
    const struct probe_opt *opt = probe_find_opt(opts, n_opts, arg, eq ? (size_t)(eq - arg) : strlen(arg));

    if (!opt)
        return probe_usage(verb, "no option %s", argv[*at]);
    if (opt->flag) {
        if (value)
            return probe_usage(verb, "--%s takes no value", opt->name);
        *opt->flag = true;
        return 0;
    }
    if (!value && *at + 1 >= argc)
        return probe_usage(verb, "--%s needs a value", opt->name);
    if (!value)
        value = argv[++*at];
    if (opt->number)
        return probe_set_number(verb, opt, value);
    *opt->text = value;
    return 0;
}

int probe_parse_operands(const struct probe_verb *verb, int argc, char **argv, const struct probe_opt *opts,
                         size_t n_opts, const char **operands, size_t n_operands)
{
    size_t n = 0;

    for (int i = 1; i < argc; i++) {
        if (!strncmp(argv[i], "--", 2) && argv[i][2]) {
            int r = probe_parse_opt(verb, argc, argv, opts, n_opts, &i);
            if (r)
                return r;
        } else if (n == n_operands) {
            return probe_usage(verb, "\"%s\" is one operand too many", argv[i]);
        } else {
            operands[n++] = argv[i];
        }
    }
    return n == n_operands ? 0 : probe_usage(verb, "an operand is missing");
}

int probe_parse(const struct probe_verb *verb, int argc, char **argv, const struct probe_opt *opts,
                size_t n_opts, const char **ret_operand)
{
    const char *operand = NULL;
    int r = probe_parse_operands(verb, argc, argv, opts, n_opts, &operand, 1);

    if (r)
        return r;
    *ret_operand = operand;
    return 0;
}
