/* metrics.c - see metrics.h.  What is counted of the daemon stands in the daemon's own metrics. */
#include "metrics.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "gate.h"
#include "upstream.h"

enum { METRICS_BYTES = 512 << 10 }; /* LEDGER_USERS twice, and the rest */

struct metrics {
    struct buf *buf; /* borrowed */
    int r;
};

static void metrics_put(struct metrics *m, const char *fmt, ...) _printf_(2, 3);

static void metrics_put(struct metrics *m, const char *fmt, ...)
{
    char line[256];
    va_list args;
    int n;

    va_start(args, fmt);
    n = vsnprintf(line, sizeof(line), fmt, args);
    va_end(args);
    if (!m->r)
        m->r = buf_append(m->buf, line, MIN((size_t)n, sizeof(line) - 1));
}

/* unit: "" if it is a plain number */
static void metrics_family(struct metrics *m, const char *name, const char *type, const char *unit,
                           const char *help)
{
    metrics_put(m, "# TYPE qwend_http_%s %s\n", name, type);
    if (*unit)
        metrics_put(m, "# UNIT qwend_http_%s %s\n", name, unit);
    metrics_put(m, "# HELP qwend_http_%s %s\n", name, help);
}

static void metrics_put_gauge(struct metrics *m, const char *name, const char *unit, uint64_t value,
                              const char *help)
{
    metrics_family(m, name, "gauge", unit, help);
    metrics_put(m, "qwend_http_%s %llu\n", name, (unsigned long long)value);
}

static void metrics_put_own(struct metrics *m, const struct gateway *g)
{
    const struct owners *owners = &g->owners;

    metrics_family(m, "build", "info", "", "Version.");
    metrics_put(m, "qwend_http_build_info{version=\"%s\"} 1\n", QWEND_VERSION);
    metrics_put_gauge(m, "uptime_seconds", "seconds", (uint64_t)(time(NULL) - g->started_s),
                      "Since the start.");
    metrics_put_gauge(m, "connections", "", owners->used[OWNER_CONNECTIONS], "Open connections.");
    metrics_put_gauge(m, "waiting_answers", "", owners->used[OWNER_REQUESTS], "Answers that are waited for.");
    metrics_put_gauge(m, "held_bytes", "bytes", owners->used[OWNER_BYTES], "Bodies, buffers and answers.");
    metrics_put_gauge(m, "held_max_bytes", "bytes", owners->limit[OWNER_BYTES],
                      "What they may hold (max_mib).");
    metrics_family(m, "answers", "counter", "", "Answers by the first digit of their status.");
    for (size_t i = 2; i < ARRAY_SIZE(g->n_answered); i++)
        metrics_put(m, "qwend_http_answers_total{status=\"%zuxx\"} %llu\n", i,
                    (unsigned long long)g->n_answered[i]);
    metrics_family(m, "broken_streams", "counter", "", "Streams that ended with an error.");
    metrics_put(m, "qwend_http_broken_streams_total %llu\n", (unsigned long long)g->n_broken);
}

static void metrics_put_servers(struct metrics *m, const struct gateway *g)
{
    static const struct {
        const char *name, *type, *suffix, *help;
        size_t offset;
    } rows[] = {
        {"upstream_running", "gauge", "", "Requests that the server works at.",
         offsetof(struct up_state, running)},
        {"upstream_requests", "counter", "_total", "Requests that it was given.",
         offsetof(struct up_state, requests)},
        {"upstream_failures", "counter", "_total", "Those of them that failed.",
         offsetof(struct up_state, failures)},
    };
    const struct servers *servers = &g->options->servers;
    struct up_state state;

    metrics_family(m, "upstream_well", "gauge", "", "1 unless it failed several times just now.");
    for (size_t i = 0; i < servers->n; i++) {
        upstream_state(g, (int)i, &state);
        metrics_put(m, "qwend_http_upstream_well{server=\"%s\"} %d\n", servers->all[i].name, state.well);
    }
    for (size_t k = 0; k < ARRAY_SIZE(rows); k++) {
        metrics_family(m, rows[k].name, rows[k].type, "", rows[k].help);
        for (size_t i = 0; i < servers->n; i++) {
            upstream_state(g, (int)i, &state);
            metrics_put(m, "qwend_http_%s%s{server=\"%s\"} %llu\n", rows[k].name, rows[k].suffix,
                        servers->all[i].name,
                        (unsigned long long)*(const uint64_t *)((const char *)&state + rows[k].offset));
        }
    }
}

static void metrics_put_users(struct metrics *m, const struct ledger *ledger)
{
    metrics_family(m, "left_requests", "counter", "", "Requests of a user that left the machine.");
    for (size_t i = 0; i < ledger->n; i++)
        metrics_put(m, "qwend_http_left_requests_total{user=\"%s\"} %llu\n", ledger->entries[i].user,
                    (unsigned long long)ledger->entries[i].requests);
    metrics_family(m, "left_bytes", "counter", "bytes", "What these requests said, in JSON.");
    for (size_t i = 0; i < ledger->n; i++)
        metrics_put(m, "qwend_http_left_bytes_total{user=\"%s\"} %llu\n", ledger->entries[i].user,
                    (unsigned long long)ledger->entries[i].bytes);
}

void metrics_serve(struct conn *conn)
{
    _cleanup_(buf_deinit) struct buf body = BUF_INIT(METRICS_BYTES);
    struct metrics m = {.buf = &body};
    struct refusal refusal;

    if (!gate_is_admin(conn)) {
        refuse(&refusal, 403, "not_allowed", NULL, "%s is not one of the key 'admins'", conn->owner->name);
        conn_refuse(conn, &refusal);
        return;
    }
    metrics_put_own(&m, conn->g);
    if (conn->g->options->servers.n) /* a family without a sample is none */
        metrics_put_servers(&m, conn->g);
    if (conn->g->ledger.n)
        metrics_put_users(&m, &conn->g->ledger);
    metrics_put(&m, "# EOF\n");
    if (m.r)
        conn_kill(conn);
    else
        conn_reply(conn, 200, "application/openmetrics-text; version=1.0.0; charset=utf-8", buf_head(&body),
                   buf_size(&body));
}
