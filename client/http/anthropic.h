/* anthropic.h - POST /v1/messages and /v1/messages/count_tokens. */
#pragma once

#include "conn.h"

void anthropic_put_error(const struct refusal *refusal, struct jout *j);
void messages_serve(struct conn *conn);
void count_tokens_serve(struct conn *conn);
