/* http1.h - HTTP/1.1 as bytes: the head of a request, and the chunks of its body.  Pure: no sockets, no
 * memory.
 *
 * Strict where leniency has let two programs read one request differently (RFC 9112 §11.2): bare LF, obsolete
 * folding, blanks before a colon, two lengths, a length beside chunks and unknown codings are refused, never
 * repaired. */
#pragma once

#include "proto/base.h"

enum {
    HTTP1_HEAD_BYTES = 16 << 10, /* request line and fields */
    HTTP1_TARGET_BYTES = 1024,
    HTTP1_FIELDS = 64,
    HTTP1_CHUNK_LINE_BYTES = 64,
    HTTP1_TRAILER_BYTES = 1024,
};

/* Every refusal is the status code that it is answered with: 400, 405 ... */
enum { HTTP1_OK, HTTP1_E_MORE };

struct http1_head {
    const char *method, *path,
        *query; /* all point into the head, which was cut up; query "" if there is none */
    int minor;  /* of HTTP/1.x: 0 or 1 */
    bool keep_alive, chunked, expects_continue, has_length;
    uint64_t n_body;                                     /* Content-Length */
    const char *host, *origin, *authorization, *api_key; /* NULL: absent */
};

/* Bytes of the head that stands at the front of data, its last CRLF CRLF included; 0: there is no end yet. */
size_t http1_head_size(const char *data, size_t n);

/* head: n bytes as http1_head_size() said, changed in place; one more byte behind them must be writable.
 * HTTP1_OK, or a status code with the fault. */
int http1_parse(char *head, size_t n, struct http1_head *ret_head, struct fault *fault);

/* A chunked body, whatever pieces it comes in. */
struct http1_chunks {
    enum { CHUNKS_SIZE, CHUNKS_DATA, CHUNKS_DATA_END, CHUNKS_TRAILER, CHUNKS_DONE } state;
    uint64_t left; /* of this chunk's data */
    char line[HTTP1_CHUNK_LINE_BYTES];
    size_t n_line, n_trailer;
};
/* Takes from data what belongs to the body: *ret_used bytes were read, of which *ret_text, *ret_n are body
 * (perhaps none).  HTTP1_OK: call again with what is left, or the body ended (state CHUNKS_DONE);
 * HTTP1_E_MORE: all was read; else a status code. */
int http1_chunk(struct http1_chunks *chunks, const char *data, size_t n, size_t *ret_used,
                const char **ret_text, size_t *ret_n);

const char *http1_reason(int status); /* "Not Found" */
