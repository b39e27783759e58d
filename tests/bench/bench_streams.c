/* bench_streams.c - streams that are read by a program as quick as a client can be, and when each token came.
 *
 *     bench_streams SOCKET STREAMS TOKENS MAX_TOKENS
 *
 * Asks STREAMS at a time, each for MAX_TOKENS, ends once each has had TOKENS more since all had begun, and
 * cancels them. TOKENS 0: until standard input ends; a stream that ends is asked again.  "begun" is printed
 * once all have begun, and at the end a line a request: the times of its tokens, in ns of CLOCK_MONOTONIC.
 * The Python clients of bench_serving.py take longer over a token of a small model than the daemon does. */
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client/lib/qwend.h"
#include "proto/base.h"

enum { BENCH_STREAMS_MAX = 64 };

struct bench;
struct bench_stream {
    struct bench *bench;
    qwend_stream *stream; /* owned */
    bool is_over;
    uint64_t *ns; /* owned; 0: the next one is of another request */
    size_t n, cap, n_at_begin;
};

struct bench {
    qwend *q;
    struct bench_stream streams[BENCH_STREAMS_MAX];
    size_t n_streams, n_begun, n_tokens, n_due; /* n_due: those that lack tokens since all have begun */
    int64_t max_tokens;
    unsigned seed;
    bool failed, ended;
};

static int bench_on_event(qwend_stream *stream, const qwend_event *event, void *user);

static int bench_ask(struct bench_stream *s)
{
    qwend_req *req = qwend_req_new();
    char text[160];
    int r;

    snprintf(text, sizeof(text),
             "%u %d river stone lamp paper window engine garden winter copper market signal bridge",
             ++s->bench->seed, getpid());
    r = !req || qwend_req_message(req, QWEND_USER, text, (size_t)-1) ||
        qwend_req_set_i(req, QWEND_OPT_MAX_TOKENS, s->bench->max_tokens) ||
        qwend_req_set_f(req, QWEND_OPT_TEMPERATURE, 0) || qwend_req_set_i(req, QWEND_OPT_THINKING, 0) ||
        qwend_req_set_i(req, QWEND_OPT_IGNORE_EOS, 1) || qwend_req_set_i(req, QWEND_OPT_WANT_IDS, 1) ||
        qwend_req_set_i(req, QWEND_OPT_NO_CACHE, 1) ||
        qwend_req_set_i(req, QWEND_OPT_CREDIT_BYTES, 2 << 20) ||
        qwend_generate(s->bench->q, req, bench_on_event, s, &s->stream);
    qwend_req_free(req);
    return r;
}

static int bench_grow(struct bench_stream *s)
{
    const size_t cap = s->cap ? 2 * s->cap : 4096;
    uint64_t *ns = realloc(s->ns, cap * sizeof(*ns));

    if (!ns)
        return -1;
    s->ns = ns;
    s->cap = cap;
    return 0;
}

static void bench_all_begun(struct bench *bench)
{
    puts("begun");
    fflush(stdout);
    bench->n_due = bench->n_tokens ? bench->n_streams : 0;
    for (size_t i = 0; i < bench->n_streams; i++)
        bench->streams[i].n_at_begin = bench->streams[i].n;
}

static int bench_note(struct bench_stream *s, uint64_t ns)
{
    struct bench *bench = s->bench;

    if (s->n == s->cap && bench_grow(s))
        return -1;
    s->ns[s->n++] = ns;
    if (s->n == 1 && ++bench->n_begun == bench->n_streams)
        bench_all_begun(bench);
    else if (bench->n_due && s->n == s->n_at_begin + bench->n_tokens)
        bench->ended = !--bench->n_due;
    return 0;
}

static int bench_on_event(qwend_stream *stream, const qwend_event *event, void *user)
{
    struct bench_stream *s = user;
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    if (event->type == QWEND_EV_ERROR) {
        fprintf(stderr, "bench_streams: %d %s\n", event->code, event->text);
        s->bench->failed = true;
    }
    if (event->type == QWEND_EV_ANSWER)
        for (size_t i = 0; i < event->n_ids; i++)
            s->bench->failed |= bench_note(s, (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec);
    if (event->type == QWEND_EV_END) {
        s->is_over = true;
        s->bench->failed |= bench_note(s, 0);
    }
    return 0;
}

/* Asks again what is over. */
static int bench_go_on(struct bench_stream *s)
{
    if (s->stream && !s->is_over)
        return 0;
    qwend_stream_free(s->stream);
    s->stream = NULL;
    s->is_over = false;
    return bench_ask(s);
}

static int bench_run(struct bench *bench)
{
    struct pollfd fds[] = {{.fd = qwend_fd(bench->q)}, {.fd = STDIN_FILENO, .events = POLLIN}};
    char byte;

    while (!bench->failed && !bench->ended) {
        for (size_t i = 0; i < bench->n_streams; i++)
            if (bench_go_on(&bench->streams[i]))
                return -1;
        fds[0].events = qwend_events(bench->q);
        if (poll(fds, bench->n_tokens ? 1 : 2, qwend_timeout_ms(bench->q)) < 0 ||
            qwend_dispatch(bench->q, fds[0].revents))
            return -1;
        if (!bench->n_tokens && fds[1].revents && read(STDIN_FILENO, &byte, 1) <= 0)
            bench->ended = true;
    }
    return bench->failed;
}

static void bench_print(const struct bench *bench)
{
    for (size_t i = 0; i < bench->n_streams; i++) {
        const struct bench_stream *s = &bench->streams[i];

        for (size_t k = 0; k < s->n; k++)
            printf(s->ns[k] ? "%llu " : "\n", (unsigned long long)s->ns[k]);
        puts("");
    }
}

int main(int argc, char **argv)
{
    static struct bench bench;
    int r;

    if (argc != 5) {
        fputs("usage: bench_streams SOCKET STREAMS TOKENS MAX_TOKENS\n", stderr);
        return 2;
    }
    bench.n_streams = strtoul(argv[2], NULL, 10);
    bench.n_tokens = strtoul(argv[3], NULL, 10);
    bench.max_tokens = strtol(argv[4], NULL, 10);
    if (!bench.n_streams || bench.n_streams > BENCH_STREAMS_MAX ||
        qwend_open(&bench.q, argv[1], QWEND_NONBLOCK)) {
        fprintf(stderr, "bench_streams: %s\n", bench.n_streams ? qwend_error(NULL) : "no streams");
        return 2;
    }
    for (size_t i = 0; i < bench.n_streams; i++)
        bench.streams[i].bench = &bench;
    r = bench_run(&bench);
    if (r)
        fprintf(stderr, "bench_streams: %s\n", qwend_error(bench.q));
    else
        bench_print(&bench);
    for (size_t i = 0; i < bench.n_streams; i++)
        free(bench.streams[i].ns);
    qwend_close(bench.q); /* cancels and frees its streams */
    return r ? 1 : 0;
}
