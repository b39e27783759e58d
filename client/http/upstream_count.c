/* upstream_count.c - see upstream_count.h. */
#include "upstream_count.h"

#include "upstream.h"

void upstream_serve(struct conn *conn)
{
    static const char *const names[] = {[UPSTREAM_LOCAL_ONLY] = "local-only",
                                        [UPSTREAM_LOCAL_FIRST] = "local-first",
                                        [UPSTREAM_FIRST] = "upstream-first"};
    _cleanup_(buf_deinit) struct buf body = BUF_INIT(4096);
    struct jout j = {.buf = &body};
    uint64_t n_requests, n_bytes;

    upstream_count(conn->g, conn->owner->name, &n_requests, &n_bytes);
    jout_open(&j, NULL, '{');
    jout_text(&j, "policy", names[upstream_policy(conn->g)], (size_t)-1);
    jout_bool(&j, "well", upstream_is_well(conn->g));
    jout_text(&j, "user", conn->owner->name, (size_t)-1);
    jout_int(&j, "requests_sent", (int64_t)n_requests);
    jout_int(&j, "bytes_sent", (int64_t)n_bytes);
    jout_close(&j, '}');
    conn_reply(conn, 200, "application/json", buf_head(&body), buf_size(&body));
}
