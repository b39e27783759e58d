/* emu_run.cpp - runs a grid: one fiber a thread of the block, blocks one after another, both in the order
 * asked for.
 *
 * A thread runs until it waits.  Forward and reverse are the two extremes of who runs ahead; random is
 * between them and comes again with its seed.  Fibers are made once and used again: under TSan making one
 * costs more than a block.  There are two sets in turn, since a fiber brings the history of the block it
 * served before into the order of this one: so races between a block and the next one in the order are seen.
 */
#include "emu_run.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#if !defined(__x86_64__) || defined(EMU_UCONTEXT)
#include <ucontext.h>
#define EMU_SWAP_UCONTEXT
#endif
#ifdef EMU_TSAN
extern "C" {
void *__tsan_get_current_fiber(void);
void *__tsan_create_fiber(unsigned flags);
void __tsan_switch_to_fiber(void *fiber, unsigned flags);
}
#endif
#ifdef EMU_ASAN
extern "C" {
void __sanitizer_start_switch_fiber(void **fake_stack, const void *bottom, size_t bytes);
void __sanitizer_finish_switch_fiber(void *fake_stack, const void **ret_bottom, size_t *ret_bytes);
}
#endif

enum {
    EMU_SETS = 2,
    EMU_STACK = 256 << 10,
    EMU_PAGE = 4096
}; /* ASan's frames are large; what is not touched costs nothing */

struct emu_fiber {
    void *sp;
    char *stack; /* the lowest page is a guard */
    size_t stack_bytes;
    void *tsan, *asan;
#ifdef EMU_SWAP_UCONTEXT
    ucontext_t context;
#endif
};

struct emu_place emu_place;
struct emu_block emu_block;
static struct emu_thread emu_threads[EMU_BLOCK_MAX];
bool emu_in_kernel;

static struct emu_fiber emu_host; /* who launched */
static struct emu_fiber emu_fibers[EMU_SETS][EMU_BLOCK_MAX];
static int emu_n_fibers; /* of each set, kept until the process ends */
static enum emu_direction { EMU_FORWARD, EMU_REVERSE, EMU_RANDOM } emu_direction;
static uint64_t emu_random;
static char emu_begun, emu_ended; /* edges of a grid: the launch before its threads, these before who waits */

/* order */

void emu_set_order(const char *order)
{
    char *end = NULL;

    if (!strcmp(order, "forward"))
        emu_direction = EMU_FORWARD;
    else if (!strcmp(order, "reverse"))
        emu_direction = EMU_REVERSE;
    else if (!strncmp(order, "random:", 7) &&
             (emu_random = strtoull(order + 7, &end, 10), end > order + 7 && !*end))
        emu_direction = EMU_RANDOM;
    else
        emu_fault("EMU_ORDER is '%s', not forward, reverse or random:SEED", order);
}

static void __attribute__((constructor)) emu_read_environment(void)
{
    if (getenv("EMU_ORDER"))
        emu_set_order(getenv("EMU_ORDER"));
    if (getenv("EMU_FILL"))
        emu_set_fill(getenv("EMU_FILL"));
}

static unsigned emu_draw(unsigned n)
{
    emu_random = emu_random * 6364136223846793005u + 1442695040888963407u;
    return unsigned((emu_random >> 33) % n);
}

/* The next ready thread after index from, or -1. */
static int emu_pick(int from)
{
    const int n = emu_block.n, step = emu_direction == EMU_REVERSE ? n - 1 : 1;

    if (emu_direction == EMU_RANDOM)
        from = int(emu_draw(unsigned(n)));
    for (int i = 0; i < n; i++) {
        from += step;
        if (from >= n)
            from -= n;
        if (emu_block.threads[from].state == EMU_READY)
            return from;
    }
    return -1;
}

/* fibers */

#ifdef EMU_SWAP_UCONTEXT
static void emu_swap(struct emu_fiber *from, struct emu_fiber *to)
{
    swapcontext(&from->context, &to->context);
}
#else
extern "C" void emu_swap_stack(void **save, void *to);
asm(R"(
.text
.globl emu_swap_stack
.hidden emu_swap_stack
.type emu_swap_stack, @function
emu_swap_stack:
    push %rbp
    push %rbx
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, (%rdi)
    mov %rsi, %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbx
    pop %rbp
    ret
.size emu_swap_stack, .-emu_swap_stack
)");

static void emu_swap(struct emu_fiber *from, struct emu_fiber *to)
{
    emu_swap_stack(&from->sp, to->sp);
}
#endif

static void emu_switch(struct emu_fiber *from, struct emu_fiber *to)
{
#ifdef EMU_TSAN
    __tsan_switch_to_fiber(to->tsan, 1); /* 1: a switch orders nothing */
#endif
#ifdef EMU_ASAN
    __sanitizer_start_switch_fiber(&from->asan, to->stack, to->stack_bytes);
#endif
    emu_swap(from, to);
#ifdef EMU_ASAN
    __sanitizer_finish_switch_fiber(from->asan, NULL, NULL);
#endif
}

static void emu_enter(int index)
{
    emu_block.current = index;
    emu_place.thread_idx = emu_block.threads[index].idx;
}

void emu_wait(void)
{
    struct emu_thread *const t = emu_current();
    const int next = emu_pick(emu_block.current);

    if (next < 0)
        emu_deadlock();
    if (next == t->index)
        return;
    emu_enter(next);
    emu_switch(t->fiber, emu_block.threads[next].fiber);
}

