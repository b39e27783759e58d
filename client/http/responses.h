/* responses.h - POST /v1/responses, without a memory of past ones. */
#pragma once

#include "conn.h"

void responses_serve(struct conn *conn);
