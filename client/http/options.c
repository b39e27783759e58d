/* options.c - one key table for qwend-http.conf, argv and --help.  See options.h. */
#include "options.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define OPTIONS_CONFIG_DEFAULT "/etc/qwend/qwend-http.conf"

static const char *const options_policies[] = {"local-only", "local-first", "upstream-first", NULL};
static const char *const options_orders[] = {"prefix-first", "suffix-first", NULL};
static const char *const options_reasoning[] = {"both", "reasoning_content", "reasoning", "none", NULL};

#define KEY(field, kind, help_text, ...)                                                                     \
    {                                                                                                        \
        .section = "http", .name = #field, .type = kind, .offset = offsetof(struct options, field),          \
        .help = help_text, __VA_ARGS__                                                                       \
    }
static const struct conf_key options_keys[] = {
    KEY(listen, CONF_STRING, "unix:PATH, 127.0.0.1:PORT or [::1]:PORT; may be given again"),
    KEY(socket, CONF_STRING, "socket of the daemon (as qwenctl looks for it)"),
    KEY(keys, CONF_STRING, "file with 'NAME KEY' lines, mode 0600; TCP needs it"),
    KEY(hosts, CONF_STRING, "further names that Host may have over TCP (none)"),
    KEY(origins, CONF_STRING, "values that Origin may have over TCP (none)"),
    KEY(accounts, CONF_BOOL, "each peer and key is a user of its own to the daemon (no)"),
    KEY(reasoning_field, CONF_CHOICE, "both, reasoning_content, reasoning or none (both)",
        .choices = options_reasoning),
    KEY(gap_order, CONF_CHOICE, "how a gap is read: prefix-first or suffix-first (prefix-first)",
        .choices = options_orders),
    KEY(upstream_url, CONF_STRING, "another server: https://HOST/v1, or unix:PATH (none)"),
    KEY(upstream_policy, CONF_CHOICE, "local-only, local-first or upstream-first (local-only)",
        .choices = options_policies),
    KEY(upstream_key, CONF_STRING, "file with the key that it wants (none)"),
    KEY(upstream_model, CONF_STRING, "what the model is called there (default)"),
    KEY(upstream_wait_s, CONF_UINT, "seconds in the daemon's queue until it is asked (10)", .max = 3600),
    KEY(normalise, CONF_BOOL, "undo what agents change in each prompt's head (yes)"),
    KEY(max_connections, CONF_UINT, "connections (256)", .min = 2, .max = 4096),
    KEY(max_requests, CONF_UINT, "answers that are waited for at a time (256)", .min = 1, .max = 1024),
    KEY(max_mib, CONF_UINT, "memory for requests and answers, MiB (32)", .min = 1, .max = 4096),
    KEY(body_kib, CONF_UINT, "size of a request's body, KiB (8192)", .min = 1, .max = 8192),
    KEY(connection_requests, CONF_UINT, "requests of one connection (1000)", .min = 1, .max = 1000000),
    KEY(ping_s, CONF_UINT, "seconds between signs of life of a stream that waits (10)", .min = 1,
        .max = 3600),
    KEY(head_s, CONF_UINT, "seconds for a request's head (10)", .min = 1, .max = 3600),
    KEY(body_s, CONF_UINT, "seconds without a byte of a request's body (30)", .min = 1, .max = 3600),
    KEY(idle_s, CONF_UINT, "seconds between two requests of a connection (75)", .min = 1, .max = 86400),
    KEY(stall_s, CONF_UINT, "seconds without a byte read by the client (60)", .min = 1, .max = 3600),
    KEY(allow_root, CONF_BOOL, "run although started as root (no)"),
    KEY(verbose, CONF_BOOL, "log more (no)"),
};
#undef KEY

enum { OPTIONS_N_KEYS = ARRAY_SIZE(options_keys), OPTIONS_NAME_MAX = 32, OPTIONS_LISTEN = 0 };
enum { OPTIONS_LONG_CONFIG = 1000, OPTIONS_LONG_VERSION, OPTIONS_LONG_HELP };

