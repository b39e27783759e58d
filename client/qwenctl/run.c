/* run.c - one request.  See run.h. */
#include "run.h"

#include <poll.h>
#include <signal.h>
#include <string.h>

#include "proto/status.h"
#include "sig.h"
#include "tick.h"

enum {
    RUN_CANCEL_MS =
        200, /* for the usage after a cancel: longer feels stuck, shorter loses it to a slow step */
    RUN_READ_TOK = 1000,  /* a prompt that is shorter is read before one could wonder, on a CPU too */
    RUN_WONDER_MS = 1000, /* and if it is not, it is said all the same */
};

double run_first_ms(const struct run *run)
{
    return run->first_ns ? (double)(run->first_ns - run->start_ns) / 1e6 : 0;
}

/* decode_ms runs from the first token to the last, so it made one less than there are */
double run_tokens_per_s(const qwend_usage *usage)
{
    const uint32_t n = usage->reasoning_tokens + usage->answer_tokens;

    return n > 1 && usage->decode_ms > 0 ? (n - 1) * 1e3 / usage->decode_ms : 0;
}

const char *run_finish_name(qwend_finish finish)
{
    static const char *const names[] = {"unknown", "stop", "length", "tool", "cancel", "deadline"};

    return (size_t)finish < ARRAY_SIZE(names) ? names[finish] : names[0];
}

/* what is said on stderr */

static void run_say_queued(struct run *run, const qwend_event *event)
{
    if (event->loading)
        wait_say(&run->wait, 0, "the model is being loaded, %u %%", event->load_permille / 10);
    else
        wait_say(&run->wait, 0, "waiting: number %u in the queue", event->position);
}

static void run_say_started(struct run *run, const qwend_event *event)
{
    const uint32_t n = event->prompt_tokens - event->cached_tokens;

    run->cached_tokens = event->cached_tokens;
    run->read_ns = tick_ns();
    if (run->ui->verbose)
        ui_note(run->ui, "reading %u tokens, %u of them from the cache", event->prompt_tokens,
                event->cached_tokens);
    wait_say(&run->wait, n < RUN_READ_TOK || run->ui->verbose ? RUN_WONDER_MS : 0, "reading %u tokens", n);
}

/* Its share, and when the rest will be read if it goes on like this. */
static void run_say_read(struct run *run, const qwend_event *event)
{
    const double n = event->prompt_tokens - MIN(run->cached_tokens, event->prompt_tokens);
    const double done = event->from_token - MIN(run->cached_tokens, event->from_token);
    const double left_s = done > 0 ? (double)(tick_ns() - run->read_ns) / 1e9 * (n - done) / done : 0;

    if (left_s >= 1)
        wait_add(&run->wait, ": %.0f %%, %.0f s left", 100 * done / n, left_s);
    else if (n > 0)
        wait_add(&run->wait, ": %.0f %%", 100 * done / n);
}

static void run_say_end(struct run *run, const qwend_usage *usage)
{
    for (size_t i = 0; i < usage->n_warnings; i++)
        ui_note(run->ui, "warning: %s", usage->warnings[i]);
    if (usage->finish == QWEND_FINISH_LENGTH)
        ui_note(run->ui, "cut off after %u tokens: %s", usage->reasoning_tokens + usage->answer_tokens,
                run->values->max_tokens.given ? "--max-tokens" : "the context is full");
    if (usage->finish == QWEND_FINISH_CANCEL && !run->stop)
        ui_error(run->ui, "the request was cancelled by somebody else");
    if (usage->finish == QWEND_FINISH_DEADLINE && !run->values->time_limit_ms.given)
        ui_error(run->ui, "the daemon ended the request: out of time");
    if (!run->values->usage)
        return;
    ui_progress_end(run->ui);
    fprintf(stderr,
            "prompt %u (cached %u), reasoning %u, answer %u tokens; queued %.0f ms, first text %.0f ms, %.1f "
            "tokens/s\n",
            usage->prompt_tokens, usage->cached_tokens, usage->reasoning_tokens, usage->answer_tokens,
            usage->queue_ms, run_first_ms(run), run_tokens_per_s(usage));
}

/* "refused: prompt too long (TOO_LONG 202; prompt_tokens 9120, context 8192); try again in 1.5 s" */
static void run_say_error(struct ui *ui, const qwend_event *event)
{
    char text[600], again[64] = "";
    size_t n = 0;

    if (!event->code) {
        ui_error(ui, "%s", event->text);
        return;
    }
    for (size_t i = 0; i < event->n_details && n < sizeof(text); i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "%s %s %s", i ? "," : ";", event->details[2 * i],
                              event->details[2 * i + 1]);
    text[n ? sizeof(text) - 1 : 0] = 0;
    if (event->retry_after_ms)
        snprintf(again, sizeof(again), "; try again in %.1f s", event->retry_after_ms / 1e3);
    ui_error(ui, "refused: %s (%s %d%s)%s", event->text, status_name(event->code), event->code, text, again);
}

