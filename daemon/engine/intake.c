/* intake.c - what the broker asks of the engine, frame by frame.  See engine.h.
 *
 * A Submit is refused with a stable code and the numbers that explain it; a message that breaks the protocol
 * ends the process, since broker and engine come from one build. */
#include "engine.h"

#include <string.h>

#include "daemon/util/log.h"
#include "prompt.h"
#include "proto/wire.h"
#include "score.h"
#include "textop.h"

static int engine_bad_frame(const struct frame *frame, const char *what)
{
    log_err("%s from the broker: %s; giving up", msg_type_name(frame->type), what);
    return err_origin(-EBADMSG);
}

static int engine_find_slot(const struct engine *e, uint32_t handle)
{
    for (int i = 0; i < e->n_slots; i++)
        if (e->seqs[i] && e->seqs[i]->handle == handle)
            return i;
    return -1;
}

static int engine_find_free_slot(const struct engine *e)
{
    for (int i = 0; i < e->n_slots; i++)
        if (!e->seqs[i])
            return i;
    return -1;
}

/* What is being published gives its own up if there is no other.  *ret_slot -1: there is none. */
static int engine_take_slot(struct engine *e, int *ret_slot)
{
    int r = 0;

    *ret_slot = engine_find_free_slot(e);
    if (*ret_slot < 0 && e->publishing.seq) {
        r = engine_publish_yield(e);
        *ret_slot = engine_find_free_slot(e);
    }
    return r;
}

/* Submit */

struct engine_submit {
    const Qwe__Submit *msg;
    uint32_t handle;
    bool thinking;
    struct prompt prompt;
    struct token_ids forced;
    struct sample_params sampling;
    struct sample_bias *bias; /* owned */
    uint32_t max_tokens;
};

static void engine_submit_deinit(struct engine_submit *s)
{
    prompt_deinit(&s->prompt);
    token_ids_deinit(&s->forced);
    free(s->bias);
}

static int engine_submit_bias(const Qwp__Sampling *sampling, struct engine_submit *s)
{
    s->bias = calloc(sampling->n_logit_bias + 1, sizeof(*s->bias)); /* + 1: calloc(0) may be NULL */
    if (!s->bias)
        return err_origin(-ENOMEM);
    for (size_t i = 0; i < sampling->n_logit_bias; i++) {
        const Qwp__LogitBias *b = sampling->logit_bias[i];

        s->bias[i] = (struct sample_bias){b->id > INT32_MAX ? -1 : (int32_t)b->id, b->bias};
    }
    s->sampling.bias = s->bias;
    s->sampling.n_bias = (int)sampling->n_logit_bias;
    return 0;
}

