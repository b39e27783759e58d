/* options.c - one key table for qwend-http.conf, argv and --help.  See options.h. */
#include "options.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define OPTIONS_CONFIG_DEFAULT "/etc/qwend/qwend-http.conf"

static const char *const options_policies[] = {"local-only", "local-first", "upstream-first", NULL};
static const char *const options_orders[] = {"prefix-first", "suffix-first", NULL};
static const char *const options_tools[] = {"call", "ignore", "refuse", NULL};
static const char *const options_reasoning[] = {"both", "reasoning_content", "reasoning", "none", NULL};

#define KEY(field, kind, help_text, ...)                                                                     \
    CONF_KEY("http", struct options, field, #field, kind, .help = help_text, __VA_ARGS__)
static const struct conf_key options_keys[] = {
    KEY(listen, CONF_STRING, "unix:PATH, 127.0.0.1:PORT or [::1]:PORT; may be given again"),
    KEY(socket, CONF_STRING, "socket of the daemon (as qwenctl looks for it)"),
    KEY(keys, CONF_STRING, "file with 'NAME KEY' lines, mode 0600; TCP needs it"),
    KEY(hosts, CONF_STRING, "further names that Host may have over TCP (none)"),
    KEY(origins, CONF_STRING, "values that Origin may have over TCP (none)"),
    KEY(admins, CONF_STRING, "who may see everybody's counts: uid:N, key:NAME (root and its own user)"),
    KEY(accounts, CONF_BOOL, "each peer and key is a user of its own to the daemon (no)"),
    KEY(reasoning_field, CONF_CHOICE, "both, reasoning_content, reasoning or none (both)",
        .choices = options_reasoning),
    KEY(gap_order, CONF_CHOICE, "how a gap is read: prefix-first or suffix-first (prefix-first)",
        .choices = options_orders),
    KEY(tools, CONF_CHOICE, "tools that a client offers: call, ignore or refuse (call)",
        .choices = options_tools),
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

enum { OPTIONS_N_KEYS = ARRAY_SIZE(options_keys) };

static void options_set_defaults(struct options *options)
{
    *options = (struct options){
        .reasoning_field = options_reasoning[0],
        .upstream_policy = options_policies[0],
        .gap_order = options_orders[0],
        .tools = options_tools[0],
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

void options_table(struct options *defaults, struct conf_table *ret_table)
{
    options_set_defaults(defaults);
    *ret_table = (struct conf_table){options_keys, OPTIONS_N_KEYS, defaults};
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
    freep(&options->admins);
    servers_deinit(&options->servers);
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

/* --listen again adds to the list; the first one of the command line replaces the file's. */
static int options_set(const struct conf_key *key, const char *value, const char *where, void *target,
                       struct fault *fault)
{
    struct options *options = target;
    char *joined;

    if (key->offset != offsetof(struct options, listen))
        return conf_set(key, value, where, target, fault);
    if (asprintf(&joined, "%s%s%s", options->n_listen ? options->listen : "", options->n_listen ? "," : "",
                 value) < 0)
        return err_origin(-ENOMEM);
    free(options->listen);
    options->listen = joined;
    options->n_listen++;
    return 0;
}

static const struct conf_argv options_argv = {options_keys, OPTIONS_N_KEYS, options_set};

static int options_read_files(struct options *options, const char *config, struct fault *fault)
{
    static const char *const others[] = {"upstream *", NULL};
    struct conf_files files = {};
    int r = conf_files_find(config ? config : OPTIONS_CONFIG_DEFAULT, config, &files, fault);

    for (size_t i = 0; i < files.n && !r; i++) {
        r = conf_read(files.paths[i], options_keys, OPTIONS_N_KEYS, others, options, fault);
        if (!r)
            r = servers_read(&options->servers, files.paths[i], fault);
    }
    conf_files_deinit(&files);
    return r > 0 ? OPTIONS_E_INVALID : r;
}

/* The keys of [http] for one server are one more of them. */
static int options_add_server(struct options *options, struct fault *fault)
{
    struct server_conf *server;
    int r = options->upstream_url ? servers_add(&options->servers, "upstream", "upstream_url", &server, fault)
                                  : SERVERS_OK;

    if (r || !options->upstream_url)
        return r;
    if (server->url)
        return fault_set(fault, OPTIONS_E_INVALID,
                         "upstream_url: there is a section [upstream upstream], too");
    server->url = steal(&options->upstream_url);
    server->key = steal(&options->upstream_key);
    server->model = options->upstream_model ? steal(&options->upstream_model) : strdup("default");
    return server->model ? OPTIONS_OK : err_origin(-ENOMEM);
}

static int options_finish_servers(struct options *options, struct fault *fault)
{
    int r = options_add_server(options, fault);

    if (!r)
        r = servers_check(&options->servers, fault);
    for (size_t i = 0; i < options->servers.n; i++)
        if (!options->servers.all[i].policy)
            options->servers.all[i].policy = options->upstream_policy;
    return r;
}

int options_read(struct options *options, int argc, char **argv, enum conf_action *ret_action,
                 struct fault *fault)
{
    enum conf_action action = CONF_RUN;
    const char *config = NULL;
    int r;

    options_set_defaults(options);
    r = conf_argv_scan(&options_argv, argc, argv, NULL, &config, &action, fault);
    if (!r && action == CONF_RUN)
        r = options_read_files(options, config, fault);
    if (!r && action == CONF_RUN)
        r = conf_argv_scan(&options_argv, argc, argv, options, &config, &action, fault);
    if (!r && action == CONF_RUN)
        r = options_finish_servers(options, fault);
    if (r)
        return r < 0 ? r : OPTIONS_E_INVALID;
    if (action == CONF_RUN && !options->listen)
        return fault_set(fault, OPTIONS_E_INVALID,
                         "nowhere to listen: give --listen unix:PATH, or set listen = unix:PATH under [http] "
                         "in " OPTIONS_CONFIG_DEFAULT);
    *ret_action = action;
    return OPTIONS_OK;
}

void options_print_help(void)
{
    printf("usage: qwend-http --listen unix:PATH [OPTION ...]\n\n"
           "Serves qwend to programs that speak the HTTP of OpenAI, Anthropic, Ollama or llama.cpp.\n"
           "The same names are keys of section [http] in " OPTIONS_CONFIG_DEFAULT ".\n\n");
    conf_argv_print_help(&options_argv, 25);
}
