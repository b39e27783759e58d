/* route.h - which path is served by whom, and in which dialect its errors are told. */
#pragma once

#include "conn.h"

struct route {
    const char *method, *path; /* a path that ends with '*' stands for all that begin so */
    void (*serve)(struct conn *conn);
    void (*put_error)(const struct refusal *refusal, struct jout *j);
};

/* NULL: none; then allow [16] has the method that the path does take, or "". */
const struct route *route_find(const char *method, const char *path, char allow[16]);
void route_put_error(const struct conn *conn, const struct refusal *refusal, struct jout *j);
