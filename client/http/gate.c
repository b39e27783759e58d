/* gate.c - see gate.h. */
#include "gate.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "route.h"

void gate_refuse_memory(const struct conn *conn, struct refusal *refusal)
{
    const struct owners *owners = conn->owner->owners;

    refuse(refusal, 503, "out_of_memory", NULL,
           "no room: requests and answers hold %llu KiB, %llu of them yours, and all together may hold %llu",
           (unsigned long long)owners->used[OWNER_BYTES] >> 10,
           (unsigned long long)conn->owner->used[OWNER_BYTES] >> 10,
           (unsigned long long)owners->limit[OWNER_BYTES] >> 10);
    refusal->retry_after_s = 1;
}

/* A page in a browser can make it connect to 127.0.0.1 under a name of the page's own (DNS rebinding); then
 * Host has that name.  It cannot leave out Origin where it posts. */
static bool gate_is_own_host(const struct options *options, const char *host)
{
    static const char own[] = "localhost, 127.0.0.1, [::1]";
    const char *port = *host == '[' ? strchr(host, ']') : host;
    size_t n;

    if (!port)
        return false;
    port = strchr(port, ':');
    n = port ? (size_t)(port - host) : strlen(host);
    return options_has_word(own, host, n) || options_has_word(options->hosts, host, n);
}

static int gate_check_page(const struct conn *conn, struct refusal *refusal)
{
    const struct options *options = conn->g->options;
    const char *host = conn->head.host, *origin = conn->head.origin;

    if (!host || !gate_is_own_host(options, host))
        return refuse(refusal, 403, "host_not_allowed", NULL,
                      "Host must be localhost, 127.0.0.1, [::1] or one of the key 'hosts'");
    if (origin && !options_has_word(options->origins, origin, strlen(origin)))
        return refuse(refusal, 403, "origin_not_allowed", NULL, "Origin is not one of the key 'origins'");
    return 0;
}

static const char *gate_find_key(const struct conn *conn)
{
    const char *authorization = conn->head.authorization;

    if (authorization && !strncasecmp(authorization, "bearer ", 7))
        return authorization + 7 + strspn(authorization + 7, " ");
    return conn->head.api_key;
}

/* Each request shows its key; the connection belongs to the owner of the last one. */
static int gate_check_key(struct conn *conn, struct refusal *refusal)
{
    const char *key = gate_find_key(conn),
               *name = key && conn->g->keys ? keys_find(conn->g->keys, key) : NULL;
    char owner_name[OWNER_NAME_BYTES];
    struct owner *owner;

    if (!name) {
        conn_add_field(conn, "WWW-Authenticate", "Bearer");
        return refuse(refusal, 401, "invalid_api_key", NULL,
                      key ? "this API key is not known here"
                          : "an API key is needed: Authorization: Bearer KEY");
    }
    snprintf(owner_name, sizeof(owner_name), "key:%s", name);
    owner = owner_get(&conn->g->owners, owner_name);
    if (!owner)
        return refuse(refusal, 503, "out_of_memory", NULL, "out of memory");
    conn_take_owner(conn, owner);
    return 0;
}

static int gate_check_body(const struct conn *conn, struct refusal *refusal)
{
    const uint64_t limit = (uint64_t)conn->g->options->body_kib << 10;
    const struct owner *owner = conn->owner;

    if (conn->head.n_body > limit)
        return refuse(refusal, 413, "request_too_large", NULL,
                      "the request's body has %llu bytes, at most %llu are taken",
                      (unsigned long long)conn->head.n_body, (unsigned long long)limit);
    if (owner->owners->used[OWNER_BYTES] + conn->head.n_body > owner->owners->limit[OWNER_BYTES]) {
        gate_refuse_memory(conn, refusal);
        return refusal->status;
    }
    return 0;
}

bool gate_is_admin(const struct conn *conn)
{
    const char *admins = conn->g->options->admins, *name = conn->owner->name;
    char own[OWNER_NAME_BYTES];

    if (admins)
        return options_has_word(admins, name, strlen(name));
    snprintf(own, sizeof(own), "uid:%u", geteuid());
    return !conn->is_tcp && (!strcmp(name, "uid:0") || !strcmp(name, own));
}

void gate_admit(struct conn *conn, struct refusal *refusal)
{
    char allow[16];
    int r;

    conn->route = route_find(conn->head.method, conn->head.path, allow);
    r = conn->is_tcp ? gate_check_page(conn, refusal) : 0;
    if (!r && conn->is_tcp)
        r = gate_check_key(conn, refusal);
    if (!r && !conn->route && *allow) {
        conn_add_field(conn, "Allow", allow);
        r = refuse(refusal, 405, "method_not_allowed", NULL, "this path takes %s", allow);
    } else if (!r && !conn->route) {
        r = refuse(refusal, 404, "unknown_path", NULL, "there is nothing at this path");
    }
    if (!r)
        gate_check_body(conn, refusal);
}
