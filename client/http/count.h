/* count.h - prompts that are only looked at: how many tokens they have, and their text in the model's
 * template. */
#pragma once

#include "conn.h"

void count_tokens_serve(struct conn *conn); /* POST /v1/messages/count_tokens */
void count_input_serve(
    struct conn *conn); /* POST /v1/responses/input_tokens, /v1/chat/completions/input_tokens */
void template_serve(struct conn *conn); /* POST /apply-template */
