/* cpu.h - the opened CPU backend: what its ops share.  Internal to kernels/cpu.
 *
 * cpu.c opens and plans, cpu_pack.c packs weights; cpu_mm.c holds the ops that multiply with weights,
 * cpu_mix.c DeltaNet and attention, cpu_phase.c decides how many threads a phase of an op is worth. */
#pragma once

#include "isa.h"
#include "pool.h"

enum {
    CPU_ROW_BLOCK = MM_ROWS_MAX, /* sums for MM_PANELS panels fill 128 KiB, a share of any L2 */
    CPU_GEMV_PANELS = 32,        /* at most, per item */
    CPU_D_MAX = 512,             /* head size */
};

enum cpu_stage {
    CPU_EMBED,
    CPU_ROWS, /* norms, quantisation */
    CPU_IN,   /* projections into a mixer */
    CPU_CONV,
    CPU_SCAN,
    CPU_ROPE,
    CPU_ATTEND,
    CPU_OUT, /* projection out of a mixer */
    CPU_GATE_UP,
    CPU_DOWN,
    CPU_HEAD,
    CPU_STAGE_N
};

/* What a phase has to do at least: bytes of weights, states and KV pages read, multiplications. */
struct cpu_work {
    enum cpu_stage stage;
    uint64_t bytes, ops;
};

/* What the running step has cost so far, by estimate; the next one is foretold from it. */
struct cpu_step {
    int n_tok;
    bool known, shared;       /* known: one step is over */
    uint64_t read_ns, row_ns; /* weights; what grows with n_tok */
};

/* What one thread needs for itself. */
struct cpu_thread {
    float *row;          /* [n_in_max] a normed row */
    float *sums[2];      /* [CPU_ROW_BLOCK][cpu_sums_ld()] products before they are stored, added or gated */
    void *scratch;       /* of mm_args */
    float *cos_sin;      /* [d_attn] */
    float *score;        /* [ATTN_HEADS][64] */
    float *acc, *joined; /* [ATTN_ROWS][ATTN_HEADS][d_attn] */
};

struct cpu {
    struct kern kern;
    const struct isa *isa;
    struct pool *pool;
    bool share_all;
    struct cpu_step step;
    struct kern_stage stages[CPU_STAGE_N];
    uint8_t *pack; /* owned, [n_threads][pack_bytes], grows with what is packed */
    size_t pack_bytes;
    int n_in_max;
    struct kern_mem arena;      /* everything below */
    struct cpu_thread *threads; /* [n_threads] */
    uint8_t *act[ACT_KIND_N];   /* tiles of max_tok rows of n_in_max */
    float *ff;                  /* [max_tok][n_ff] silu(gate) * up */
    float *mixed;               /* [max_tok][channels] DeltaNet inputs after the convolution */
    float *decay, *beta;        /* [max_tok][n_vh] */
    float *q;                   /* [max_tok][n_qh d_attn] rotated queries */
    float *sections;            /* [n_sections_max][attn_section_floats()] of rows and heads */
    int64_t n_sections_max;     /* 0: each row is one thread's */
    double *freq;               /* [n_rot / 2] of rope_base */
    float rope_base;            /* 0: freq not set */
    int n_rot;
};

/* Floats from one row's sums to the next's.  A line more than many panels fill: with 1 KiB between them the
 * rows of a step are in each other's way in L1, and take three times as long (tests/bench/bench_tiles.c, Zen
 * 5). */
static inline int cpu_sums_ld(int n_panel)
{
    return n_panel * PANEL_ROWS + (n_panel > MM_PANELS ? PANEL_ROWS : 0);
}

static inline struct cpu *cpu_of(struct kern *kern)
{
    return (struct cpu *)kern;
}

/* cpu_phase.c */
void cpu_step_begin(struct cpu *cpu, int n_tok);
int cpu_team(struct cpu *cpu, const struct cpu_work *work); /* threads that the coming phase is worth */
void cpu_phase(struct cpu *cpu, const struct cpu_work *work, int team, pool_fn fn, void *ctx, int n_items);
void cpu_read(struct kern *kern, const uint8_t *data, size_t bytes);
int cpu_stages(const struct kern *kern, struct kern_stage *ret_stages, int n_max);

/* cpu_pack.c */
int cpu_mat_pack(struct kern *kern, const struct kern_pack *pack);

/* cpu_mm.c */
int cpu_embed(struct kern *kern, const struct kern_mat *table, const int32_t *ids, int n_tok, float *x);
int cpu_norm_proj(struct kern *kern, const struct kern_norm_proj *op);
int cpu_proj_add(struct kern *kern, const struct kern_proj_add *op);
int cpu_mlp(struct kern *kern, const struct kern_mlp *op);
int cpu_head(struct kern *kern, const struct kern_head *op);

/* cpu_mix.c */
size_t cpu_delta_state_bytes(struct kern *kern);
size_t cpu_kv_page_bytes(struct kern *kern);
int cpu_delta(struct kern *kern, const struct kern_delta *op);
int cpu_attn(struct kern *kern, const struct kern_attn *op);
