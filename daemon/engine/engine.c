/* engine.c - the loop.  See engine.h. */
#include "engine.h"

#include "sample.h"

int engine_init(struct engine *e, int fd)
{
    *e = (struct engine){0};
    return uplink_init(&e->up, fd);
}

void engine_drop_seq(struct engine *e, int slot)
{
    e->seqs[slot] = seq_free(e->seqs[slot]);
}

void engine_deinit(struct engine *e)
{
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
    free(e->banned);
    free(e->stops_at);
    free(e->pages);
    sampler_free(e->sampler);
    state_free(e->state);
    tokenizer_free(e->tokenizer);
    model_free(e->model);
    kern_free(e->kern);
    uplink_deinit(&e->up);
}

/* A prompt may be a million tokens of text work: with streams running, their next step comes after one of
 * these. */
static bool engine_is_heavy(const struct frame *frame)
{
    return frame->type == MSG_E_SUBMIT || frame->type == MSG_E_TEXT;
}

/* What has arrived whole. */
static int engine_take_frames(struct engine *e)
{
    bool enough = false;
    struct frame frame;
    int r = 0;

    while (!enough && !(r = uplink_next(&e->up, &frame))) {
        int fd = frame.flags & FRAME_HAS_FD ? sock_claim_fd(&e->up.sock) : -1;

        r = engine_on_frame(e, &frame, fd);
        enough = engine_is_heavy(&frame) && engine_has_work(e);
        uplink_consume(&e->up, &frame);
        if (r)
            return r;
    }
    return r == UPLINK_E_AGAIN ? 0 : r;
}

int engine_turn(struct engine *e, bool block)
{
    int r = uplink_pump(&e->up, block && !engine_has_work(e));

    if (!r)
        r = engine_take_frames(e);
    if (!r && engine_has_work(e))
        r = engine_step(e);
    return r;
}

int engine_run(struct engine *e)
{
    int r;

    do
        r = engine_turn(e, true);
    while (!r);
    if (r == ENGINE_E_FAILED)
        r = uplink_drain(&e->up);
    return r < 0 ? r : 0;
}
