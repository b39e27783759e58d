/* fuzz_http.c - what comes over HTTP: a request's head and chunks, whatever the pieces; and JSON that becomes
 * a request.
 *
 * And what another server streams.  The first byte says which.  A body that is read must read the same in
 * other pieces; a request that is accepted must be one that the daemon's form can hold; what is refused must
 * say why. */
#include <string.h>

#include "client/http/calls.h"
#include "client/http/http1.h"
#include "client/http/jout.h"
#include "client/http/normalise.h"
#include "client/http/serve.h"
#include "client/http/sse.h"
#include "client/http/upstream_parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static read_fn *const readers[] = {chat_read,      completion_read,  native_read,
                                   infill_read,    messages_read,    count_read,
                                   responses_read, ollama_chat_read, ollama_generate_read};

static void expect(bool holds)
{
    if (!holds)
        __builtin_trap();
}

static void fuzz_head(const char *text, size_t n)
{
    char *copy = malloc(n + 1);
    const size_t size = http1_head_size(text, n);
    struct http1_head head;
    struct fault fault = {};
    int r;

    expect(size <= n);
    if (size) {
        memcpy(copy, text, size);
        copy[size] = '\0';
        r = http1_parse(copy, size, &head, &fault);
        expect(r == HTTP1_OK || (r >= 400 && r <= 505 && *fault.text));
        expect(r || (head.path[0] == '/' && !(head.chunked && head.has_length)));
    }
    free(copy);
}

/* The body's length and end, or the refusal: by pieces of `step` bytes. */
static int fuzz_pieces(const char *text, size_t n, size_t step, size_t *ret_n, size_t *ret_end)
{
    struct http1_chunks chunks = {};
    size_t at = 0, end = 0;
    int r = HTTP1_OK;

    *ret_n = 0;
    while (r <= HTTP1_E_MORE && chunks.state != CHUNKS_DONE && (at < n || end < n)) {
        const char *piece;
        size_t used, k;

        if (at == end)
            end = MIN(end + step, n);
        r = http1_chunk(&chunks, text + at, end - at, &used, &piece, &k);
        expect(used <= end - at && k <= used);
        at += used;
        *ret_n += k;
    }
    *ret_end = at;
    return r <= HTTP1_E_MORE ? chunks.state == CHUNKS_DONE : r;
}

static void fuzz_chunks(const char *text, size_t n)
{
    size_t n_whole, n_bytes, end_whole, end_bytes;
    const int whole = fuzz_pieces(text, n, n + 1, &n_whole, &end_whole);
    const int bytes = fuzz_pieces(text, n, 1, &n_bytes, &end_bytes);

    expect(whole == bytes && n_whole == n_bytes);
    expect(whole != 1 || end_whole == end_bytes);
}

static void fuzz_ask(const char *text, size_t n, read_fn *read)
{
    struct ask ask = {};
    struct refusal refusal = {};
    struct normalise_memory memory = {};
    int r = serve_parse(&ask, text, n, read, &refusal);

    if (!r)
        r = ask_judge_tools(&ask, n % 3, &refusal);
    if (!r) {
        normalise_turns(&ask, &memory, "uid:1");
        normalise_turns(&ask, &memory, "uid:1");
        r = ask_finish(&ask, &refusal);
    }
    expect(r == refusal.status && (!r || *refusal.text));
    expect(r || (ask.n >= 1 && ask.n <= ASK_CHOICES && ask.n_stops <= ASK_STOPS));
    for (const char *p = ask.ignored; *p; p++)
        expect(*p > '\r' && *p < 0x7f);
    ask_deinit(&ask);
}

static int fuzz_hear(void *arg, const char *text, size_t n)
{
    return buf_append(arg, text, n);
}

static int fuzz_hear_call(void *arg, const char *name, const char *arguments, size_t n)
{
    _cleanup_(jin_decrefp) json_t *root = json_loadb(arguments, n, 0, NULL);

    expect(json_is_object(root) && *name && strlen(name) <= CALLS_NAME_BYTES);
    return buf_append(arg, name, strlen(name)) || buf_append(arg, arguments, n);
}

static void fuzz_calls(const char *text, size_t n, size_t step, struct buf *heard)
{
    const struct calls_sink sink = {fuzz_hear, fuzz_hear_call, heard};
    struct calls calls;

    calls_init(&calls, NULL);
    for (size_t at = 0; at < n; at += step)
        expect(!calls_push(&calls, text + at, MIN(step, n - at), &sink));
    expect(!calls_end(&calls, &sink) && !buf_size(&calls.held) && calls.n <= CALLS_MAX);
    calls_deinit(&calls);
}

/* Whatever the pieces, the same text and calls. */
static void fuzz_answer(const char *text, size_t n)
{
    _cleanup_(buf_deinit) struct buf whole = BUF_INIT(8 << 20), bytes = BUF_INIT(8 << 20);

    fuzz_calls(text, n, n + 1, &whole);
    fuzz_calls(text, n, 1, &bytes);
    expect(buf_size(&whole) == buf_size(&bytes) &&
           (!buf_size(&whole) || !memcmp(buf_head(&whole), buf_head(&bytes), buf_size(&whole))));
}

/* Any bytes, written as a string, are JSON that reads back. */
static void fuzz_escape(const char *text, size_t n)
{
    struct buf buf = BUF_INIT(6 * n + 16);
    struct jout j = {.buf = &buf};
    json_t *value;

    jout_text(&j, NULL, text, n);
    expect(!j.r);
    value = json_loadb((const char *)buf_head(&buf), buf_size(&buf), JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    expect(json_is_string(value));
    json_decref(value);
    buf_deinit(&buf);
}

/* What the lines of an event stream say, summed up. */
static bool fuzz_on_data(void *arg, const char *text, size_t n)
{
    uint64_t *sum = arg;
    struct chunk chunk = {};
    json_t *root = NULL;

    if (!chunk_parse(text, n, &root, &chunk)) {
        expect(strlen(chunk.answer) == chunk.n_answer && strlen(chunk.reasoning) == chunk.n_reasoning);
        *sum =
            *sum * 31 + chunk.n_answer + 7 * chunk.n_reasoning + chunk.answer_tokens + chunk.reasoning_tokens;
    }
    *sum = *sum * 31 + n;
    json_decref(root);
    return true;
}

static void fuzz_upstream(const char *text, size_t n)
{
    uint64_t whole = 0, bytes = 0;
    struct sse sse = SSE_INIT;

    expect(sse_push(&sse, text, n, fuzz_on_data, &whole) == SSE_OK);
    sse_deinit(&sse);
    for (size_t i = 0; i < n; i++)
        expect(sse_push(&sse, text + i, 1, fuzz_on_data, &bytes) == SSE_OK);
    sse_deinit(&sse);
    expect(whole == bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const char *text = (const char *)data + 1;
    const size_t which = n ? data[0] % (5 + ARRAY_SIZE(readers)) : 0;

    if (!n--)
        return 0;
    if (which == 0)
        fuzz_head(text, n);
    else if (which == 1)
        fuzz_chunks(text, n);
    else if (which == 2)
        fuzz_escape(text, n);
    else if (which == 3)
        fuzz_upstream(text, n);
    else if (which == 4 + ARRAY_SIZE(readers))
        fuzz_answer(text, n);
    else
        fuzz_ask(text, n, readers[which - 4]);
    return 0;
}
