/* servers.h - other servers that requests may go to, as the configuration has them: sections [upstream NAME];
 * and which of them a request goes to.  Pure: nobody is asked here. */
#pragma once

#include "daemon/util/conf.h"

enum { SERVERS_MAX = 8, SERVERS_NAME_BYTES = 32 };
enum { SERVERS_OK, SERVERS_E_INVALID };

struct server_conf {
    char name[SERVERS_NAME_BYTES + 1];
    char *url, *key, *model, *models; /* owned; NULL: not given.  models: patterns, with commas */
    const char *policy;               /* NULL: that of section [http] */
    uint32_t weight;
};
struct servers {
    struct server_conf all[SERVERS_MAX];
    size_t n;
};

/* The sections of one file, added to those of the files before it; other sections are others'. */
int servers_read(struct servers *servers, const char *path, struct fault *fault);
int servers_add(struct servers *servers, const char *name, const char *where, struct server_conf **ret_server,
                struct fault *fault);
int servers_check(const struct servers *servers, struct fault *fault); /* all files read */
void servers_deinit(struct servers *servers);
void servers_table(struct server_conf *defaults, struct conf_table *ret_table);

/* Whether it takes requests for a model of that name; "" if the request has none. */
bool servers_takes(const struct server_conf *server, const char *model);
/* One of the set, bit i for all[i]: the same for the same key as long as it is in the set, and over many keys
 * each as often as its weight says; when one leaves the set, only its keys go elsewhere.  -1: the set is
 * empty. */
int servers_pick(const struct servers *servers, uint32_t set, uint64_t key);
