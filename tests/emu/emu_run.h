/* emu_run.h - what the parts of the emulation's runtime share.  They are compiled without sanitizers, so that
 * nothing they do counts as a kernel's doing; EMU_ASAN and EMU_TSAN say what the kernels are built with.
 *
 * Inside a fiber nothing allocates, and kernel memory is written only through volatile: malloc() and memset()
 * are seen by the sanitizers wherever they are called from. */
#pragma once

#include "emu.h"

/* What came before a release is ordered before what follows an acquire of the same address; for TSan only. */
#ifdef EMU_TSAN
extern "C" void __tsan_acquire(void *);
extern "C" void __tsan_release(void *);
#else
static inline void __tsan_acquire(void *) {}
static inline void __tsan_release(void *) {}
#endif

enum emu_state { EMU_READY, EMU_AT_WARP, EMU_AT_BARRIER, EMU_DONE };
enum { EMU_COPIES = 192, EMU_GUARD = 64, EMU_NAMED_BARRIERS = 16 };

struct emu_fiber;
struct emu_thread {
    enum emu_state state;
    uint3 idx;
    int index;               /* in its block */
    struct emu_fiber *fiber; /* borrowed, for one block */
    struct emu_call *call;   /* borrowed from its stack, while EMU_AT_WARP */
    int barrier;             /* while EMU_AT_BARRIER */
    const char *file;
    int line;
    struct emu_copy copy[EMU_COPIES]; /* ring of cp.async not yet made */
    int copy_group[EMU_COPIES];
    int copy0, n_copies, n_groups;
    bool pdl_waited;
};

/* Addresses that stand for an order of memory; nothing is ever stored here.  A barrier has two in turn: who
 * is through early must not order those that have yet to wake. */
struct emu_order {
    char barrier[EMU_NAMED_BARRIERS][2];
    char arrived[EMU_BLOCK_MAX], woken[EMU_BLOCK_MAX]; /* __syncwarp */
};

/* What waits, so that nobody has to look at all threads.  Lanes that wait for each other in one call; those
 * of a second call at the same time are found by looking. */
struct emu_warp_wait {
    unsigned lanes;              /* EMU_AT_WARP */
    unsigned together;           /* of those, the ones in call; 0: none */
    const struct emu_call *call; /* borrowed from the stack of one of them */
};
struct emu_barrier_wait {
    int n;                          /* threads EMU_AT_BARRIER */
    const struct emu_thread *first; /* of them */
};

/* the block that runs */
struct emu_block {
    const struct emu_grid *grid; /* borrowed */
    const struct emu_work *work; /* borrowed */
    struct emu_thread *threads;  /* [n] borrowed from emu_run.cpp */
    int n, n_live, current;
    struct emu_warp_wait warps[EMU_BLOCK_MAX / 32];
    struct emu_barrier_wait barriers[EMU_NAMED_BARRIERS];
    unsigned barrier_round[EMU_NAMED_BARRIERS];
    struct emu_order *order; /* borrowed from emu_smem.cpp: another one for each block of a grid */
};
extern struct emu_block emu_block;
extern bool emu_in_kernel;

static inline struct emu_thread *emu_current(void)
{
    return &emu_block.threads[emu_block.current];
}

/* emu_run.cpp: fibers and their order */
void emu_run_grid(const struct emu_grid *grid, const struct emu_work *work);
void emu_wait(void); /* until somebody has made the current thread EMU_READY again */

/* emu_sync.cpp: what threads wait for */
void emu_sync_begin(void); /* of a block: nobody waits */
void emu_thread_begin(struct emu_thread *t, int index);
void emu_thread_end(struct emu_thread *t); /* faults if others wait for it, or copies were never waited for */
void emu_deadlock(void) __attribute__((noreturn));

/* emu_smem.cpp: memory that starts undefined and has guards */
void emu_fill(void *p, size_t bytes);
void emu_guard_set(void *p, size_t bytes);
bool emu_guard_ok(const void *p, size_t bytes);
void emu_poison(const void *p, size_t bytes);
void emu_unpoison(const void *p, size_t bytes);
struct emu_order *emu_smem_begin(size_t dynamic_bytes);
void emu_smem_end(void); /* of a block: faults if a guard was overwritten */
void emu_smem_grid_end(void);

/* emu_warp.cpp.  call[l] for each lane l of mask: results from inputs.  The lane whose call makes no sense,
 * or -1. */
int emu_warp_compute(struct emu_call *const call[32], unsigned mask);
const char *emu_op_name(enum emu_op op);

/* emu_host.cpp: memory of the device that was not made there; the runtime's last error; what machine it is */
void emu_device_range(const void *p, size_t bytes, bool add);
cudaError_t emu_error(cudaError_t error);
const struct emu_machine *emu_get_machine(void);

/* emu_pin.cpp: while kernels run, registered memory is not there at the host's addresses */
void emu_pin_hide(bool hidden);