#define ENGINE_TAKE(to, from, field)                                                                         \
    ((to)->field = (from)->has_##field ? (__typeof__((to)->field))(from)->field : (to)->field)

/* The model card's values; a file that recommends some itself is another model than the card's, whose
 * presence penalty may ruin it. */
static void engine_default_sampling(const struct config *c, bool thinking, struct sample_params *to)
{
    const struct config_sampling *file = &c->sampling;

    sample_params_default(to, thinking);
    if (config_has_sampling(c))
        to->presence_penalty = 0;
    to->temperature = file->temperature >= 0 ? file->temperature : to->temperature;
    to->top_k = file->top_k >= 0 ? file->top_k : to->top_k;
    to->top_p = file->top_p >= 0 ? file->top_p : to->top_p;
    to->min_p = file->min_p >= 0 ? file->min_p : to->min_p;
    to->repeat_penalty = file->repeat_penalty >= 0 ? file->repeat_penalty : to->repeat_penalty;
}

static int engine_submit_sampling(const struct engine *e, struct engine_submit *s, struct fault *fault)
{
    const Qwp__Sampling *from = s->msg->sampling;
    struct sample_params *to = &s->sampling;
    int r = 0;

    engine_default_sampling(&e->model->config, s->prompt.reasoning, to);
    if (from) {
        if (from->has_top_k && from->top_k > INT32_MAX)
            return fault_set(fault, STATUS_INVALID, "top_k is %u, at most %d is possible", from->top_k,
                             INT32_MAX);
        ENGINE_TAKE(to, from, temperature);
        ENGINE_TAKE(to, from, top_k);
        ENGINE_TAKE(to, from, top_p);
        ENGINE_TAKE(to, from, min_p);
        ENGINE_TAKE(to, from, repeat_penalty);
        ENGINE_TAKE(to, from, presence_penalty);
        ENGINE_TAKE(to, from, frequency_penalty);
        ENGINE_TAKE(to, from, penalty_last_n);
        ENGINE_TAKE(to, from, seed);
        r = engine_submit_bias(from, s);
    }
    if (!r && sample_params_check(to, e->n_vocab, fault))
        r = STATUS_INVALID;
    return r;
}

/* fd: of the sealed memfd that holds the body, or -1. */
static int engine_submit_prompt(const struct tokenizer *tokenizer, int fd, struct engine_submit *s,
                                struct fault *fault)
{
    _cleanup_(freep) uint8_t *read = NULL;
    const uint8_t *body = s->msg->body.data;
    size_t n = s->msg->body.len;
    int r;

    if (fd >= 0) {
        r = prompt_read_fd(fd, fault, &read, &n);
        if (r)
            return r;
        body = read;
    }
    s->thinking = !s->msg->has_thinking || s->msg->thinking == QWP__THINKING__THINKING_ON;
    r = prompt_encode(tokenizer, body, n, s->thinking, fault, &s->prompt);
    if (!r)
        r = prompt_copy_ids(tokenizer, "forced", s->msg->forced, s->msg->n_forced, fault, &s->forced);
    return r;
}

static bool engine_submit_scores(const struct engine_submit *s)
{
    return s->msg->terms && s->msg->terms->has_score && s->msg->terms->score;
}

static int engine_submit_check_kind(const struct engine_submit *s, struct fault *fault)
{
    const size_t n = s->prompt.continuation.n;

    if (engine_submit_scores(s) && !n)
        return fault_set(fault, STATUS_INVALID, "a Score needs a continuation in its prompt");
    if (!engine_submit_scores(s) && n)
        return fault_set(fault, STATUS_INVALID, "only the prompt of a Score has a continuation");
    if (n > SCORE_TOKENS_MAX)
        return fault_set(fault, STATUS_TOO_LONG, "the continuation has %zu tokens, at most %d", n,
                         SCORE_TOKENS_MAX);
    return 0;
}

/* > 0: refused, and said so. */
static int engine_submit_fits(struct engine *e, struct engine_submit *s)
{
    const Qwe__Terms *terms = s->msg->terms;
    const uint32_t n_given = (uint32_t)s->prompt.continuation.n;
    const uint32_t max_tokens = n_given ? n_given : s->msg->max_tokens;
    const bool asked = n_given || s->msg->has_max_tokens, has_output = terms && terms->has_output;
    const bool of_class = terms && terms->has_context && terms->context < (uint32_t)e->context;
    const uint32_t n_prompt = (uint32_t)s->prompt.ids.n;
    const uint32_t context = of_class ? terms->context : (uint32_t)e->context;
    int r;

    if (n_prompt >= context || (asked && max_tokens > context - n_prompt)) {
        r = engine_put_too_long(e, s->handle, of_class ? STATUS_CTX_LIMIT : STATUS_TOO_LONG, context,
                                n_prompt, asked ? &max_tokens : NULL);
        return r ? r : STATUS_TOO_LONG;
    }
    s->max_tokens = asked        ? max_tokens
                    : has_output ? MIN(terms->output, context - n_prompt)
                                 : context - n_prompt;
    return 0;
}

/* Whose it is, and how urgent: what the scheduler weighs. */
static void engine_submit_join(struct engine *e, const Qwe__Submit *msg, struct seq *seq)
{
    static const enum sched_band bands[] = {
        [QWP__PRIORITY__PRIORITY_INTERACTIVE] = SCHED_BAND_INTERACTIVE,
        [QWP__PRIORITY__PRIORITY_NORMAL] = SCHED_BAND_NORMAL,
        [QWP__PRIORITY__PRIORITY_BATCH] = SCHED_BAND_BATCH,
    };
    const uint32_t weight = msg->has_weight ? msg->weight : SCHED_WEIGHT;

    seq->account = sched_join(&e->sched, seq->owner, CLAMP(weight, 1u, (uint32_t)SCHED_WEIGHT_MAX));
    seq->band = (int)bands[msg->has_priority ? msg->priority : QWP__PRIORITY__PRIORITY_NORMAL];
    seq->deadline_ns = msg->has_ttft_ns ? msg->ttft_ns : 0;
}

static int engine_submit_seq(struct engine *e, struct engine_submit *s, int slot, struct fault *fault)
{
    const Qwe__Submit *msg = s->msg;
    const struct seq_config config = {
        .handle = s->handle,
        .prompt = s->prompt.ids.id,
        .n_prompt = (int)s->prompt.ids.n,
        .forced = s->forced.id,
        .n_forced = engine_submit_scores(s) ? 0 : (int)s->forced.n,
        .max_tokens = (int)MAX(s->max_tokens, 1u),
        .sampling = s->sampling,
        .n_logprobs = msg->has_logprobs ? (int)msg->logprobs : -1,
        .ignore_eos = msg->has_ignore_eos && msg->ignore_eos,
        .paused = msg->has_paused && msg->paused,
        .stops_at = s->prompt.is_fim ? e->stops_fim : e->stops_at,
        .text = {.tokenizer = e->tokenizer,
                 .max_raw = e->max_raw,
                 .reasoning = s->prompt.reasoning,
                 .stops = msg->stop,
                 .n_stops = msg->n_stop},
    };
    struct seq *seq;
    int r = seq_new(&config, fault, &seq);

    if (r)
        return r > 0 ? STATUS_INVALID : r;
    if (engine_submit_scores(s))
        score_begin(seq, &s->prompt.continuation, (int)s->forced.n);
    e->seqs[slot] = seq;
    ahead_on_use(&e->ahead, STATE_SLOTS, slot + 1);
    seq->slot = slot;
    seq->warms = !s->max_tokens;
    seq->order = e->next_order++;
    seq->owner = msg->terms && msg->terms->has_account ? msg->terms->account : msg->uid;
    engine_submit_join(e, msg, seq);
    seq->uses_cache = e->prefix && msg->has_uid && !msg->no_cache;
    return engine_cache_begin(e, seq, &s->prompt);
}

static int engine_submit_check(const struct engine_submit *s, struct fault *fault)
{
    if (s->msg->has_logprobs && s->msg->logprobs > SAMPLE_TOP_MAX)
        return fault_set(fault, STATUS_INVALID, "logprobs is %u, at most %d alternatives are given",
                         s->msg->logprobs, SAMPLE_TOP_MAX);
    if (s->forced.n > s->max_tokens - engine_submit_scores(s)) /* of a Score one is left to do */
        return fault_set(fault, STATUS_INTERNAL, "%zu forced tokens, max_tokens is %u", s->forced.n,
                         s->max_tokens);
    return 0;
}

/* 0, a status code with its fault set, STATUS_TOO_LONG already said (fault->code stays 0), < 0. */
static int engine_submit_begin(struct engine *e, struct engine_submit *s, struct fault *fault)
{
    int slot, r = engine_take_slot(e, &slot);

    if (r)
        return r;
    if (slot < 0)
        return fault_set(fault, STATUS_INTERNAL, "all %d slots of the engine are in use", e->n_slots);
    r = engine_submit_check_kind(s, fault);
    if (!r)
        r = engine_submit_sampling(e, s, fault);
    if (!r)
        r = engine_submit_fits(e, s);
    if (!r)
        r = engine_submit_check(s, fault);
    if (!r)
        r = engine_submit_seq(e, s, slot, fault);
    if (r || e->seqs[slot]->waits)
        return r;
    r = engine_put_started(e, e->seqs[slot]);
    if (!r && e->seqs[slot]->finish) { /* the forced ids were the whole answer */
        r = engine_emit(e, e->seqs[slot], NULL);
        engine_drop_seq(e, slot);
    }
    return r;
}

/* A refusal answers the client; memory that is short is one too, so that one request cannot end the others'.
 */
static int engine_refuse(struct engine *e, uint32_t handle, int r, struct fault *fault)
{
    if (r == STATUS_TOO_LONG && !fault->code)
        return 0;
    if (r == -ENOMEM)
        fault_set(fault, STATUS_OOM, "not enough memory for this request");
    else if (r < 0 || r == UPLINK_E_EOF)
        return r;
    fault->code = r == -ENOMEM ? STATUS_OOM : r;
    return engine_put_refused(e, handle, fault);
}

/* Jobs: frames with text work, which is done at once or, if steps would wait for long, beside them. */

struct engine_job {
    const struct tokenizer *tokenizer; /* borrowed */
    uint32_t handle;
    ProtobufCMessage *msg; /* owned: a Submit, or a TextOp if is_text */
    int fd;                /* owned; that came with it, or -1 */
    bool is_text;
    bool is_paused, is_over, is_preempted; /* what came while it was read: for when its sequence begins */
    union {
        struct engine_submit submit;
        struct textop textop;
    };
    struct fault fault;
    int r; /* of the work */
};

static void engine_job_free(struct engine_job *job)
{
    if (!job)
        return;
    if (job->is_text)
        textop_deinit(&job->textop);
    else
        engine_submit_deinit(&job->submit);
    wire_free(job->msg);
    closep(&job->fd);
    free(job);
}

static void engine_job_work(void *arg)
{
    struct engine_job *job = arg;

    if (job->is_text)
        job->r = textop_work(job->tokenizer, &job->textop, &job->fault);
    else
        job->r = engine_submit_prompt(job->tokenizer, job->fd, &job->submit, &job->fault);
}

static void engine_set_paused(struct engine *e, uint32_t handle, bool paused);
static int engine_end_seq(struct engine *e, uint32_t handle, bool preempted);

/* What the work was for; takes the job. */
static int engine_job_end(struct engine *e, struct engine_job *job)
{
    int r = job->r;

    if (!r && job->is_text)
        r = uplink_put(&e->up, job->handle, MSG_E_TEXT_REPLY, &job->textop.reply.base);
    else if (!r)
        r = engine_submit_begin(e, &job->submit, &job->fault);
    if (r)
        r = engine_refuse(e, job->handle, r, &job->fault);
    if (!r && !job->is_text)
        engine_set_paused(e, job->handle, job->is_paused);
    if (!r && job->is_over)
        r = engine_end_seq(e, job->handle, job->is_preempted);
    engine_job_free(job);
    return r;
}

int engine_take_text(struct engine *e)
{
    struct engine_job *job = e->reading ? textwork_take(&e->textwork, !engine_has_work(e)) : NULL;

    if (!job)
        return 0;
    e->reading = NULL;
    return engine_job_end(e, job);
}

void engine_drop_text(struct engine *e)
{
    textwork_deinit(&e->textwork);
    engine_job_free(e->reading);
    e->reading = NULL;
}

/* Small ones are done before a thread would have woken up; those in a memfd are large. */
enum { ENGINE_SMALL_BYTES = 4096 };

/* msg and fd are taken over. */
static int engine_on_job(struct engine *e, const struct frame *frame, ProtobufCMessage **msg, int *fd)
{
    const bool is_small = frame->length <= ENGINE_SMALL_BYTES && *fd < 0;
    struct engine_job *job;

    if (frame->type == MSG_E_SUBMIT && engine_find_slot(e, frame->stream) >= 0)
        return engine_bad_frame(frame, "the handle is in use");
    if ((frame->flags & FRAME_HAS_FD) && *fd < 0)
        return engine_bad_frame(frame, "its memfd did not come");
    job = calloc(1, sizeof(*job));
    if (!job)
        return engine_refuse(e, frame->stream, -ENOMEM, &(struct fault){0});
    *job = (struct engine_job){.tokenizer = e->tokenizer,
                               .handle = frame->stream,
                               .msg = steal(msg),
                               .fd = *fd,
                               .is_text = frame->type == MSG_E_TEXT};
    *fd = -1;
    if (job->is_text) {
        job->textop.msg = (const Qwe__TextOp *)job->msg;
    } else {
        job->submit.msg = (const Qwe__Submit *)job->msg;
        job->submit.handle = job->handle;
        job->is_paused = job->submit.msg->has_paused && job->submit.msg->paused;
    }
    if (!is_small && engine_has_work(e)) {
        e->reading = job;
        textwork_give(&e->textwork, engine_job_work, job);
        return 0;
    }
    engine_job_work(job);
    return engine_job_end(e, job);
}

/* the rest */

static bool engine_is_reading(const struct engine *e, uint32_t handle)
{
    return e->reading && !e->reading->is_text && e->reading->handle == handle;
}

static void engine_set_paused(struct engine *e, uint32_t handle, bool paused)
{
    const int slot = engine_find_slot(e, handle);

    if (engine_is_reading(e, handle))
        e->reading->is_paused = paused;
    else if (slot >= 0) /* else it ended while the frame was under way */
        e->seqs[slot]->paused = paused;
}

/* Either may come after the engine's last word on the handle. */
static int engine_end_seq(struct engine *e, uint32_t handle, bool preempted)
{
    const int slot = engine_find_slot(e, handle);
    int r;

    if (engine_is_reading(e, handle)) {
        e->reading->is_over = true;
        e->reading->is_preempted = preempted;
        return 0;
    }
    if (slot < 0)
        return 0;
    r = preempted ? engine_cache_on_preempt(e, e->seqs[slot]) : 0;
    engine_drop_seq(e, slot);
    return r;
}

/* A part of the weights that Start will bring. */
static int engine_on_part(struct engine *e, const struct frame *frame, const Qwe__Weights *part, int *fd)
{
    if (*fd < 0 || part->bytes || !part->host_bytes || e->part_fd >= 0)
        return engine_bad_frame(frame, "not the one part of what Start will bring");
    e->part_fd = steal_fd(fd);
    return 0;
}

/* msg and fd may be taken over. */
static int engine_dispatch(struct engine *e, const struct frame *frame, ProtobufCMessage **msg, int *fd)
{
    if (frame->type == MSG_E_START)
        return e->serving ? engine_bad_frame(frame, "already started")
                          : engine_load(e, (const Qwe__Start *)*msg, steal_fd(fd));
    if (frame->type == MSG_E_WEIGHTS && !e->serving)
        return engine_on_part(e, frame, (const Qwe__Weights *)*msg, fd);
    if (!e->serving)
        return frame->type == MSG_E_CHECK ? engine_check(e, (const Qwe__Check *)*msg)
                                          : engine_bad_frame(frame, "not started");
    switch (frame->type) {
    case MSG_E_SUBMIT:
    case MSG_E_TEXT:
        return engine_on_job(e, frame, msg, fd);
    case MSG_E_PUBLISH: {
        const char *name = ((const Qwe__Publish *)*msg)->name;

        return engine_publish(e, frame->stream, name ? name : "", *fd);
    }
    case MSG_E_UNPUBLISH:
        engine_unpublish(e, frame->stream);
        return 0;
    case MSG_E_PAUSE:
    case MSG_E_RESUME:
        engine_set_paused(e, frame->stream, frame->type == MSG_E_PAUSE);
        return 0;
    case MSG_E_CANCEL:
    case MSG_E_PREEMPT:
        return engine_end_seq(e, frame->stream, frame->type == MSG_E_PREEMPT);
    default:
        return engine_bad_frame(frame, "not a question to the engine");
    }
}

int engine_on_frame(struct engine *e, const struct frame *frame, int fd)
{
    _cleanup_(closep) int owned_fd = fd;
    const ProtobufCMessageDescriptor *type = wire_message_type(frame->type);
    ProtobufCMessage *msg;
    struct fault fault = {0};
    int r;

    if (!type)
        return engine_bad_frame(frame, "unknown type");
    r = wire_unpack(type, frame->body, frame->length, &fault, &msg);
    if (r)
        return r < 0 ? r : engine_bad_frame(frame, fault.text);
    r = engine_dispatch(e, frame, &msg, &owned_fd);
    wire_free(msg);
    return r;
}