static void options_set_defaults(struct options *options)
{
    *options = (struct options){
        .reasoning_field = options_reasoning[0],
        .upstream_policy = options_policies[0],
        .gap_order = options_orders[0],
        .upstream_wait_s = 10,
        .normalise = true,
        .max_connections = 256,
        .max_requests = 256,
        .max_mib = 32,
        .body_kib = 8192,
        .connection_requests = 1000,
        .ping_s = 10,
        .head_s = 10,
        .body_s = 30,
        .idle_s = 75,
        .stall_s = 60,
    };
}

void options_deinit(struct options *options)
{
    freep(&options->listen);
    freep(&options->socket);
    freep(&options->keys);
    freep(&options->hosts);
    freep(&options->origins);
    freep(&options->upstream_url);
    freep(&options->upstream_key);
    freep(&options->upstream_model);
}

size_t options_word(const char **at)
{
    *at += strspn(*at, ", \t");
    return strcspn(*at, ", \t");
}

bool options_has_word(const char *list, const char *word, size_t n)
{
    const char *at = list;
    size_t k;

    if (!list)
        return false;
    for (; (k = options_word(&at)) > 0; at += k)
        if (k == n && !strncasecmp(at, word, n))
            return true;
    return false;
}

/* getopt's table from ours: '_' becomes '-', a bool takes no argument. */
static void options_fill_long(struct option *longs, char (*names)[OPTIONS_NAME_MAX])
{
    for (int i = 0; i < OPTIONS_N_KEYS; i++) {
        snprintf(names[i], OPTIONS_NAME_MAX, "%s", options_keys[i].name);
        for (char *p = names[i]; *p; p++)
            if (*p == '_')
                *p = '-';
        longs[i] =
            (struct option){.name = names[i],
                            .has_arg = options_keys[i].type == CONF_BOOL ? no_argument : required_argument,
                            .val = i + 1};
    }
    longs[OPTIONS_N_KEYS] = (struct option){"config", required_argument, NULL, OPTIONS_LONG_CONFIG};
    longs[OPTIONS_N_KEYS + 1] = (struct option){"version", no_argument, NULL, OPTIONS_LONG_VERSION};
    longs[OPTIONS_N_KEYS + 2] = (struct option){"help", no_argument, NULL, OPTIONS_LONG_HELP};
    longs[OPTIONS_N_KEYS + 3] = (struct option){};
}

static int options_bad_argument(const char *argument, int opt, struct fault *fault)
{
    char name[OPTIONS_NAME_MAX];
    const char *near;

    snprintf(name, sizeof(name), "%s", argument + strspn(argument, "-"));
    name[strcspn(name, "=")] = '\0';
    near = conf_nearest(options_keys, OPTIONS_N_KEYS, name);
    if (opt == ':')
        return fault_set(fault, OPTIONS_E_INVALID, "%.64s needs a value", argument);
    return fault_set(fault, OPTIONS_E_INVALID, "unknown option '%.64s'%s%s%s", argument,
                     near ? ", did you mean the one of the key '" : "", near ? near : "", near ? "'?" : "");
}

/* --listen again adds to the list; the first one of the command line replaces the file's. */
static int options_add_listen(struct options *options, const char *value, bool is_first)
{
    char *joined;

    if (asprintf(&joined, "%s%s%s", is_first || !options->listen ? "" : options->listen,
                 is_first || !options->listen ? "" : ",", value) < 0)
        return err_origin(-ENOMEM);
    free(options->listen);
    options->listen = joined;
    return OPTIONS_OK;
}

/* One pass over argv.  target NULL: only looks for --config, --help and --version. */
static int options_scan(int argc, char **argv, struct options *target, const char **config,
                        enum options_action *action, struct fault *fault)
{
    char names[OPTIONS_N_KEYS][OPTIONS_NAME_MAX], where[OPTIONS_NAME_MAX + 2];
    struct option longs[OPTIONS_N_KEYS + 4];
    int opt, r, at = 1, n_listen = 0;

