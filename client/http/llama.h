/* llama.h - what llama.cpp's server has beside OpenAI's endpoints, and its editors use. */
#pragma once

#include "conn.h"

void tokenize_serve(struct conn *conn);
void detokenize_serve(struct conn *conn);
void props_serve(struct conn *conn);
void native_serve(struct conn *conn); /* POST /completion */
void infill_serve(struct conn *conn);
