/* emu_sync.cpp - what threads wait for: collectives of a warp, barriers, copies; and what is said when they
 * must not.
 *
 * Stricter than the device where that costs a correct kernel nothing: all lanes of a collective, and all
 * threads of a barrier, come from the same line. */
#include "emu_run.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void emu_fault(const char *fmt, ...)
{
    va_list ap;

    fprintf(stderr, "emu: ");
    if (emu_in_kernel) {
        const struct emu_thread *t = emu_current();
        fprintf(stderr, "%s: block (%u,%u,%u), thread (%u,%u,%u), warp %d lane %d: ", emu_block.grid->name,
                emu_place.block_idx.x, emu_place.block_idx.y, emu_place.block_idx.z, t->idx.x, t->idx.y,
                t->idx.z, t->index / 32, t->index % 32);
    }
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fprintf(stderr, "\n");
    abort();
}

void emu_sync_begin(void)
{
    for (int i = 0; i * 32 < emu_block.n; i++)
        emu_block.warps[i] = {};
    for (int i = 0; i < EMU_NAMED_BARRIERS; i++)
        emu_block.barriers[i] = {};
}

void emu_thread_begin(struct emu_thread *t, int index)
{
    t->state = EMU_READY;
    t->index = index;
    t->call = NULL;
    t->copy0 = t->n_copies = t->n_groups = 0;
    t->pdl_waited = false;
}

/* Within one source file it is the same pointer. */
static bool sync_same_file(const char *a, const char *b)
{
    return a == b || !strcmp(a, b);
}

/* The lanes of t's warp that wait at the same place as t. */
static unsigned sync_lanes_with(const struct emu_thread *t)
{
    const int warp0 = t->index & ~31;
    unsigned lanes = 0;

    for (int i = warp0; i < warp0 + 32 && i < emu_block.n; i++) {
        const struct emu_thread *o = &emu_block.threads[i];
        if (o->state == EMU_AT_WARP && o->call->line == t->call->line &&
            sync_same_file(o->call->file, t->call->file))
            lanes |= 1u << (i - warp0);
    }
    return lanes;
}

/* t is about to do something else than what waits for it.  line 0: to end. */
static void sync_nobody_waits_for(const struct emu_thread *t, const char *file, int line)
{
    const int warp0 = t->index & ~31;

    if (!emu_block.warps[warp0 / 32].lanes)
        return;
    for (int i = warp0; i < warp0 + 32 && i < emu_block.n; i++) {
        const struct emu_thread *o = &emu_block.threads[i];
        char what[200] = "its end";

        if (o == t || o->state != EMU_AT_WARP || !(o->call->mask >> (t->index - warp0) & 1))
            continue;
        if (line)
            snprintf(what, sizeof(what), "a barrier at %s:%d", file, line);
        emu_fault("divergent: it comes to %s while lanes %08x wait for it in %s of mask %08x at %s:%d", what,
                  sync_lanes_with(o), emu_op_name(o->call->op), o->call->mask, o->call->file, o->call->line);
    }
}

/* warps */

static bool sync_same_call(const struct emu_call *a, const struct emu_call *b)
{
    return a->op == b->op && a->mask == b->mask && a->n == b->n && a->line == b->line &&
           sync_same_file(a->file, b->file);
}

/* Whether lane o has come to the same call; a fault if it never will. */
static bool sync_lane_is_here(const struct emu_call *call, const struct emu_thread *t,
                              const struct emu_thread *o)
{
    const struct emu_call *c = o->call;
    const int lane = o->index % 32;

    if (o->state == EMU_DONE)
        emu_fault("divergent: %s of mask %08x at %s:%d, but lane %d has ended", emu_op_name(call->op),
                  call->mask, call->file, call->line, lane);
    if (o->state == EMU_AT_BARRIER && o->barrier == 0)
        emu_fault("divergent: %s of mask %08x at %s:%d, but lane %d waits at the barrier of %s:%d",
                  emu_op_name(call->op), call->mask, call->file, call->line, lane, o->file, o->line);
    if (o->state != EMU_AT_WARP || !(c->mask >> (t->index % 32) & 1))
        return false;
    if (!sync_same_call(c, call))
        emu_fault("divergent: %s of mask %08x at %s:%d, but lanes %08x wait in %s of mask %08x at %s:%d",
                  emu_op_name(call->op), call->mask, call->file, call->line, sync_lanes_with(o),
                  emu_op_name(c->op), c->mask, c->file, c->line);
    return true;
}