    options_fill_long(longs, names);
    optind = 0; /* glibc: start anew */
    opterr = 0;
    for (; (opt = getopt_long(argc, argv, "+:", longs, NULL)) != -1; at = optind) {
        if (opt == '?' || opt == ':')
            return options_bad_argument(argv[at], opt, fault);
        if (opt == OPTIONS_LONG_CONFIG)
            *config = optarg;
        if (opt == OPTIONS_LONG_HELP)
            *action = OPTIONS_HELP;
        if (opt == OPTIONS_LONG_VERSION)
            *action = OPTIONS_VERSION;
        if (!target || opt > OPTIONS_N_KEYS)
            continue;
        snprintf(where, sizeof(where), "--%s", names[opt - 1]);
        r = opt - 1 == OPTIONS_LISTEN
                ? options_add_listen(target, optarg, !n_listen++)
                : conf_set(&options_keys[opt - 1], optarg ? optarg : "yes", where, target, fault);
        if (r)
            return r < 0 ? r : OPTIONS_E_INVALID;
    }
    if (optind < argc)
        return fault_set(fault, OPTIONS_E_INVALID, "unexpected argument '%.64s'", argv[optind]);
    return OPTIONS_OK;
}

static int options_read_files(struct options *options, const char *config, struct fault *fault)
{
    struct conf_files files = {};
    int r = conf_files_find(config ? config : OPTIONS_CONFIG_DEFAULT, config, &files, fault);

    for (size_t i = 0; i < files.n && !r; i++)
        r = conf_read(files.paths[i], options_keys, OPTIONS_N_KEYS, NULL, options, fault);
    conf_files_deinit(&files);
    return r > 0 ? OPTIONS_E_INVALID : r;
}

int options_read(struct options *options, int argc, char **argv, enum options_action *ret_action,
                 struct fault *fault)
{
    enum options_action action = OPTIONS_RUN;
    const char *config = NULL;
    int r;

    options_set_defaults(options);
    r = options_scan(argc, argv, NULL, &config, &action, fault);
    if (!r && action == OPTIONS_RUN)
        r = options_read_files(options, config, fault);
    if (!r && action == OPTIONS_RUN)
        r = options_scan(argc, argv, options, &config, &action, fault);
    if (r)
        return r;
    if (action == OPTIONS_RUN && !options->listen)
        return fault_set(fault, OPTIONS_E_INVALID,
                         "nowhere to listen: give --listen unix:PATH, or set listen = unix:PATH under [http] "
                         "in " OPTIONS_CONFIG_DEFAULT);
    *ret_action = action;
    return OPTIONS_OK;
}

void options_print_help(void)
{
    char names[OPTIONS_N_KEYS][OPTIONS_NAME_MAX];
    struct option longs[OPTIONS_N_KEYS + 4];
    static const char *const values[] = {
        [CONF_STRING] = " TEXT", [CONF_UINT] = " N", [CONF_BOOL] = "", [CONF_CHOICE] = " WORD"};

    options_fill_long(longs, names);
    printf("usage: qwend-http --listen unix:PATH [OPTION ...]\n\n"
           "Serves qwend to programs that speak the HTTP of OpenAI, Anthropic, Ollama or llama.cpp.\n"
           "The same names are keys of section [http] in " OPTIONS_CONFIG_DEFAULT ".\n\n");
    for (int i = 0; i < OPTIONS_N_KEYS; i++)
        printf("  --%s%-*s %s\n", names[i], (int)(25 - strlen(names[i])), values[options_keys[i].type],
               options_keys[i].help);
    printf("  --%-25s %s\n  --%-25s %s\n  --%-25s %s\n", "config FILE", "configuration file", "version",
           "print the version and end", "help", "print this and end");
}
