/* engine.c - the loop.  See engine.h. */
#include "engine.h"

#include "daemon/util/clock.h"
#include "sample.h"

int engine_init(struct engine *e, int fd)
{
    int r;

    *e = (struct engine){.part_fd = -1, .publishing = {.fd = -1}};
    r = uplink_init(&e->up, fd);
    return r ? r : textwork_init(&e->textwork);
}

void engine_drop_seq(struct engine *e, int slot)
{
    if (e->seqs[slot]) {
        engine_disk_drop(e, e->seqs[slot]);
        engine_drop_pages(e, e->seqs[slot]);
        sched_leave(&e->sched, e->seqs[slot]->account);
    }
    e->seqs[slot] = seq_free(e->seqs[slot]);
}

void engine_deinit(struct engine *e)
{
    closep(&e->part_fd);
    engine_drop_text(e);
    for (int i = 0; e->seqs && i < e->n_slots; i++)
        engine_drop_seq(e, i);
    free(e->seqs);
    free(e->items);
    free(e->picks);
    free(e->item_slots);
    free(e->spans);
    free(e->ids);
    free(e->rows);
    free(e->logits);
    free(e->tops);
    free(e->asked);
    free(e->banned);
    free(e->stops_at);
    free(e->stops_fim);
    free(e->tables);
    ahead_deinit(&e->ahead);
    engine_publish_close(e);
    engine_disk_close(e);
    prefix_free(e->prefix);
    pages_deinit(&e->pages);
    sampler_free(e->sampler);
    state_free(e->state);
    tokenizer_free(e->tokenizer);
    model_free(e->model);
    kern_free(e->kern);
    uplink_deinit(&e->up);
}

/* A prompt may be a million tokens of text work, seconds of it: with streams running a long one is read
 * beside the steps, and one at a time.  Of the small ones each is followed by as much time of steps before
 * the next is taken, so whoever sends nothing but prompts slows the others to half, not to a token a prompt.
 */
static bool engine_is_heavy(const struct frame *frame)
{
    return frame->type == MSG_E_SUBMIT || frame->type == MSG_E_TEXT;
}

/* One reads from disk at a time. */
static bool engine_must_wait(const struct engine *e, const struct frame *frame)
{
    return engine_is_heavy(frame) && (e->text_ns || e->reading || e->reader.seq);
}

static int engine_take_frame(struct engine *e, const struct frame *frame)
{
    const int fd = frame->flags & FRAME_HAS_FD ? sock_claim_fd(&e->up.sock) : -1;
    const bool delays = engine_is_heavy(frame) && engine_has_work(e);
    const uint64_t t0 = clock_now_ns();
    int r;

    if (engine_is_heavy(frame))
        engine_warm_drop(e);
    r = engine_on_frame(e, frame, fd);

    if (delays)
        e->text_ns += clock_now_ns() - t0;
    uplink_consume(&e->up, frame);
    return r;
}

/* What has arrived whole. */
static int engine_take_frames(struct engine *e)
{
    struct frame frame;
    int r;

    if (!engine_has_work(e))
        e->text_ns = 0;
    while (!(r = uplink_next(&e->up, &frame))) {
        if (engine_must_wait(e, &frame))
            return 0;
        r = engine_take_frame(e, &frame);
        if (r)
            return r;
    }
    return r == UPLINK_E_AGAIN ? 0 : r;
}

static int engine_make_step(struct engine *e)
{
    const uint64_t t0 = clock_now_ns();
    int r = engine_step(e);
    const uint64_t now = clock_now_ns();

    e->text_ns -= MIN(e->text_ns, now - t0);
    engine_disk_rest(e, now);
    return r;
}

int engine_turn(struct engine *e, bool block)
{
    int r = engine_take_text(e);

    block = block && !engine_has_work(e) && !engine_publish_is_due(e);
    ahead_set_busy(&e->ahead, !block);
    if (!r)
        r = uplink_pump(&e->up, block ? engine_disk_wait_ms(e) : 0);
    if (!r)
        r = engine_take_frames(e);
    if (!r)
        r = engine_disk_turn(e);
    if (!r)
        r = engine_publish_turn(e);
    if (!r && engine_has_work(e))
        r = engine_make_step(e);
    return r;
}

int engine_run(struct engine *e)
{
    int r;

    do
        r = engine_turn(e, true);
    while (!r);
    if (r == ENGINE_E_ENDS)
        r = uplink_drain(&e->up);
    else if (r == UPLINK_E_EOF)
        engine_disk_stop(e);
    return r < 0 ? r : 0;
}
