/* options.h - what the broker was told: /etc/qwend/qwend.conf and /etc/qwend/qwend.conf.d, section [daemon],
 * then the command line, which wins. */
#pragma once

#include "daemon/util/conf_argv.h"

enum { OPTIONS_CACHE_MIB_MAX = 1 << 20, OPTIONS_CACHE_AUTO };

struct options {
    char *socket, *model, *engine, *cpu_isa; /* owned; model is NULL only before options_read() */
    char *metrics, *metrics_allow;           /* owned; NULL: not given */
    char *cache_dir;                         /* owned; NULL: none */
    const char *backend, *kv, *embedding;
    uint32_t context, slots, threads;
    uint32_t drain_s, engine_timeout_s, load_timeout_s, slow_s, linger_s;
    uint32_t max_connections, max_requests, max_mib, journal_mib;
    uint32_t cache_mib; /* OPTIONS_CACHE_AUTO: the engine decides */
    uint32_t cache_dir_mib;
    bool allow_root, verbose;
    int argc; /* what it was read from, borrowed: for reading it again */
    char **argv;
    struct conf_files files;
};

enum { OPTIONS_OK, OPTIONS_E_INVALID };

/* Reads file and command line; the fault says what is wrong and where.  Whatever is returned,
 * options_deinit(). */
int options_read(struct options *options, int argc, char **argv, enum conf_action *ret_action,
                 struct fault *fault);
void options_deinit(struct options *options);
/* Names of the keys that differ, "slots, model"; cut to what fits, "" if there are none. */
void options_name_changes(const struct options *a, const struct options *b, char *text, size_t n);
/* Where a configuration names the model, or would, in less than 200 bytes: "line 3 of /etc/qwend/qwend.conf".
 * false: the command line does, which counts more. */
bool options_place_model(const struct options *options, char *text, size_t n);
void options_print_help(void); /* from the same table, to stdout */
/* The table itself, for qwend-doc.  Whatever is returned, options_deinit(). */
int options_table(struct options *defaults, struct conf_table *ret_table);
