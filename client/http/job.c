/* job.c - see job.h. */
#include "job.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "daemon/util/clock.h"
#include "daemon/util/log.h"
#include "proto/status.h"

/* A call of 1 MiB, escaped twice, three times; or a whole answer's tail. */
enum { JOB_PIECE_BYTES = 16 << 20 };

/* Everything goes but the memory, which may still be on the stack. */
static void job_close(struct job *job)
{
    if (job->over)
        return;
    job->over = true;
    for (int i = 0; i < job->n; i++) {
        struct choice *choice = &job->choices[i];

        job_end_choice(choice);
        buf_deinit(&choice->reasoning);
        buf_deinit(&choice->answer);
        buf_deinit(&choice->logprobs);
        buf_deinit(&choice->ids);
        calls_deinit(&choice->calls);
        ask_free_uses(choice->uses, choice->n_uses);
        choice->uses = NULL;
        choice->n_uses = 0;
    }
    json_decref(steal(&job->fields));
    json_decref(steal(&job->tools));
    loop_event_free(&job->ping);
    loop_event_free(&job->enough);
    job_settle_way(job);
    owner_release(job->owner, OWNER_REQUESTS, (uint64_t)job->n);
    owner_put(job->owner);
    list_push(&job->g->ended, &job->node);
    gateway_reap(job->g);
}

void job_free(struct job *job)
{
    list_remove(&job->node);
    free(job);
}

static void job_on_gone(struct task *task)
{
    struct job *job = (struct job *)task;

    log_debug("%s: request %s: the client is gone", job->owner->name, job->id);
    job_close(job);
}

/* The model's streams wait as long as the client does not read. */
static void job_pause(struct job *job, bool paused)
{
    for (int i = 0; i < job->n && !job->over && job->conn->wants_room == paused; i++)
        job_pause_choice(&job->choices[i], paused); /* what had arrived is told at once, and may be the end */
}

static void job_on_room(struct task *task)
{
    job_pause((struct job *)task, false);
}

static uint64_t job_held_bytes(const struct job *job)
{
    uint64_t n = 0;

    for (int i = 0; i < job->n; i++)
        n += job->choices[i].n_use_bytes + job->choices[i].calls.held.cap + job->choices[i].reasoning.cap +
             job->choices[i].answer.cap + job->choices[i].logprobs.cap + job->choices[i].ids.cap;
    return n + (job->up_body ? job->n_up_body : 0) + (job->req ? job->n_body : 0);
}

/* Whether a piece has room: its buffer grows to twice its size at most.  False: the client was told, and the
 * job is over. */
static bool job_has_room(struct job *job, const struct jout *j)
{
    const size_t n = buf_size(j->buf);
    struct refusal refusal;

    if (!j->r && (n <= CONN_UNSENT_HIGH || conn_charge(job->conn, job_held_bytes(job) + 2 * n)))
        return true;
    if (j->r > 0)
        refuse(&refusal, 500, "answer_too_long", NULL, "a piece of the answer has more than %d bytes",
               JOB_PIECE_BYTES);
    else
        refuse(&refusal, 503, "out_of_memory", NULL,
               "there is no room for a piece of the answer of %zu bytes", n);
    job_fail(job, &refusal);
    return false;
}

/* What a dialect wrote goes out. */
static void job_send(struct job *job, struct jout *j)
{
    struct conn *conn = job->conn;

    if (job->over || !job_has_room(job, j))
        return;
    conn_stream_put(conn, buf_head(j->buf), buf_size(j->buf));
    if (!conn->dead && !conn_charge(conn, job_held_bytes(job)))
        conn_kill(conn);
    job->spoke = true;
    if (!job->over && !conn->wants_room && conn_unsent(conn) > CONN_UNSENT_HIGH) {
        conn->wants_room = true;
        job_pause(job, true);
    }
}

/* False: the job is over. */
static bool job_begin(struct job *job)
{
    _cleanup_(buf_deinit) struct buf piece = BUF_INIT(JOB_PIECE_BYTES);
    struct jout j = {.buf = &piece};

    if (job->begun)
        return !job->over;
    job->begun = true;
    conn_stream_begin(job->conn, job->dialect->stream_type);
    if (!job->over) {
        job->dialect->begin(job, &j);
        job_send(job, &j);
    }
    return !job->over;
}