static void run_say(struct run *run, const qwend_event *event)
{
    switch (event->type) {
    case QWEND_EV_QUEUED:
        run_say_queued(run, event);
        break;
    case QWEND_EV_STARTED:
        run_say_started(run, event);
        break;
    case QWEND_EV_READ:
        run_say_read(run, event);
        break;
    case QWEND_EV_REASONING:
        if (run->hides_thinking)
            wait_go_on(&run->wait, RUN_WONDER_MS, "reasoning");
        else
            wait_end(&run->wait);
        break;
    case QWEND_EV_ANSWER:
    case QWEND_EV_TOOL_CALL:
        wait_end(&run->wait);
        break;
    case QWEND_EV_RESTART:
        ui_note(run->ui, "the engine restarted; the answer will go on");
        break;
    case QWEND_EV_PREEMPTED:
        ui_note(run->ui, "an interactive request goes first; the answer will go on");
        break;
    case QWEND_EV_RESUMED:
        ui_note(run->ui, "the answer goes on after token %u", event->from_token);
        break;
    default:
        break;
    }
}

/* events */

static enum code run_end_code(const struct run *run, const qwend_usage *usage)
{
    if (usage->finish == QWEND_FINISH_DEADLINE)
        return run->values->time_limit_ms.given ? CODE_OK : CODE_DEADLINE;
    if (usage->finish == QWEND_FINISH_LENGTH && run->values->strict)
        return CODE_CUT;
    return usage->finish == QWEND_FINISH_CANCEL ? CODE_FAILED : CODE_OK;
}

static void run_on_sunk(struct run *run, int r)
{
    if (!r || run->stop)
        return;
    run->stop = r == UI_E_GONE ? RUN_GONE : r == UI_E_SIGNAL ? RUN_SIGNAL : RUN_OUTPUT;
    run->output_errno = r < 0 ? -r : 0;
}

static int run_on_event(qwend_stream *stream, const qwend_event *event, void *user)
{
    struct run *run = user;
    bool last = event->type == QWEND_EV_END || event->type == QWEND_EV_ERROR;

    if (run->values->detach && !last) { /* the daemon has it */
        run->stop = RUN_DETACHED;
        return 0;
    }
    if (event->n && !run->first_ns && !last)
        run->first_ns = tick_ns();
    run->over |= last;
    run_say(run, event);
    /* After a stop only the last word counts: text that was under way is not wanted any more. */
    if (!run->stop || (last && run->stop == RUN_SIGNAL))
        run_on_sunk(run, run->sink(run, event));
    if (event->type == QWEND_EV_END) {
        run->code = run_end_code(run, event->usage);
        run_say_end(run, event->usage);
    } else if (event->type == QWEND_EV_ERROR) {
        run->code = code_of_status(event->code);
        run_say_error(run->ui, event);
    }
    return run->stop != RUN_GOES_ON && !run->leaves;
}

/* A failure that the daemon did not report as an event is one to the sink all the same. */
static enum code run_fail(struct run *run, int r)
{
    qwend_event event = {
        .type = QWEND_EV_ERROR, .code = qwend_error_code(run->q), .text = qwend_error(run->q)};

    if (run->over)
        return run->code;
    if (!*event.text)
        event.text = strerror(-r);
    event.n = strlen(event.text);
    event.retry_after_ms = qwend_retry_after_ms(run->q);
    run->over = true;
    run->sink(run, &event);
    run_say_error(run->ui, &event);
    return event.code ? code_of_status(event.code) : code_of_errno(r);
}

/* the loop */

static void run_cancel(struct run *run, enum run_stop stop, uint64_t *deadline_ns)
{
    if (!run->stop)
        run->stop = stop;
    run->ui->hurry = true;
    qwend_cancel(run->stream);
    *deadline_ns = tick_ns() + RUN_CANCEL_MS * 1000000ull;
}

