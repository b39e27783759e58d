/* gate.h - who may ask for what: decided by the head of a request alone, before a byte of its body is taken.
 */
#pragma once

#include "conn.h"

void gate_admit(struct conn *conn, struct refusal *refusal); /* finds conn->route as well */
bool gate_is_admin(const struct conn *conn);                 /* may see what is counted of others */
void gate_refuse_memory(const struct conn *conn, struct refusal *refusal);