void job_fail(struct job *job, struct refusal *refusal)
{
    _cleanup_(buf_deinit) struct buf piece = BUF_INIT(JOB_PIECE_BYTES);
    struct jout j = {.buf = &piece};
    struct conn *conn = job->conn;

    if (job_switch_way(job, refusal))
        return;
    log_info("%s: request %s ended with %d, code %d (%s)", job->owner->name, job->id, refusal->status,
             refusal->code, refusal->reason);
    conn->task = NULL;
    job_close(job);
    if (!job->begun) {
        conn_refuse(conn, refusal);
        return;
    }
    job->g->n_broken++;
    job->dialect->fail(job, refusal, &j);
    conn->closing = true;
    conn_stream_put(conn, buf_head(&piece), buf_size(&piece));
    conn_stream_end(conn);
}

static void job_end(struct job *job)
{
    _cleanup_(buf_deinit) struct buf piece = BUF_INIT(CONN_OUT_BYTES);
    struct jout j = {.buf = &piece};
    struct conn *conn = job->conn;

    if (job->stream)
        job->dialect->finish(job, &j);
    else
        job->dialect->whole(job, &j);
    conn->task = NULL;
    job_close(job);
    if (j.r) {
        conn_kill(conn);
    } else if (job->stream) {
        conn_stream_put(conn, buf_head(&piece), buf_size(&piece));
        conn_stream_end(conn);
    } else {
        conn_reply(conn, 200, "application/json", buf_head(&piece), buf_size(&piece));
    }
}

/* events of the daemon's */

/* False: there was no room, and the job is over. */
static bool job_gather(struct job *job, struct choice *choice, const qwend_event *event)
{
    struct jout j = {.buf = &choice->logprobs, .more = buf_size(&choice->logprobs) > 0};
    struct refusal refusal;
    int r = buf_append(event->type == QWEND_EV_REASONING ? &choice->reasoning : &choice->answer, event->text,
                       event->n);

    if (!r && job->logprobs && event->type == QWEND_EV_ANSWER) {
        job_put_logprobs(job, &j, event);
        r = j.r;
    }
    if (!r && job->wants_ids) {
        j = (struct jout){.buf = &choice->ids, .more = buf_size(&choice->ids) > 0};
        job_put_ids(&j, event);
        r = j.r;
    }
    if (!r && conn_charge(job->conn, job_held_bytes(job)))
        return true;
    if (r > 0)
        refuse(&refusal, 500, "answer_too_long", NULL, "the answer has more than %d bytes: have it streamed",
               JOB_ANSWER_BYTES);
    else
        refuse(&refusal, 503, "out_of_memory", NULL, "there is no room for the answer: have it streamed");
    job_fail(job, &refusal);
    return false;
}

/* What was written by now is all that is wanted: the daemon ends the streams, and counts their tokens. */
static void job_on_enough(int fd, short what, void *arg)
{
    struct job *job = arg;

    job->had_enough = true;
    for (int i = 0; i < job->n; i++)
        call_cancel(&job->choices[i].call);
}

static void job_on_text(struct job *job, struct choice *choice, const qwend_event *event)
{
    _cleanup_(buf_deinit) struct buf piece = BUF_INIT(JOB_PIECE_BYTES);
    struct jout j = {.buf = &piece};

    if (event->n && !job->has_said) {
        job->has_said = true;
        job_settle_way(job);
    }
    if (job->text_ms && event->n && !job->enough &&
        (loop_event_new(job->g->base, -1, 0, job_on_enough, job, &job->enough) ||
         loop_arm_ms(job->enough, (uint64_t)job->text_ms)))
        log_warn("%s: request %s has no timer: it ends when it ends", job->owner->name, job->id);
    if ((!job->stream || job->dialect->gathers) && !job_gather(job, choice, event))
        return;
    if (!job->stream || !job_begin(job))
        return;
    job->dialect->delta(job, choice, event, &j);
    job_send(job, &j);
}

/* calls of tools in what is written */

