/* options.h - what the gateway was told: /etc/qwend/qwend-http.conf and its folder, section [http], then the
 * command line, which wins. */
#pragma once

#include "daemon/util/conf_argv.h"
#include "servers.h"

struct options {
    char *listen, *socket, *keys, *hosts, *origins;     /* owned; lists are words between commas and blanks */
    char *upstream_url, *upstream_key, *upstream_model; /* owned; NULL: not given */
    char *admins;
    struct servers servers; /* upstream_url is one of them */
    const char *reasoning_field, *upstream_policy, *gap_order, *tools;
    unsigned n_listen; /* times that the command line said where */
    bool accounts, normalise, allow_root, verbose;
    uint32_t max_connections, max_requests, max_mib, body_kib, connection_requests;
    uint32_t upstream_wait_s, ping_s, head_s, body_s, idle_s, stall_s;
};

enum { OPTIONS_OK, OPTIONS_E_INVALID };

/* Whatever is returned, options_deinit(). */
int options_read(struct options *options, int argc, char **argv, enum conf_action *ret_action,
                 struct fault *fault);
void options_deinit(struct options *options);
void options_print_help(void);
void options_table(struct options *defaults, struct conf_table *ret_table); /* for qwend-http-doc */

/* The next word of a list: its length, *at moves to it; 0: none is left. */
size_t options_word(const char **at);
bool options_has_word(const char *list, const char *word, size_t n); /* list NULL: no; case does not count */
