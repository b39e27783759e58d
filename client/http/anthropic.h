/* anthropic.h - POST /v1/messages. */
#pragma once

#include "conn.h"

void anthropic_put_error(const struct refusal *refusal, struct jout *j);
void messages_serve(struct conn *conn);
