/* upstream_count.h - GET /upstream: where the caller's requests may go, and what of them has gone; for
 * administrators what of everybody's. */
#pragma once

#include "conn.h"

void upstream_serve(struct conn *conn);
