/* servers.c - see servers.h. */
#include "servers.h"

#include <fnmatch.h>
#include <math.h>
#include <string.h>

#include "fnv.h"
#include "options.h"

static const char *const servers_policies[] = {"local-only", "local-first", "upstream-first", NULL};

#define KEY(field, kind, ...) CONF_KEY("upstream", struct server_conf, field, #field, kind, __VA_ARGS__)
static const struct conf_key servers_keys[] = {
    KEY(url, CONF_STRING),   KEY(policy, CONF_CHOICE, .choices = servers_policies), KEY(models, CONF_STRING),
    KEY(model, CONF_STRING), KEY(weight, CONF_UINT, .min = 1, .max = 1000),         KEY(key, CONF_STRING),
};
#undef KEY

struct servers_reader {
    struct servers *servers;
    int seen[SERVERS_MAX][ARRAY_SIZE(servers_keys)]; /* lines of this file */
};

void servers_table(struct server_conf *defaults, struct conf_table *ret_table)
{
    *defaults = (struct server_conf){.weight = 1};
    *ret_table = (struct conf_table){servers_keys, ARRAY_SIZE(servers_keys), defaults};
}

int servers_add(struct servers *servers, const char *name, const char *where, struct server_conf **ret_server,
                struct fault *fault)
{
    static const char chars[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
    const size_t n = strlen(name);
    struct server_conf *server;

    if (!n || n > SERVERS_NAME_BYTES || strspn(name, chars) != n)
        return fault_set(fault, SERVERS_E_INVALID,
                         "%s: the upstream is called '%.64s', should be 1 to %d letters, digits, '_', '-'",
                         where, name, SERVERS_NAME_BYTES);
    for (size_t i = 0; i < servers->n; i++)
        if (!strcmp(servers->all[i].name, name)) {
            *ret_server = &servers->all[i];
            return SERVERS_OK;
        }
    if (servers->n == SERVERS_MAX)
        return fault_set(fault, SERVERS_E_INVALID, "%s: more than %d upstreams", where, SERVERS_MAX);
    server = &servers->all[servers->n++];
    *server = (struct server_conf){.weight = 1};
    memcpy(server->name, name, n + 1);
    *ret_server = server;
    return SERVERS_OK;
}

static int servers_take(void *arg, const struct conf_place *place, const char *value, struct fault *fault)
{
    struct servers_reader *reader = arg;
    const struct conf_place of_server = {place->path, place->line, "upstream", place->name};
    const struct conf_key *key;
    struct server_conf *server;
    char where[300];
    int *seen, r;

    if (strncmp(place->section, "upstream ", strlen("upstream ")))
        return SERVERS_OK;
    snprintf(where, sizeof(where), "%s:%d", place->path, place->line);
    r = servers_add(reader->servers, place->section + strlen("upstream "), where, &server, fault);
    if (r)
        return r;
    key = conf_find(servers_keys, ARRAY_SIZE(servers_keys), "upstream", place->name);
    if (!key)
        return conf_refuse_key(servers_keys, ARRAY_SIZE(servers_keys), &of_server, fault);
    seen = &reader->seen[server - reader->servers->all][key - servers_keys];
    if (*seen)
        return fault_set(fault, SERVERS_E_INVALID, "%s: '%s' was already set in line %d", where, place->name,
                         *seen);
    *seen = place->line;
    return conf_set(key, value, where, server, fault);
}

int servers_read(struct servers *servers, const char *path, struct fault *fault)
{
    struct servers_reader reader = {.servers = servers};
    _cleanup_(conf_fclosep) FILE *file = fopen(path, "re");
    int r;

    if (!file)
        return fault_set(fault, SERVERS_E_INVALID, "%s: %s", path, strerror(errno));
    r = conf_walk(file, path, servers_take, &reader, fault);
    return r > 0 ? SERVERS_E_INVALID : r;
}

int servers_check(const struct servers *servers, struct fault *fault)
{
    for (size_t i = 0; i < servers->n; i++)
        if (!servers->all[i].url)
            return fault_set(fault, SERVERS_E_INVALID, "[upstream %s] has no url", servers->all[i].name);
    return SERVERS_OK;
}

void servers_deinit(struct servers *servers)
{
    for (size_t i = 0; i < servers->n; i++) {
        freep(&servers->all[i].url);
        freep(&servers->all[i].key);
        freep(&servers->all[i].model);
        freep(&servers->all[i].models);
    }
    servers->n = 0;
}

bool servers_takes(const struct server_conf *server, const char *model)
{
    const char *at = server->models;
    char pattern[256]; /* a line of the file is shorter */
    size_t n;

    if (!at)
        return true;
    for (; (n = options_word(&at)) > 0; at += n) {
        snprintf(pattern, sizeof(pattern), "%.*s", (int)n, at);
        if (!fnmatch(pattern, model, 0))
            return true;
    }
    return false;
}

/* splitmix64's finaliser: FNV alone leaves the high bits alike. */
static uint64_t servers_mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
}

/* Weighted rendezvous (Schindelhauer and Schomaker, SPAA 2005): an exponential draw a server, by key and
 * name. */
int servers_pick(const struct servers *servers, uint32_t set, uint64_t key)
{
    double best = INFINITY;
    int found = -1;

    for (size_t i = 0; i < servers->n; i++) {
        const struct server_conf *server = &servers->all[i];
        const uint64_t hash = servers_mix(fnv_hash(key, server->name, strlen(server->name)));
        const double u = ((double)(hash >> 11) + 0.5) * 0x1p-53, score = -log(u) / server->weight;

        if ((set >> i & 1) && score < best) {
            best = score;
            found = (int)i;
        }
    }
    return found;
}
