/* upstream_count.c - see upstream_count.h. */
#include "upstream_count.h"

#include "gate.h"
#include "upstream.h"

enum { COUNT_BYTES = 512 << 10 }; /* LEDGER_USERS of them */

static void count_put_user(const struct ledger_entry *entry, struct jout *j)
{
    jout_open(j, NULL, '{');
    jout_text(j, "user", entry->user, (size_t)-1);
    jout_int(j, "requests_sent", (int64_t)entry->requests);
    jout_int(j, "bytes_sent", (int64_t)entry->bytes);
    jout_close(j, '}');
}

static void count_put_server(const struct gateway *g, int i, bool is_admin, struct jout *j)
{
    const struct server_conf *server = &g->options->servers.all[i];
    struct up_state state;

    upstream_state(g, i, &state);
    jout_open(j, NULL, '{');
    jout_text(j, "name", server->name, (size_t)-1);
    jout_text(j, "policy", server->policy, (size_t)-1);
    jout_text(j, "models", server->models ? server->models : "*", (size_t)-1);
    jout_bool(j, "well", state.well);
    if (is_admin) {
        jout_text(j, "url", server->url, (size_t)-1);
        jout_int(j, "weight", server->weight);
        jout_int(j, "requests", (int64_t)state.requests);
        jout_int(j, "failures", (int64_t)state.failures);
    }
    jout_close(j, '}');
}

void upstream_serve(struct conn *conn)
{
    const struct gateway *g = conn->g;
    const struct ledger_entry *mine = ledger_find(&g->ledger, conn->owner->name);
    const bool is_admin = gate_is_admin(conn);
    _cleanup_(buf_deinit) struct buf body = BUF_INIT(COUNT_BYTES);
    struct jout j = {.buf = &body};

    jout_open(&j, NULL, '{');
    jout_text(&j, "policy", g->options->upstream_policy, (size_t)-1);
    jout_open(&j, "servers", '[');
    for (size_t i = 0; i < g->options->servers.n; i++)
        count_put_server(g, (int)i, is_admin, &j);
    jout_close(&j, ']');
    jout_text(&j, "user", conn->owner->name, (size_t)-1);
    jout_int(&j, "requests_sent", mine ? (int64_t)mine->requests : 0);
    jout_int(&j, "bytes_sent", mine ? (int64_t)mine->bytes : 0);
    if (is_admin) {
        jout_open(&j, "users", '[');
        for (size_t i = 0; i < g->ledger.n; i++)
            count_put_user(&g->ledger.entries[i], &j);
        jout_close(&j, ']');
    }
    jout_close(&j, '}');
    if (j.r)
        conn_kill(conn);
    else
        conn_reply(conn, 200, "application/json", buf_head(&body), buf_size(&body));
}
