/* options.c - one key table for qwend.conf, argv and --help.  See options.h. */
#include "options.h"

#include <stdio.h>
#include <string.h>

#define OPTIONS_CONFIG_DEFAULT "/etc/qwend/qwend.conf"

static const char *const options_backends[] = {"auto", "cuda", "cpu", "ref", NULL};
static const char *const options_kv_types[] = {"f16", "f32", "q8_0", NULL};
static const char *const options_embeddings[] = {"auto", "device", "host", NULL};

#define KEY(field, kind, help_text, ...)                                                                     \
    CONF_KEY("daemon", struct options, field, #field, kind, .help = help_text, __VA_ARGS__)
static const struct conf_key options_keys[] = {
    KEY(socket, CONF_STRING, "socket to listen on (/run/qwend/qwend.sock)"),
    KEY(metrics, CONF_STRING, "socket that metrics are read from, or none (none)"),
    KEY(metrics_allow, CONF_STRING, "users who may read them beside root and group qwend-admin"),
    KEY(model, CONF_STRING, "GGUF file to serve"),
    KEY(backend, CONF_CHOICE, "auto, cuda, cpu or ref (auto)", .choices = options_backends),
    KEY(context, CONF_UINT, "tokens per request, prompt and answer; 0: what model and memory allow (0)",
        .max = 1 << 20),
    KEY(slots, CONF_UINT, "requests that run at a time (4)", .min = 1, .max = 64),
    KEY(threads, CONF_UINT, "CPU threads; 0: as many as there are cores (0)", .max = 1024),
    KEY(kv, CONF_CHOICE, "how attention keys and values are kept: f16, f32, q8_0 (f16)",
        .choices = options_kv_types),
    KEY(embedding, CONF_CHOICE,
        "where a GPU has the table of embeddings: device, host (main memory), auto (host if all that was "
        "asked for does not fit) (auto)",
        .choices = options_embeddings),
    KEY(cache_mib, CONF_UINT,
        "memory for the prefix cache, MiB; 0: none (a quarter of what is free, four times what the slots can "
        "use, or 8192)",
        .max = OPTIONS_CACHE_MIB_MAX),
    KEY(cache_dir, CONF_STRING, "folder that keeps the prefix cache over a restart, prompts included (none)"),
    KEY(cache_dir_mib, CONF_UINT, "what its files may take, MiB (4096)", .min = 1, .max = 1 << 24),
    KEY(cpu_isa, CONF_STRING, "instruction set of the CPU kernels (the best this machine has)"),
    KEY(engine, CONF_STRING, "engine binary (installed, else beside this binary)"),
    KEY(drain_s, CONF_UINT, "seconds that running requests get after SIGTERM (30)", .max = 3600),
    KEY(engine_timeout_s, CONF_UINT,
        "seconds without a finished step until a working engine is replaced (20)", .min = 1, .max = 3600),
    KEY(load_timeout_s, CONF_UINT, "seconds without progress until a loading engine is replaced (300)",
        .min = 1, .max = 86400),
    KEY(slow_s, CONF_UINT, "seconds that a request waits for its reader (60)", .min = 1, .max = 3600),
    KEY(linger_s, CONF_UINT, "seconds that a detachable request waits without a reader (30)", .min = 1,
        .max = 86400),
    KEY(max_connections, CONF_UINT, "connections of all users (4096)", .min = 2, .max = 100000),
    KEY(max_requests, CONF_UINT, "requests of all users, queued or running (1024)", .min = 2, .max = 100000),
    KEY(max_mib, CONF_UINT, "memory for buffers, prompts and replay logs, MiB (256)", .min = 4,
        .max = 1 << 20),
    KEY(journal_mib, CONF_UINT,
        "memory for the journal, from which a broker that is started again goes on, MiB; 0: none (256)",
        .max = 1 << 16),
    KEY(allow_root, CONF_BOOL, "run although started as root (no)"),
    KEY(verbose, CONF_BOOL, "log more (no)"),
};
#undef KEY

enum { OPTIONS_N_KEYS = ARRAY_SIZE(options_keys) };
static const struct conf_argv options_argv = {options_keys, OPTIONS_N_KEYS, conf_set};

static int options_set_defaults(struct options *options)
{
    *options = (struct options){
        .backend = options_backends[0],
        .kv = options_kv_types[0],
        .embedding = options_embeddings[0],
        .slots = 4,
        .cache_mib = OPTIONS_CACHE_AUTO,
        .cache_dir_mib = 4096,
        .drain_s = 30,
        .engine_timeout_s = 20,
        .load_timeout_s =
            300, /* a cold 20 GB file from a slow disk at 100 MB/s, were there no progress at all */
        .slow_s = 60,
        .linger_s = 30,
        .max_connections = 4096,
        .max_requests = 1024,
        .max_mib = 256,
        .journal_mib = 256,
    };
    options->socket = strdup("/run/qwend/qwend.sock");
    return options->socket ? 0 : err_origin(-ENOMEM);
}

int options_table(struct options *defaults, struct conf_table *ret_table)
{
    *ret_table = (struct conf_table){options_keys, OPTIONS_N_KEYS, defaults};
    return options_set_defaults(defaults);
}

void options_deinit(struct options *options)
{
    freep(&options->socket);
    freep(&options->metrics);
    freep(&options->metrics_allow);
    freep(&options->model);
    freep(&options->engine);
    freep(&options->cpu_isa);
    freep(&options->cache_dir);
    conf_files_deinit(&options->files);
}

static int options_read_files(struct options *options, const char *config, struct fault *fault)
{
    static const char *const others[] = {"class *", "default", "public *",
                                         NULL}; /* policy_read.c's, publish.c's */
    int r = conf_files_find(config ? config : OPTIONS_CONFIG_DEFAULT, config, &options->files, fault);

    for (size_t i = 0; i < options->files.n && !r; i++)
        r = conf_read(options->files.paths[i], options_keys, OPTIONS_N_KEYS, others, options, fault);
    return r > 0 ? OPTIONS_E_INVALID : r;
}

int options_read(struct options *options, int argc, char **argv, enum conf_action *ret_action,
                 struct fault *fault)
{
    enum conf_action action = CONF_RUN;
    const char *config = NULL;
    int r;

    r = options_set_defaults(options);
    options->argc = argc;
    options->argv = argv;
    if (!r)
        r = conf_argv_scan(&options_argv, argc, argv, NULL, &config, &action, fault);
    if (!r && action == CONF_RUN)
        r = options_read_files(options, config, fault);
    if (!r && action == CONF_RUN)
        r = conf_argv_scan(&options_argv, argc, argv, options, &config, &action, fault);
    if (r)
        return r < 0 ? r : OPTIONS_E_INVALID;
    if (action == CONF_RUN && !options->model)
        return fault_set(
            fault, OPTIONS_E_INVALID,
            "no model: give --model FILE, or set model = FILE under [daemon] in " OPTIONS_CONFIG_DEFAULT);
    *ret_action = action;
    return OPTIONS_OK;
}

static bool options_is_same(const struct conf_key *key, const struct options *a, const struct options *b)
{
    const void *x = (const char *)a + key->offset, *y = (const char *)b + key->offset;
    const char *s, *t;

    switch (key->type) {
    case CONF_UINT:
    case CONF_SET:
        return *(const uint32_t *)x == *(const uint32_t *)y;
    case CONF_BOOL:
        return *(const bool *)x == *(const bool *)y;
    case CONF_STRING:
    case CONF_CHOICE:
        break;
    }
    s = *(const char *const *)x;
    t = *(const char *const *)y;
    return s && t ? !strcmp(s, t) : s == t;
}

void options_name_changes(const struct options *a, const struct options *b, char *text, size_t n)
{
    size_t used = 0;

    *text = '\0';
    for (int i = 0; i < OPTIONS_N_KEYS; i++)
        if (!options_is_same(&options_keys[i], a, b) && used < n)
            used += (size_t)snprintf(text + used, n - used, "%s%s", used ? ", " : "", options_keys[i].name);
}

/* the model's place */
struct options_place {
    const char *path;
    int line; /* 0: no file names it */
};

static int options_on_value(void *arg, const struct conf_place *place, const char *value, struct fault *fault)
{
    struct options_place *last = arg;

    if (!strcmp(place->section, "daemon") && !strcmp(place->name, "model"))
        *last = (struct options_place){place->path, place->line};
    return 0;
}

/* The last file that names it counts, as in options_read(). */
static struct options_place options_find_model(const struct options *options)
{
    struct options_place last = {};

    for (size_t i = 0; i < options->files.n; i++) {
        _cleanup_(conf_fclosep) FILE *file = fopen(options->files.paths[i], "re");

        if (file) /* one that is gone, or has a mistake now, is no place to write to */
            (void)conf_walk(file, options->files.paths[i], options_on_value, &last, NULL);
    }
    return last;
}

static bool options_argv_names_model(const struct options *options)
{
    for (int i = 1; i < options->argc; i++)
        if (!strcmp(options->argv[i], "--model") || !strncmp(options->argv[i], "--model=", 8))
            return true;
    return false;
}

bool options_place_model(const struct options *options, char *text, size_t n)
{
    const struct options_place place = options_find_model(options);

    if (place.line)
        snprintf(text, n, "line %d of %s", place.line, strlen(place.path) <= 150 ? place.path : "its file");
    else
        snprintf(text, n, "[daemon] of " OPTIONS_CONFIG_DEFAULT);
    return !options_argv_names_model(options);
}

void options_print_help(void)
{
    printf("usage: qwend [--config FILE] --model FILE [OPTION ...]\n\n"
           "Serves one language model to every program of this machine over a Unix socket.\n"
           "The same names are keys of section [daemon] in " OPTIONS_CONFIG_DEFAULT ".\n\n");
    conf_argv_print_help(&options_argv, 22);
}
