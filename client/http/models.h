/* models.h - answers that are made of the daemon's status. */
#pragma once

#include "client/lib/qwend.h"
#include "conn.h"

/* Writes the answer, or refuses. */
typedef void look_fn(struct conn *conn, const qwend_status_info *status, struct jout *j,
                     struct refusal *refusal);
void look_serve(struct conn *conn, look_fn *put);
bool look_is_serving(const qwend_status_info *status, struct refusal *refusal);

void health_serve(struct conn *conn);