static int job_on_call_text(void *arg, const char *text, size_t n)
{
    struct choice *choice = arg;
    const qwend_event event = {.type = QWEND_EV_ANSWER, .text = text, .n = n};

    job_on_text(choice->job, choice, &event);
    return choice->job->over;
}

static bool job_keep_use(struct choice *choice, const char *name, const char *arguments)
{
    const size_t n = choice->n_uses;
    struct tool_use *uses = choice->uses;

    if (!(n & (n - 1)))
        uses = realloc(uses, (n ? 2 * n : 1) * sizeof(*uses));
    if (!uses)
        return false;
    choice->uses = uses;
    uses[n] = (struct tool_use){strdup(name), strdup(arguments)};
    choice->n_uses++;
    choice->n_use_bytes += sizeof(*uses) + strlen(name) + strlen(arguments) + 2;
    return uses[n].name && uses[n].arguments && conn_charge(choice->job->conn, job_held_bytes(choice->job));
}

static int job_on_call(void *arg, const char *name, const char *arguments, size_t n)
{
    _cleanup_(buf_deinit) struct buf piece = BUF_INIT(JOB_PIECE_BYTES);
    struct choice *choice = arg;
    struct job *job = choice->job;
    struct jout j = {.buf = &piece};
    struct refusal refusal;

    if (job->one_call && choice->n_uses)
        return 0;
    job->has_said = true;
    job_settle_way(job);
    if (!job_keep_use(choice, name, arguments)) {
        refuse(&refusal, 503, "out_of_memory", NULL, "there is no room for the calls");
        job_fail(job, &refusal);
    } else if (job->stream && job_begin(job)) {
        job->dialect->call(job, choice, &j);
        job_send(job, &j);
    }
    return job->over;
}

static void job_on_answer(struct job *job, struct choice *choice, const qwend_event *event)
{
    const struct calls_sink sink = {job_on_call_text, job_on_call, choice};
    struct refusal refusal;
    int r;

    if (!job->tools || !job->dialect->call) {
        job_on_text(job, choice, event);
        return;
    }
    r = calls_push(&choice->calls, event->text, event->n, &sink);
    if (r < 0 && !job->over) {
        refuse(&refusal, 503, "out_of_memory", NULL, "there is no room for the answer");
        job_fail(job, &refusal);
    }
}

/* False: the job is over. */
static bool job_end_calls(struct job *job, struct choice *choice)
{
    const struct calls_sink sink = {job_on_call_text, job_on_call, choice};

    if (job->tools && job->dialect->call)
        (void)calls_end(&choice->calls, &sink);
    return !job->over;
}

static void job_on_usage(struct job *job, struct choice *choice, const qwend_usage *usage)
{
    _cleanup_(buf_deinit) struct buf piece = BUF_INIT(JOB_PIECE_BYTES);
    struct jout j = {.buf = &piece};
    struct refusal refusal;

    if (usage->finish == QWEND_FINISH_CANCEL && !job->had_enough) {
        refuse_code(&refusal, STATUS_CANCELLED, 0, "the request was cancelled");
        job_fail(job, &refusal);
        return;
    }
    if (!job_end_calls(job, choice))
        return;
    choice->over = true;
    choice->finish = choice->n_uses && usage->finish == QWEND_FINISH_STOP ? QWEND_FINISH_TOOL : usage->finish;
    choice->reasoning_tokens = usage->reasoning_tokens;
    choice->answer_tokens = usage->answer_tokens;
    choice->queue_ms = usage->queue_ms;
    choice->prefill_ms = usage->prefill_ms;
    choice->decode_ms = usage->decode_ms;
    snprintf(choice->stop, sizeof(choice->stop), "%s", usage->stop ? usage->stop : "");
    job->prompt_tokens = usage->prompt_tokens;
    job->cached_tokens = MAX(job->cached_tokens, usage->cached_tokens);
    job->n_over++;
    if (job->stream && job_begin(job)) {
        job->dialect->end(job, choice, &j);
        job_send(job, &j);
    }
    if (!job->over && job->n_over == job->n)
        job_end(job);
}