static void sync_check_call(const struct emu_call *call, const struct emu_thread *t)
{
    const bool shuffle = call->op >= EMU_SHFL && call->op <= EMU_SHFL_XOR;
    const int n_lanes = emu_block.n - (t->index & ~31);

    if (!(call->mask >> (t->index % 32) & 1))
        emu_fault("%s at %s:%d of mask %08x, which does not name this lane", emu_op_name(call->op),
                  call->file, call->line, call->mask);
    if (n_lanes < 32 && call->mask >> n_lanes)
        emu_fault("%s at %s:%d of mask %08x, but the warp has only %d lanes", emu_op_name(call->op),
                  call->file, call->line, call->mask, n_lanes);
    if (shuffle && (call->n < 1 || call->n > 32 || (call->n & (call->n - 1))))
        emu_fault("%s at %s:%d: width %d is not a power of two up to 32", emu_op_name(call->op), call->file,
                  call->line, call->n);
}

/* The lanes that wait in call, t among them.  Where others are known to wait in it, and no lane of its mask
 * waits elsewhere, none has gone where it will never come from: it would have been told
 * (sync_nobody_waits_for()). */
static unsigned sync_lanes_here(const struct emu_call *call, const struct emu_thread *t)
{
    const struct emu_thread *const warp = &emu_block.threads[t->index & ~31];
    struct emu_warp_wait *const wait = &emu_block.warps[t->index / 32];
    unsigned here = 1u << t->index % 32;

    if (wait->together && sync_same_call(wait->call, call)) {
        wait->together |= here;
        if (!(wait->lanes & call->mask & ~wait->together))
            return wait->together;
    }
    for (int l = 0; l < 32; l++)
        if ((call->mask >> l & 1) && &warp[l] != t && sync_lane_is_here(call, t, &warp[l]))
            here |= 1u << l;
    if (!wait->together) {
        wait->together = here;
        wait->call = call;
    }
    return here;
}

/* All lanes are here: compute, let the others go on. */
static void sync_complete(const struct emu_call *call, const struct emu_thread *t)
{
    struct emu_thread *const warp = &emu_block.threads[t->index & ~31];
    struct emu_warp_wait *const wait = &emu_block.warps[t->index / 32];
    struct emu_call *calls[32] = {};

    for (unsigned left = call->mask; left; left &= left - 1)
        calls[__builtin_ctz(left)] = warp[__builtin_ctz(left)].call;
    const int wrong = emu_warp_compute(calls, call->mask);
    if (wrong >= 0)
        emu_fault(
            "%s of mask %08x at %s:%d: lane %d reads a lane that is not in the mask (argument %d, width %d)",
            emu_op_name(call->op), call->mask, call->file, call->line, wrong, calls[wrong]->arg, call->n);
    if (call->op == EMU_SYNC) {
        for (unsigned left = call->mask; left; left &= left - 1)
            __tsan_acquire(&emu_block.order->arrived[warp[__builtin_ctz(left)].index]);
        for (unsigned left = call->mask; left; left &= left - 1)
            __tsan_release(&emu_block.order->woken[warp[__builtin_ctz(left)].index]);
    }
    for (unsigned left = call->mask; left; left &= left - 1)
        warp[__builtin_ctz(left)].state = EMU_READY;
    wait->lanes &= ~call->mask;
    if (wait->together && sync_same_call(wait->call, call))
        wait->together = 0;
}

void emu_collective(struct emu_call *call)
{
    struct emu_thread *const t = emu_current();

    sync_check_call(call, t);
    t->call = call;
    if (call->op == EMU_SYNC)
        __tsan_release(&emu_block.order->arrived[t->index]);
    if (sync_lanes_here(call, t) == call->mask) {
        sync_complete(call, t);
    } else {
        t->state = EMU_AT_WARP;
        emu_block.warps[t->index / 32].lanes |= 1u << t->index % 32;
        emu_wait();
    }
    if (call->op == EMU_SYNC)
        __tsan_acquire(&emu_block.order->woken[t->index]);
}

/* barriers */

