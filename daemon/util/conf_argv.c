/* conf_argv.c - options from a table of keys, by getopt_long().  See conf_argv.h. */
#include "conf_argv.h"

#include <assert.h>
#include <getopt.h>
#include <string.h>

enum { ARGV_NAME_MAX = 32, ARGV_CONFIG = CONF_KEYS_MAX + 1, ARGV_VERSION, ARGV_HELP };

/* getopt's table from ours: '_' becomes '-', a bool takes no argument. */
struct argv_longs {
    char names[CONF_KEYS_MAX][ARGV_NAME_MAX];
    struct option longs[CONF_KEYS_MAX + 4];
};

static void argv_dash(char *text)
{
    for (; *text; text++)
        if (*text == '_')
            *text = '-';
}

static void argv_fill(const struct conf_argv *spec, struct argv_longs *to)
{
    const size_t n = spec->n_keys;

    assert(n <= CONF_KEYS_MAX);
    for (size_t i = 0; i < n; i++) {
        snprintf(to->names[i], ARGV_NAME_MAX, "%s", spec->keys[i].name);
        argv_dash(to->names[i]);
        to->longs[i] =
            (struct option){.name = to->names[i],
                            .has_arg = spec->keys[i].type == CONF_BOOL ? no_argument : required_argument,
                            .val = (int)i + 1};
    }
    to->longs[n] = (struct option){"config", required_argument, NULL, ARGV_CONFIG};
    to->longs[n + 1] = (struct option){"version", no_argument, NULL, ARGV_VERSION};
    to->longs[n + 2] = (struct option){"help", no_argument, NULL, ARGV_HELP};
    to->longs[n + 3] = (struct option){};
}

static int argv_refuse(const struct conf_argv *spec, const char *argument, int opt, struct fault *fault)
{
    char name[ARGV_NAME_MAX], dashed[ARGV_NAME_MAX];
    const char *near;

    snprintf(name, sizeof(name), "%s", argument + strspn(argument, "-"));
    name[strcspn(name, "=")] = '\0';
    near = conf_nearest(spec->keys, spec->n_keys, name);
    if (opt == ':')
        return fault_set(fault, CONF_E_VALUE, "%.64s needs a value", argument);
    if (!near)
        return fault_set(fault, CONF_E_KEY, "unknown option '%.64s'", argument);
    snprintf(dashed, sizeof(dashed), "%s", near);
    argv_dash(dashed);
    return fault_set(fault, CONF_E_KEY, "unknown option '%.64s', did you mean '--%s'?", argument, dashed);
}

static int argv_set(const struct conf_argv *spec, const struct argv_longs *longs, int key, void *target,
                    struct fault *fault)
{
    char where[ARGV_NAME_MAX + 2];

    snprintf(where, sizeof(where), "--%s", longs->names[key]);
    return spec->set(&spec->keys[key], optarg ? optarg : "yes", where, target, fault);
}

int conf_argv_scan(const struct conf_argv *spec, int argc, char **argv, void *target, const char **ret_config,
                   enum conf_action *ret_action, struct fault *fault)
{
    struct argv_longs longs;
    int opt, r = 0,
             at = 1; /* at: the argument that getopt looks at; optind has not moved on inside of "-xy" */

    argv_fill(spec, &longs);
    optind = 0; /* glibc: start anew */
    opterr = 0;
    for (; !r && (opt = getopt_long(argc, argv, "+:", longs.longs, NULL)) != -1; at = optind) {
        if (opt == '?' || opt == ':')
            return argv_refuse(spec, argv[at], opt, fault);
        if (opt == ARGV_CONFIG)
            *ret_config = optarg;
        else if (opt == ARGV_HELP)
            *ret_action = CONF_HELP;
        else if (opt == ARGV_VERSION)
            *ret_action = CONF_VERSION;
        else if (target)
            r = argv_set(spec, &longs, opt - 1, target, fault);
    }
    if (!r && optind < argc)
        return fault_set(fault, CONF_E_VALUE, "unexpected argument '%.64s'", argv[optind]);
    return r;
}

void conf_argv_print_help(const struct conf_argv *spec, int width)
{
    static const char *const values[] = {[CONF_STRING] = " TEXT",
                                         [CONF_UINT] = " N",
                                         [CONF_BOOL] = "",
                                         [CONF_CHOICE] = " WORD",
                                         [CONF_SET] = " WORDS"};
    struct argv_longs longs;

    argv_fill(spec, &longs);
    for (size_t i = 0; i < spec->n_keys; i++)
        printf("  --%s%-*s %s\n", longs.names[i], width - (int)strlen(longs.names[i]),
               values[spec->keys[i].type], spec->keys[i].help);
    printf("  --%-*s %s\n  --%-*s %s\n  --%-*s %s\n", width, "config FILE", "configuration file", width,
           "version", "print the version and end", width, "help", "print this and end");
}