void job_put_progress(const struct job *job, const qwend_event *event, struct jout *j)
{
    jout_open(j, "prompt_progress", '{');
    jout_int(j, "total", event->prompt_tokens);
    jout_int(j, "cache", job->cached_tokens);
    jout_int(j, "processed", event->from_token);
    jout_int(j, "time_ms", (int64_t)((clock_now_ns() - job->read_ns) / 1000000u));
    jout_close(j, '}');
}

/* Of the first choice: the others have the same prompt. */
static void job_on_read(struct job *job, const struct choice *choice, const qwend_event *event)
{
    _cleanup_(buf_deinit) struct buf piece = BUF_INIT(JOB_PIECE_BYTES);
    struct jout j = {.buf = &piece};

    if (!job->wants_progress || !job->stream || !job->dialect->progress || choice->index || !job_begin(job))
        return;
    job->dialect->progress(job, event, &j);
    job_send(job, &j);
}

void job_on_choice(struct choice *choice, const qwend_event *event)
{
    struct job *job = choice->job;
    struct refusal refusal;

    switch (event->type) {
    case QWEND_EV_QUEUED:
        if (!event->loading)
            return;
        refuse_code(&refusal, STATUS_LOADING, 1000, "the model is still being loaded");
        job_fail(job, &refusal);
        return;
    case QWEND_EV_STARTED:
        job->prompt_tokens = event->prompt_tokens;
        job->cached_tokens = event->cached_tokens;
        job->read_ns = clock_now_ns();
        if (!job->up_body)
            job_settle_way(job);
        if (job->stream)
            job_begin(job);
        return;
    case QWEND_EV_READ:
        job_on_read(job, choice, event);
        return;
    case QWEND_EV_REASONING:
        job_on_text(job, choice, event);
        return;
    case QWEND_EV_ANSWER:
        job_on_answer(job, choice, event);
        return;
    case QWEND_EV_END:
        job_on_usage(job, choice, event->usage);
        return;
    case QWEND_EV_ERROR:
        if (job_fit(job, event))
            return;
        if (job->remote)
            refuse(&refusal, 502, "upstream_failed", NULL, "%s", event->text);
        else
            refuse_code(&refusal, event->code, event->retry_after_ms, event->text);
        job_fail(job, &refusal);
        return;
    default: /* the engine's deaths and pauses change nothing that HTTP could say */
        return;
    }
}

/* Proxies and clients give up on a stream that is silent. */
static void job_on_ping(int fd, short what, void *arg)
{
    _cleanup_(buf_deinit) struct buf piece = BUF_INIT(JOB_PIECE_BYTES);
    struct job *job = arg;
    struct jout j = {.buf = &piece};
    const bool spoke = job->spoke;

    job->spoke = false;
    loop_arm_ms(job->ping, 1000ull * job->g->options->ping_s);
    if (spoke || job->conn->wants_room || !job_begin(job) || !job->dialect->ping)
        return;
    job->dialect->ping(job, &j);
    job_send(job, &j);
}

/* the start */

static struct job *job_new(struct conn *conn, const struct dialect *dialect, const struct ask *ask)
{
    struct job *job = calloc(1, sizeof(*job));

    if (!job || !owner_charge(conn->owner, OWNER_REQUESTS, (uint64_t)ask->n)) {
        free(job);
        return NULL;
    }
    *job = (struct job){.task = {job_on_gone, job_on_room},
                        .conn = conn,
                        .g = conn->g,
                        .dialect = dialect,
                        .owner = conn->owner,
                        .stream = ask->stream,
                        .include_usage = ask->include_usage,
                        .logprobs = ask->logprobs,
                        .wants_ids = ask->wants_ids,
                        .shows_ids = ask->shows_ids,
                        .wants_progress = ask->wants_progress,
                        .text_ms = ask->text_ms,
                        .n = (int)ask->n,
                        .has_seed = ask->has_seed,
                        .seed = ask->seed,
                        .n_up_body = ask->n_up_body,
                        .n_body = ask->n_body,
                        .fits = ask->fits ? ask->max_tokens : 0,
                        .created_s = time(NULL),
                        .reasoning_field = conn->g->options->reasoning_field};
    conn->owner->n_refs++;
    for (int i = 0; i < job->n; i++)
        job->choices[i] = (struct choice){.call = {.on_event = job_on_event},
                                          .up = {.on_event = job_on_up_event},
                                          .job = job,
                                          .index = i,
                                          .reasoning = BUF_INIT(JOB_ANSWER_BYTES),
                                          .answer = BUF_INIT(JOB_ANSWER_BYTES),
                                          .logprobs = BUF_INIT(JOB_ANSWER_BYTES),
                                          .ids = BUF_INIT(JOB_ANSWER_BYTES)};
    return job;
}