static int run_wait(struct run *run, uint64_t deadline_ns, bool *ret_gone)
{
    struct pollfd fds[] = {
        {.fd = qwend_fd(run->q), .events = qwend_events(run->q)},
        {.fd = run->stop ? -1 : sig_fd(), .events = POLLIN},
        {.fd = STDOUT_FILENO}, /* only whether its reader is still there */
    };
    uint64_t now = tick_ns();
    int wait_ms = qwend_timeout_ms(run->q), draw_ms = wait_timeout_ms(&run->wait), n;

    if (draw_ms >= 0)
        wait_ms = wait_ms < 0 ? draw_ms : MIN(wait_ms, draw_ms);

    if (deadline_ns) {
        int left_ms =
            deadline_ns <= now ? 0 : (int)MIN(CEIL_DIV(deadline_ns - now, 1000000u), (uint64_t)INT32_MAX);
        wait_ms = wait_ms < 0 ? left_ms : MIN(wait_ms, left_ms);
    }
    n = poll(fds, ARRAY_SIZE(fds), wait_ms);
    if (n < 0)
        return errno == EINTR ? 0 : err_errno();
    wait_turn(&run->wait);
    *ret_gone = fds[2].revents & POLLERR;
    return qwend_dispatch(run->q, fds[0].revents);
}

static int run_loop(struct run *run)
{
    int64_t timeout_ms = run->values->timeout_ms.given ? run->values->timeout_ms.value : 0;
    uint64_t deadline_ns = timeout_ms ? run->start_ns + (uint64_t)timeout_ms * 1000000u : 0;
    bool waiting = false; /* for the usage after a cancel */

    while (!run->over) {
        bool gone = false;
        int r;

        r = run_wait(run, deadline_ns, &gone);
        if (r < 0)
            return run->over || run->stop ? 0 : r;
        if (gone && !run->stop)
            run->stop = RUN_GONE;
        if (run->stop == RUN_GONE || run->stop == RUN_OUTPUT || run->stop == RUN_DETACHED)
            return 0;
        if (run->leaves && !run->stop && sig_pending())
            run->stop = RUN_SIGNAL;
        if (run->leaves && !run->stop && deadline_ns && tick_ns() >= deadline_ns)
            run->stop = RUN_TIMEOUT;
        if (run->leaves && run->stop)
            return 0;
        if (!waiting && (sig_pending() || run->stop)) {
            run_cancel(run, RUN_SIGNAL, &deadline_ns);
            waiting = true;
        } else if (deadline_ns && tick_ns() >= deadline_ns) {
            if (waiting)
                return 0;
            run_cancel(run, RUN_TIMEOUT, &deadline_ns);
            waiting = true;
        }
    }
    return 0;
}

static enum code run_stopped(struct run *run)
{
    switch (run->stop) {
    case RUN_SIGNAL:
        return sig_pending() == SIGTERM ? CODE_TERM : CODE_INT;
    case RUN_GONE:
        return CODE_PIPE;
    case RUN_TIMEOUT:
        ui_error(run->ui, "no end within --timeout of %lld ms: %s", (long long)run->values->timeout_ms.value,
                 run->leaves ? "left running" : "cancelled");
        return CODE_DEADLINE;
    case RUN_OUTPUT:
        ui_error(run->ui, "writing to standard output: %s", strerror(run->output_errno));
        return CODE_FAILED;
    default:
        return run->code;
    }
}

/* The id is all that is left of it here. */
static enum code run_detach(struct run *run)
{
    char line[64];
    const int n = snprintf(line, sizeof(line), "%s\n", qwend_stream_id(run->stream));
    int r = ui_out(run->ui, line, (size_t)n);

    if (r) { /* nobody will ever know the id */
        qwend_stream_free(run->stream);
        return r == UI_E_GONE ? CODE_PIPE : r == UI_E_SIGNAL ? CODE_INT : CODE_FAILED;
    }
    qwend_stream_detach(run->stream);
    return CODE_OK;
}

static enum code run_go(struct run *run)
{
    int r;

    wait_init(&run->wait, run->ui);
    wait_say(&run->wait, RUN_WONDER_MS, "waiting for the daemon");
    run_on_sunk(run, run->sink(run, &(qwend_event){.type = (qwend_event_type)RUN_EV_SENT,
                                                   .request_id = qwend_stream_id(run->stream)}));
    r = run_loop(run);
    run->ui->hurry = false;
    wait_end(&run->wait);
    if (run->stop == RUN_DETACHED)
        return run_detach(run);
    if (run->leaves)
        qwend_stream_detach(run->stream);
    else
        qwend_stream_free(run->stream);
    run->stream = NULL;
    return r ? run_fail(run, r) : run_stopped(run);
}

enum code run_request(struct run *run, const qwend_req *req)
{
    int r;

    run->start_ns = tick_ns();
    r = qwend_generate(run->q, req, run_on_event, run, &run->stream);
    return r ? run_fail(run, r) : run_go(run);
}

enum code run_attach(struct run *run, const char *id)
{
    int r;

    run->start_ns = tick_ns();
    run->leaves = true;
    r = qwend_attach(run->q, id, run_on_event, run, &run->stream);
    return r ? run_fail(run, r) : run_go(run);
}
