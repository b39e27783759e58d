/* metrics.h - GET /metrics: what the gateway does, as OpenMetrics text, for administrators; numbers, never
 * content. */
#pragma once

#include "conn.h"

void metrics_serve(struct conn *conn);
