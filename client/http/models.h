/* models.h - answers that are made of the daemon's status. */
#pragma once

#include "conn.h"

void health_serve(struct conn *conn);
void models_serve(struct conn *conn);
void model_serve(struct conn *conn);
