/* conn_out.h - the writing half of a connection, for conn.c. */
#pragma once

#include "conn.h"

/* Sends what the socket takes now; then watches it, with a deadline that each byte read by the client moves.
 */
void conn_out_flush(struct conn *conn);
void conn_on_answered(struct conn *conn); /* conn.c: the answer is complete in out */
