/* fuzz_rpc.c - libFuzzer target: what an editor says to the language server, one JSON text a line, with no
 * daemon to ask.
 *
 * What must hold: whatever is said, what is answered are whole frames of valid JSON; a request is answered
 * once at most, with a result or an error; nothing that a message has makes the server give up. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "client/qwenctl/lsp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* The answers so far: a JSON text of an id, by how often it was given and how often asked. */
struct fuzz_ids {
    json_t *asked, *answered;
};

static void fuzz_count(json_t *counts, const json_t *id)
{
    char *key = json_dumps(id, JSON_ENCODE_ANY | JSON_COMPACT);

    assert(key);
    json_object_set_new(counts, key, json_integer(1 + json_integer_value(json_object_get(counts, key))));
    free(key);
}

static void fuzz_answer(struct fuzz_ids *ids, const json_t *message)
{
    const json_t *id = json_object_get(message, "id");
    const bool result = json_object_get(message, "result"), error = json_object_get(message, "error");

    assert(!strcmp(lsp_string(message, "jsonrpc"), "2.0"));
    if (lsp_string(message, "method"))
        return; /* told or asked, not answered */
    assert(id && result != error);
    if (!json_is_null(id))
        fuzz_count(ids->answered, id);
}

/* Takes what the server wants to say. */
static void fuzz_drain(struct lsp *lsp, struct fuzz_ids *ids)
{
    struct lsp_frame frame = {};
    struct fault fault = {};
    const char *body;
    char *tail;
    size_t n;
    int r;

    assert(!lsp->failed && !lsp_frame_reserve(&frame, lsp->n_out, &tail));
    if (lsp->n_out)
        memcpy(tail, lsp->out, lsp->n_out);
    lsp_frame_commit(&frame, lsp->n_out);
    lsp->n_out = 0;
    while (!(r = lsp_frame_next(&frame, &fault, &body, &n))) {
        json_t *message = json_loadb(body, n, JSON_ALLOW_NUL, NULL);

        assert(message);
        fuzz_answer(ids, message);
        json_decref(message);
    }
    assert(r == LSP_FRAME_E_AGAIN && frame.n == 0);
    lsp_frame_deinit(&frame);
}

static void fuzz_line(struct lsp *lsp, struct fuzz_ids *ids, const char *line, size_t n)
{
    json_t *message = json_loadb(line, n, JSON_ALLOW_NUL, NULL);
    const json_t *id = json_object_get(message, "id");

    if (message && lsp_string(message, "method") && (json_is_string(id) || json_is_integer(id)))
        fuzz_count(ids->asked, id);
    if (message)
        lsp_on_message(lsp, message);
    else
        lsp_on_garbage(lsp, "it is none");
    lsp->fill.due_ns = lsp->fill.due_ns ? 1 : 0; /* no other key comes */
    lsp_fill_on_time(lsp);
    fuzz_drain(lsp, ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct lsp *lsp = calloc(1, sizeof(*lsp));
    struct fuzz_ids ids = {json_object(), json_object()};
    const char *text = (const char *)data, *key;
    json_t *count;

    assert(lsp);
    lsp->link.socket = "/nowhere/qwend.sock";
    for (size_t i = 0, end; i < n; i = end + 1) {
        const char *stop = memchr(text + i, '\n', n - i);

        end = stop ? (size_t)(stop - text) : n;
        fuzz_line(lsp, &ids, text + i, end - i);
    }
    json_object_foreach(ids.answered, key, count)
        assert(json_integer_value(count) <= json_integer_value(json_object_get(ids.asked, key)));
    json_decref(ids.asked);
    json_decref(ids.answered);
    lsp_deinit(lsp);
    free(lsp);
    return 0;
}