/* The current thread has ended: its fiber sleeps until a thread of a later block gets it. */
static void emu_leave(struct emu_fiber *fiber)
{
    const int next = emu_block.n_live ? emu_pick(emu_block.current) : -1;

    if (emu_block.n_live && next < 0)
        emu_deadlock();
    if (next >= 0)
        emu_enter(next);
    emu_switch(fiber, next >= 0 ? emu_block.threads[next].fiber : &emu_host);
}

static void emu_fiber_main(void)
{
#ifdef EMU_ASAN
    __sanitizer_finish_switch_fiber(NULL, NULL, NULL);
#endif
    for (;;) {
        struct emu_thread *const t = emu_current();
        struct emu_fiber *const fiber = t->fiber;

        __tsan_acquire(&emu_begun);
        emu_block.work->run();
        emu_thread_end(t);
        __tsan_release(&emu_ended);
        emu_leave(fiber);
    }
}

static void emu_fiber_init(struct emu_fiber *fiber, int i)
{
    fiber->stack_bytes = EMU_STACK;
    fiber->stack = static_cast<char *>(
        mmap(NULL, EMU_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (fiber->stack == MAP_FAILED || mprotect(fiber->stack, EMU_PAGE, PROT_NONE) < 0)
        emu_fault("no memory for the stack of thread %d", i);
#ifdef EMU_TSAN
    fiber->tsan = __tsan_create_fiber(0);
#endif
#ifdef EMU_SWAP_UCONTEXT
    getcontext(&fiber->context);
    fiber->context.uc_stack.ss_sp = fiber->stack;
    fiber->context.uc_stack.ss_size = EMU_STACK;
    makecontext(&fiber->context, emu_fiber_main, 0);
#else
    /* Six registers and a return address; tops are not all on the same cache sets. */
    void **const top = reinterpret_cast<void **>(fiber->stack + EMU_STACK - i * 5 % 61 * 320) - 2;
    top[0] = reinterpret_cast<void *>(emu_fiber_main);
    top[1] = NULL;
    fiber->sp = top - 6;
#endif
}

static void emu_fibers_make(int n)
{
    for (; emu_n_fibers < n; emu_n_fibers++)
        for (int set = 0; set < EMU_SETS; set++)
            emu_fiber_init(&emu_fibers[set][emu_n_fibers], emu_n_fibers);
}

/* grids */

static void emu_run_block(unsigned index, unsigned turn)
{
    const dim3 g = emu_block.grid->grid, b = emu_block.grid->block;

    emu_place.block_idx = uint3{index % g.x, index / g.x % g.y, index / g.x / g.y};
    emu_block.n_live = emu_block.n;
    emu_sync_begin();
    emu_block.order = emu_smem_begin(emu_block.grid->smem_bytes);
    for (int i = 0; i < emu_block.n; i++) {
        struct emu_thread *t = &emu_block.threads[i];
        emu_thread_begin(t, i);
        t->idx = uint3{unsigned(i) % b.x, unsigned(i) / b.x % b.y, unsigned(i) / b.x / b.y};
        t->fiber = &emu_fibers[turn % EMU_SETS][i];
    }
    __tsan_release(&emu_begun);
    emu_enter(emu_pick(emu_direction == EMU_REVERSE ? 0 : emu_block.n - 1));
    emu_in_kernel = true;
    emu_switch(&emu_host, emu_current()->fiber);
    emu_in_kernel = false;
    emu_smem_end();
}

static void emu_host_init(void)
{
#ifdef EMU_TSAN
    emu_host.tsan = __tsan_get_current_fiber();
#endif
#ifdef EMU_ASAN
    pthread_attr_t attr;
    void *bottom;
    pthread_getattr_np(pthread_self(), &attr);
    pthread_attr_getstack(&attr, &bottom, &emu_host.stack_bytes);
    pthread_attr_destroy(&attr);
    emu_host.stack = static_cast<char *>(bottom);
#endif
}

void emu_run_grid(const struct emu_grid *grid, const struct emu_work *work)
{
    const unsigned n_blocks = grid->grid.x * grid->grid.y * grid->grid.z;
    unsigned stride = 1, offset = 0;

    emu_block.grid = grid;
    emu_block.work = work;
    emu_block.threads = emu_threads;
    emu_block.n = int(grid->block.x * grid->block.y * grid->block.z);
    emu_place.block_dim = grid->block;
    emu_place.grid_dim = grid->grid;
    emu_fibers_make(emu_block.n);
    emu_host_init();
    if (emu_direction == EMU_RANDOM) { /* each block once: a stride without a common divisor */
        offset = emu_draw(n_blocks);
        for (stride = 1 + emu_draw(n_blocks);; stride++) {
            unsigned a = stride, b = n_blocks;
            while (b) {
                const unsigned rest = a % b;
                a = b;
                b = rest;
            }
            if (a == 1)
                break;
        }
    }
    for (unsigned i = 0; i < n_blocks; i++) {
        const unsigned index = emu_direction == EMU_REVERSE
                                   ? n_blocks - 1 - i
                                   : unsigned((offset + uint64_t(i) * stride) % n_blocks);
        emu_run_block(index, i);
    }
    __tsan_acquire(&emu_ended);
    emu_smem_grid_end();
}
