/* emit.c - what the engine says about requests.  See engine.h.  Messages are built on the stack and packed
 * straight into the output buffer. */
#include "engine.h"

#include <stdio.h>
#include <string.h>

#include "daemon/model/utf8.h"
#include "daemon/util/clock.h"

enum { ENGINE_BEAT_NS = 1000000000 };

char *engine_clean_text(const char *text, char clean[ENGINE_TEXT_BYTES])
{
    size_t n, i = 0;

    snprintf(clean, ENGINE_TEXT_BYTES, "%s", text);
    n = strlen(clean);
    while ((i += utf8_valid_prefix(clean + i, n - i)) < n)
        clean[i++] = '?';
    return clean;
}

int engine_put_refused(struct engine *e, uint32_t handle, const struct fault *fault)
{
    Qwe__Refused refused = QWE__REFUSED__INIT;
    char text[ENGINE_TEXT_BYTES];

    refused.has_code = 1;
    refused.code = (uint32_t)fault->code;
    refused.text = engine_clean_text(fault->text, text);
    return uplink_put(&e->up, handle, MSG_E_REFUSED, &refused.base);
}

struct engine_number {
    Qwp__Detail detail;
    char value[16];
};

static Qwp__Detail *engine_number_set(struct engine_number *number, const char *key, uint32_t value)
{
    snprintf(number->value, sizeof(number->value), "%u", value);
    qwp__detail__init(&number->detail);
    number->detail.key = (char *)key;
    number->detail.value = number->value;
    return &number->detail;
}

int engine_put_too_long(struct engine *e, uint32_t handle, int code, uint32_t context, uint32_t n_prompt,
                        const uint32_t *max_tokens)
{
    const char *whose = code == STATUS_CTX_LIMIT ? "the class's context" : "the context";
    struct engine_number numbers[3];
    Qwp__Detail *details[3];
    Qwe__Refused refused = QWE__REFUSED__INIT;
    char text[200];

    details[refused.n_details++] = engine_number_set(&numbers[0], "prompt_tokens", n_prompt);
    details[refused.n_details++] = engine_number_set(&numbers[1], "context", context);
    if (n_prompt >= context || !max_tokens) {
        snprintf(text, sizeof(text), "the prompt has %u tokens, %s %u, and the answer needs room too",
                 n_prompt, whose, context);
    } else {
        details[refused.n_details++] = engine_number_set(&numbers[2], "max_tokens", *max_tokens);
        snprintf(text, sizeof(text), "the prompt has %u tokens and max_tokens is %u, %s has room for %u",
                 n_prompt, *max_tokens, whose, context);
    }
    refused.has_code = 1;
    refused.code = (uint32_t)code;
    refused.text = text;
    refused.details = details;
    return uplink_put(&e->up, handle, MSG_E_REFUSED, &refused.base);
}

int engine_put_started(struct engine *e, const struct seq *seq)
{
    Qwe__Started started = QWE__STARTED__INIT;

    started.has_prompt_tokens = 1;
    started.prompt_tokens = (uint32_t)seq->n_prompt;
    started.has_cached_tokens = 1;
    started.cached_tokens = (uint32_t)seq->n_cached;
    return uplink_put(&e->up, seq->handle, MSG_E_STARTED, &started.base);
}

/* logprobs */

static ProtobufCBinaryData engine_token_bytes(const struct engine *e, int32_t id)
{
    struct gguf_str s = tokenizer_bytes(e->tokenizer, id);

    return (ProtobufCBinaryData){.data = (uint8_t *)s.s, .len = s.n};
}

struct engine_logprob {
    Qwp__TokenLogprob token, *token_ptr;
    Qwp__TokenLogprob1 top[SAMPLE_TOP_MAX], *top_ptrs[SAMPLE_TOP_MAX];
};

static void engine_logprob_set(const struct engine *e, struct engine_logprob *lp,
                               const struct sample_choice *choice)
{
    qwp__token_logprob__init(&lp->token);
    lp->token_ptr = &lp->token;
    lp->token.has_id = lp->token.has_logprob = lp->token.has_text = 1;
    lp->token.id = (uint32_t)choice->id;
    lp->token.logprob = choice->logprob;
    lp->token.text = engine_token_bytes(e, choice->id);
    for (int i = 0; i < choice->n_top; i++) {
        Qwp__TokenLogprob1 *top = lp->top_ptrs[i] = &lp->top[i];

        qwp__token_logprob1__init(top);
        top->has_id = top->has_logprob = top->has_text = 1;
        top->id = (uint32_t)choice->top_id[i];
        top->logprob = choice->top_logprob[i];
        top->text = engine_token_bytes(e, choice->top_id[i]);
    }
    lp->token.n_top = (size_t)choice->n_top;
    lp->token.top = lp->top_ptrs;
}