void job_start(struct conn *conn, const struct dialect *dialect, struct ask *ask)
{
    struct job *job = job_new(conn, dialect, ask);
    struct refusal refusal = {};

    if (*ask->ignored)
        conn_add_field(conn, "X-Qwend-Ignored", ask->ignored);
    if (!job) {
        refuse(&refusal, 429, "too_many_requests", NULL, "%llu answers are waited for already",
               (unsigned long long)conn->owner->used[OWNER_REQUESTS]);
        refusal.retry_after_s = 1;
        conn_refuse(conn, &refusal);
        return;
    }
    buf_deinit(&conn->body);
    if (conn->g->options->accounts)
        qwend_req_set_s(ask->req, QWEND_OPT_ACCOUNT, conn->owner->name, (size_t)-1);
    job->req = steal(&ask->req);
    job->up_body = steal(&ask->up_body);
    job->conversation = ask->conversation;
    job->tools = steal(&ask->tools);
    job->one_call = ask->one_call;
    for (int i = 0; i < job->n; i++)
        calls_init(&job->choices[i].calls, job->tools);
    job->model = job->up_body ? strdup(ask->model) : NULL; /* without it nothing leaves */
    job->fields = steal(&ask->fields);
    if (!job_begin_way(job, &refusal) && job->stream &&
        (loop_event_new(job->g->base, -1, 0, job_on_ping, job, &job->ping) ||
         loop_arm_ms(job->ping, 1000ull * job->g->options->ping_s)))
        refuse(&refusal, 503, "out_of_memory", NULL, "out of memory");
    if (refusal.status) {
        job_close(job);
        conn_refuse(conn, &refusal);
        return;
    }
    conn_add_field(conn, "X-Qwend-Request", job->id);
    conn->task = &job->task;
}

/* what dialects share */

void job_put_ids(struct jout *j, const qwend_event *event)
{
    for (size_t i = 0; i < event->n_ids; i++)
        jout_int(j, NULL, event->ids[i]);
}

void job_put_logprobs(const struct job *job, struct jout *j, const qwend_event *event)
{
    for (size_t i = 0; i < event->n_logprobs; i++) {
        const qwend_logprob *lp = &event->logprobs[i];

        jout_open(j, NULL, '{');
        for (size_t k = 0; k <= lp->n_top; k++) {
            const qwend_alternative *token = k ? &lp->top[k - 1] : &lp->token;

            if (k)
                jout_open(j, NULL, '{');
            if (job->shows_ids)
                jout_int(j, "id", token->id);
            jout_text(j, "token", token->text ? token->text : "", token->n);
            jout_real(j, "logprob", (double)token->logprob);
            jout_open(j, "bytes", '[');
            for (size_t b = 0; b < token->n; b++)
                jout_int(j, NULL, (unsigned char)token->text[b]);
            jout_close(j, ']');
            if (k)
                jout_close(j, '}');
            else
                jout_open(j, "top_logprobs", '[');
        }
        jout_close(j, ']');
        jout_close(j, '}');
    }
}

void job_put_call_id(struct jout *j, const char *key, const char *head, const struct job *job,
                     const struct choice *choice, size_t i)
{
    char id[64];

    snprintf(id, sizeof(id), "%.24s%02x%02zx", job->id, (unsigned)choice->index, i);
    jout_key_text(j, key, head, id);
}

const char *job_model(const struct job *job)
{
    const char *name = link_model(job->g);

    return name ? name : "qwend";
}

uint32_t job_tokens(const struct job *job, uint32_t *ret_reasoning)
{
    uint32_t reasoning = 0, answer = 0;

    for (int i = 0; i < job->n; i++) {
        reasoning += job->choices[i].reasoning_tokens;
        answer += job->choices[i].answer_tokens;
    }
    *ret_reasoning = reasoning;
    return reasoning + answer;
}
