/* serve.h - the way that every dialect's request takes: read, put right, made the daemon's, started. */
#pragma once

#include "job.h"

/* Reads a body into an initialised ask.  0, or a status code with the refusal.  Pure. */
typedef int read_fn(struct ask *ask, const json_t *root, struct refusal *refusal);
read_fn chat_read, completion_read, native_read, infill_read, messages_read, count_read, responses_read,
    ollama_chat_read, ollama_generate_read;

/* From bytes; whatever is returned, ask_deinit(). */
int serve_parse(struct ask *ask, const char *text, size_t n, read_fn *read, struct refusal *refusal);

/* ask: complete, to be ended with ask_deinit(); false: the request was refused. */
bool serve_read(struct conn *conn, read_fn *read, struct ask *ask);
void serve_job(struct conn *conn, read_fn *read, const struct dialect *dialect);