/* the step's result */

static void engine_set_finish(const struct seq *seq, Qwe__Emit *emit)
{
    emit->has_finish = 1;
    emit->finish = seq->finish == SEQ_STOP ? QWP__FINISH__FINISH_STOP : QWP__FINISH__FINISH_LENGTH;
    emit->stop = (char *)pieces_stop(&seq->pieces);
}

int engine_emit(struct engine *e, const struct seq *seq, const struct sample_choice *choice)
{
    Qwe__Emit emit = QWE__EMIT__INIT;
    Qwe__Piece pieces[ARRAY_SIZE(seq->pieces.items)], *piece_ptrs[ARRAY_SIZE(pieces)];
    struct engine_logprob lp;
    uint32_t id;

    if (choice) {
        id = (uint32_t)choice->id;
        emit.n_ids = 1;
        emit.ids = &id;
    }
    for (int i = 0; i < seq->pieces.n_items; i++) {
        const struct piece *item = &seq->pieces.items[i];

        qwe__piece__init(&pieces[i]);
        pieces[i].has_channel = pieces[i].has_text = 1;
        pieces[i].channel = item->answer ? QWP__CHANNEL__CHANNEL_ANSWER : QWP__CHANNEL__CHANNEL_REASONING;
        pieces[i].text = (ProtobufCBinaryData){.data = (uint8_t *)item->s, .len = item->n};
        piece_ptrs[i] = &pieces[i];
    }
    emit.n_pieces = (size_t)seq->pieces.n_items;
    emit.pieces = piece_ptrs;
    if (choice && seq->n_logprobs >= 0) {
        engine_logprob_set(e, &lp, choice);
        emit.n_logprobs = 1;
        emit.logprobs = &lp.token_ptr;
    }
    /* with each Emit, so that a request that is cut short can be accounted for */
    emit.has_reasoning_tokens = emit.has_answer_tokens = 1;
    emit.reasoning_tokens = (uint32_t)seq->n_reasoning;
    emit.answer_tokens = (uint32_t)(seq_n_answer(seq) - seq->n_reasoning);
    emit.has_at_ns = 1;
    emit.at_ns = clock_now_ns();
    if (seq->finish)
        engine_set_finish(seq, &emit);
    return uplink_put(&e->up, seq->handle, MSG_E_EMIT, &emit.base);
}

/* [2 n_slots], pairs of a handle and how far its prompt is read. */
static size_t engine_list_reading(const struct engine *e, uint32_t *ret_reading)
{
    size_t n = 0;

    for (int i = 0; i < e->n_slots; i++) {
        const struct seq *seq = e->seqs[i];

        if (!seq || seq->waits || seq->n_read >= seq->n_prompt)
            continue;
        ret_reading[n++] = seq->handle;
        ret_reading[n++] = (uint32_t)seq->n_read;
    }
    return n;
}

int engine_put_beat(struct engine *e, uint64_t now_ns)
{
    Qwe__Beat beat = QWE__BEAT__INIT;
    uint32_t reading[2 * SCHED_ITEMS_MAX];
    const uint64_t cache_bytes = e->prefix ? prefix_used_bytes(e->prefix) : 0;
    const uint64_t disk_bytes = e->spill ? spill_used_bytes(e->spill) : 0;
    const bool is_same = cache_bytes == e->beat_cache_bytes && disk_bytes == e->beat_disk_bytes;

    if (now_ns - e->beat_ns < ENGINE_BEAT_NS && (engine_has_work(e) || is_same))
        return 0;
    e->beat_ns = now_ns;
    e->beat_cache_bytes = cache_bytes;
    e->beat_disk_bytes = disk_bytes;
    beat.has_steps = beat.has_cache_used_bytes = 1;
    beat.steps = e->n_steps;
    beat.cache_used_bytes = cache_bytes;
    beat.has_cache_dir_used_bytes = e->spill != NULL;
    beat.cache_dir_used_bytes = disk_bytes;
    beat.has_read_ns = beat.has_step_ns = 1;
    beat.read_ns = (uint64_t)e->sched.cost.tok_ns;
    beat.step_ns = (uint64_t)e->sched.cost.step_ns;
    beat.reading = reading;
    beat.n_reading = engine_list_reading(e, reading);
    return uplink_put(&e->up, 0, MSG_E_BEAT, &beat.base);
}
