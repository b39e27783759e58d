/* upstream_parse.h - what a chunk of another server's stream says.  Pure. */
#pragma once

#include <jansson.h>

#include "client/lib/qwend.h"
#include "proto/base.h"

enum { CHUNK_OK, CHUNK_E_INVALID, CHUNK_E_ERROR }; /* ERROR: the server says that it failed */

struct chunk {
    const char *reasoning, *answer; /* of the tree; "" */
    size_t n_reasoning, n_answer;
    qwend_finish finish; /* 0: not yet */
    bool has_usage;
    uint32_t prompt_tokens, cached_tokens, reasoning_tokens, answer_tokens;
};

/* *ret_root holds the texts: the caller's to json_decref(), also after CHUNK_E_ERROR. */
int chunk_parse(const char *text, size_t n, json_t **ret_root, struct chunk *ret_chunk);