static void sync_open_barrier(int id)
{
    for (int i = 0; i < emu_block.n; i++)
        if (emu_block.threads[i].state == EMU_AT_BARRIER && emu_block.threads[i].barrier == id)
            emu_block.threads[i].state = EMU_READY;
    emu_block.barriers[id].n = 0;
    emu_block.barrier_round[id]++;
}

void emu_barrier(int id, int n_threads, const char *file, int line)
{
    struct emu_thread *const t = emu_current();

    if (id < 0 || id >= EMU_NAMED_BARRIERS || n_threads % 32 || n_threads > emu_block.n)
        emu_fault("barrier %d of %d threads at %s:%d: ids are 1 to 15, threads a multiple of 32 up to the "
                  "block's %d",
                  id, n_threads, file, line, emu_block.n);
    sync_nobody_waits_for(t, file, line);
    struct emu_barrier_wait *const wait = &emu_block.barriers[id];
    if (wait->n && (wait->first->line != line || !sync_same_file(wait->first->file, file)))
        emu_fault("divergent: barrier %d at %s:%d, but thread %d waits in it at %s:%d", id, file, line,
                  wait->first->index, wait->first->file, wait->first->line);
    char *const order = &emu_block.order->barrier[id][emu_block.barrier_round[id] & 1];
    __tsan_release(order);
    t->state = EMU_AT_BARRIER;
    t->barrier = id;
    t->file = file;
    t->line = line;
    if (!wait->n++)
        wait->first = t;
    if (wait->n == (id ? n_threads : emu_block.n_live))
        sync_open_barrier(id);
    else
        emu_wait();
    __tsan_acquire(order);
}

void emu_thread_end(struct emu_thread *t)
{
    sync_nobody_waits_for(t, "", 0);
    if (t->n_copies)
        emu_fault("ends with %d cp.async that nothing has waited for", t->n_copies);
    if (emu_block.grid->pdl && !t->pdl_waited)
        emu_fault(
            "was launched before the kernel in front of it had ended (PDL), but never called kc_pdl_wait()");
    t->state = EMU_DONE;
    emu_block.n_live--;
    if (emu_block.n_live && emu_block.barriers[0].n == emu_block.n_live)
        sync_open_barrier(0);
}

void emu_deadlock(void)
{
    fprintf(stderr, "emu: %s: deadlock: nobody can go on\n", emu_block.grid->name);
    for (int i = 0; i < emu_block.n; i++) {
        const struct emu_thread *t = &emu_block.threads[i];
        if (t->state == EMU_AT_BARRIER)
            fprintf(stderr, "emu:   thread %d waits in barrier %d at %s:%d\n", i, t->barrier, t->file,
                    t->line);
        else if (t->state == EMU_AT_WARP)
            fprintf(stderr, "emu:   thread %d waits in %s of mask %08x at %s:%d\n", i,
                    emu_op_name(t->call->op), t->call->mask, t->call->file, t->call->line);
    }
    emu_fault("deadlock");
}

void kc_pdl_wait(void)
{
    emu_current()->pdl_waited = true;
}

/* copies */

void emu_cp_async(const struct emu_copy *copy, const char *file, int line)
{
    struct emu_thread *const t = emu_current();
    const int i = (t->copy0 + t->n_copies) % EMU_COPIES;

    emu_need_smem(copy->dst, size_t(copy->bytes), "cp.async", file, line);
    if (reinterpret_cast<uintptr_t>(copy->src) % unsigned(copy->bytes))
        emu_fault("cp.async at %s:%d: the source is not aligned to %d bytes", file, line, copy->bytes);
    if (t->n_copies == EMU_COPIES)
        emu_fault("cp.async at %s:%d: more than %d under way", file, line, EMU_COPIES);
    t->copy[i] = *copy;
    t->copy_group[i] = t->n_groups;
    t->n_copies++;
}

void emu_cp_commit(void)
{
    emu_current()->n_groups++;
}

bool emu_cp_next(int n_keep, struct emu_copy *ret_copy)
{
    struct emu_thread *const t = emu_current();

    if (!t->n_copies || t->copy_group[t->copy0] >= t->n_groups - n_keep)
        return false;
    *ret_copy = t->copy[t->copy0];
    t->copy0 = (t->copy0 + 1) % EMU_COPIES;
    t->n_copies--;
    return true;
}
