/* look.h - questions to the daemon that one event answers: status, tokens, text; and what HTTP says of them.
 */
#pragma once

#include "client/lib/qwend.h"
#include "conn.h"

/* Writes the answer and returns true; refuses, and returns true; or goes on by asking something else: false.
 */
typedef bool look_fn(struct conn *conn, const qwend_event *event, struct jout *j, struct refusal *refusal);

/* Whatever comes of it, the request is answered. */
void look_status(struct conn *conn, look_fn *put);
void look_tokenize(struct conn *conn, const char *text, size_t n, int special, look_fn *put);
void look_detokenize(struct conn *conn, const uint32_t *ids, size_t n, look_fn *put);
void look_render(struct conn *conn, const qwend_req *req, look_fn *put);

bool look_is_serving(const qwend_status_info *status, struct refusal *refusal);
