/* cpu_mix.c - DeltaNet and attention: the ops that mix tokens.
 *
 * Items are heads of sequences, so that the rows of one recurrence stay with one thread and the rows of an
 * attention tile share their pages in its cache. */
#include "cpu.h"

#include <math.h>

#include "rope.h"

/* DeltaNet.  Slot: M of each value head (isa.h), then conv_k - 1 rows of channels, oldest first. */

static size_t cpu_delta_matrix_floats(const struct kern_shape *s)
{
    return (size_t)s->n_vh * (size_t)s->d_delta * (size_t)s->d_delta;
}

static int cpu_n_channels(const struct kern_shape *s)
{
    return (2 * s->n_kh + s->n_vh) * s->d_delta;
}

size_t cpu_delta_state_bytes(struct kern *kern)
{
    const struct kern_shape *s = &kern->shape;
    const size_t conv = (size_t)(s->conv_k - 1) * (size_t)cpu_n_channels(s);

    return ROUND_UP((cpu_delta_matrix_floats(s) + conv) * sizeof(float), (size_t)64);
}

enum { CPU_GATE_ROWS = 64 }; /* rows per item of the gates */

struct cpu_delta_job {
    struct cpu *cpu;
    const struct kern_delta *op;
    int n_heads, n_conv; /* all heads of a row; conv items, the gates follow */
};

static float *cpu_delta_slot(const struct cpu_delta_job *job, const struct kern_span *span)
{
    return (float *)(job->op->state + (size_t)span->slot * cpu_delta_state_bytes(&job->cpu->kern));
}

static void cpu_delta_gates(const struct cpu_delta_job *job, int t0)
{
    const struct cpu *cpu = job->cpu;
    const struct kern_delta *op = job->op;
    const int64_t n_vh = cpu->kern.shape.n_vh;

    for (int64_t t = t0; t < MIN(t0 + CPU_GATE_ROWS, op->batch->n_tok); t++)
        cpu->isa->gates(cpu->decay + t * n_vh, cpu->beta + t * n_vh, op->alpha + t * n_vh,
                        op->beta + t * n_vh, op->a, op->dt, (int)n_vh);
}

static void cpu_delta_conv_item(void *ctx, int item, int thread _unused_)
{
    const struct cpu_delta_job *job = ctx;
    const struct kern_shape *s = &job->cpu->kern.shape;
    const int d = s->d_delta;

    if (item >= job->n_conv) {
        cpu_delta_gates(job, (item - job->n_conv) * CPU_GATE_ROWS);
        return;
    }
    const struct kern_span *span = &job->op->batch->spans[item / job->n_heads];
    const int head = item % job->n_heads;
    const int64_t n_ch = cpu_n_channels(s), at = span->row0 * n_ch + head * d;
    const struct conv_args args = {
        .u = job->op->qkv + at,
        .w = job->op->conv_w + head * d,
        .y = job->cpu->mixed + at,
        .conv = cpu_delta_slot(job, span) + cpu_delta_matrix_floats(s) + head * d,
        .stride = n_ch,
        .conv_stride = n_ch,
        .n_tok = span->n_tok,
        .d = d,
        .n_tap = s->conv_k,
        .norm_scale = head < s->n_kh       ? 1.0f / sqrtf((float)d)
                      : head < 2 * s->n_kh ? 1.0f
                                           : 0.0f,
    };
    job->cpu->isa->conv(&args);
}

static void cpu_delta_scan_item(void *ctx, int item, int thread _unused_)
{
    const struct cpu_delta_job *job = ctx;
    struct cpu *cpu = job->cpu;
    const struct kern_shape *s = &cpu->kern.shape;
    const struct kern_span *span = &job->op->batch->spans[item / s->n_vh];
    const int d = s->d_delta, h = item % s->n_vh;
    const int64_t n_ch = cpu_n_channels(s), row = span->row0;
    const float *mixed = cpu->mixed + row * n_ch;
    const struct scan_args args = {
        .q = mixed + h % s->n_kh * d,
        .k = mixed + (s->n_kh + h % s->n_kh) * d,
        .v = mixed + (2 * s->n_kh + h) * d,
        .decay = cpu->decay + row * s->n_vh + h,
        .beta = cpu->beta + row * s->n_vh + h,
        .z = job->op->z + (row * s->n_vh + h) * d,
        .norm_w = job->op->norm_w,
        .m = cpu_delta_slot(job, span) + (int64_t)h * d * d,
        .out = job->op->out + (row * s->n_vh + h) * d,
        .stride = n_ch,
        .z_stride = (int64_t)s->n_vh * d,
        .n_tok = span->n_tok,
        .d = d,
        .n_vh = s->n_vh,
        .eps = job->op->eps,
    };
    cpu->isa->scan(&args);
}

int cpu_delta(struct kern *kern, const struct kern_delta *op)
{
    struct cpu *cpu = cpu_of(kern);
    const struct kern_shape *s = &kern->shape;
    struct cpu_delta_job job = {.cpu = cpu, .op = op, .n_heads = 2 * s->n_kh + s->n_vh};
    const uint64_t n_tok = (uint64_t)op->batch->n_tok, matrix = cpu_delta_matrix_floats(s);
    const struct cpu_work conv = {.stage = CPU_CONV,
                                  .ops = n_tok * (uint64_t)cpu_n_channels(s) * (uint64_t)s->conv_k};
    const struct cpu_work scan = {.stage = CPU_SCAN,
                                  .bytes = (uint64_t)op->batch->n_span * matrix * sizeof(float),
                                  .ops = n_tok * matrix * 4};

    if (op->batch->n_tok > s->max_tok)
        return err_origin(-EINVAL);
    job.n_conv = op->batch->n_span * job.n_heads;
    cpu_phase(cpu, &conv, cpu_team(cpu, &conv), cpu_delta_conv_item, &job,
              job.n_conv + CEIL_DIV(op->batch->n_tok, CPU_GATE_ROWS));
    cpu_phase(cpu, &scan, cpu_team(cpu, &scan), cpu_delta_scan_item, &job, op->batch->n_span * s->n_vh);
    return 0;
}

/* Attention.  Page: [n_kvh] heads as isa.h has them. */

struct cpu_attn_job {
    struct cpu *cpu;
    const struct kern_attn *op;
    struct kv_head head;
    size_t page_bytes;
    int n_section; /* of a row with the most; 0: each row's are one thread's */
};

static struct kv_head cpu_kv_head(const struct kern_shape *s)
{
    return (struct kv_head){.type = s->kv_type, .d = s->d_attn};
}

size_t cpu_kv_page_bytes(struct kern *kern)
{
    return 2 * (size_t)kern->shape.n_kvh * kv_half_bytes(cpu_kv_head(&kern->shape));
}

static uint8_t *cpu_kv_at(const struct cpu_attn_job *job, int32_t page, int kv_head)
{
    return job->op->kv + (size_t)page * job->page_bytes + (size_t)kv_head * 2 * kv_half_bytes(job->head);
}

static const struct kern_span *cpu_span_of_row(const struct kern_batch *batch, int row)
{
    const struct kern_span *span = batch->spans;

    while (row >= span->row0 + span->n_tok)
        span++;
    return span;
}

/* One row: k and v into its page, q rotated and scaled. */
static void cpu_attn_row(void *ctx, int t, int thread)
{
    const struct cpu_attn_job *job = ctx;
    struct cpu *cpu = job->cpu;
    const struct kern_attn *op = job->op;
    const struct kern_shape *s = &cpu->kern.shape;
    const struct kern_span *span = cpu_span_of_row(op->batch, t);
    const int d = s->d_attn, pos = span->pos0 + t - span->row0;
    float *cos_sin = cpu->threads[thread].cos_sin, *k = cpu->threads[thread].acc;

    rope_angles(cpu->freq, op->n_rot / 2, pos, cos_sin);
    for (int h = 0; h < s->n_kvh; h++) {
        const int64_t at = ((int64_t)t * s->n_kvh + h) * d;
        cpu->isa->rope(k, op->k + at, op->k_norm, d, op->eps, op->n_rot, cos_sin, 1.0f);
        cpu->isa->kv_put(job->head, cpu_kv_at(job, span->pages[pos / KERN_PAGE_TOK], h), pos % KERN_PAGE_TOK,
                         k, op->v + at);
    }
    for (int h = 0; h < s->n_qh; h++) {
        const int64_t at = ((int64_t)t * s->n_qh + h) * d;
        cpu->isa->rope(cpu->q + at, op->q + 2 * at, op->q_norm, d, op->eps, op->n_rot, cos_sin,
                       1.0f / sqrtf((float)d));
    }
}

/* Of rows t .. of a span. */
static struct attn_args cpu_attn_args(const struct cpu_attn_job *job, const struct kern_span *span, int t,
                                      int kv_head, int thread)
{
    struct cpu *cpu = job->cpu;
    const struct kern_shape *s = &cpu->kern.shape;
    const int group = s->n_qh / s->n_kvh;
    const int64_t head = (int64_t)t * s->n_qh + kv_head * group, at = head * s->d_attn;
    const int64_t n_section = (int64_t)job->n_section * attn_section_floats(s->d_attn);

    return (struct attn_args){
        .head = job->head,
        .n_head = group,
        .n_pos = span->pos0 + t - span->row0 + 1,
        .stride = (int64_t)s->n_qh * s->d_attn,
        .pages = span->pages,
        .kv = cpu_kv_at(job, 0, kv_head),
        .page_bytes = job->page_bytes,
        .q = cpu->q + at,
        .gate = job->op->q + 2 * at + s->d_attn,
        .gate_stride = 2 * s->d_attn,
        .out = job->op->out + at,
        .score = cpu->threads[thread].score,
        .acc = cpu->threads[thread].acc,
        .joined = cpu->threads[thread].joined,
        .section = -1,
        .sections = cpu->sections + head * n_section,
        .n_section = job->n_section,
        .section_stride = s->n_qh * n_section,
    };
}

/* Blocks of rows that do not cross a span. */
struct cpu_attn_block {
    const struct kern_span *span;
    int t0, n_row; /* t0: within the span */
    int n_section;
};

static struct cpu_attn_block cpu_attn_block(const struct kern_span *span, int t0)
{
    const int n_row = MIN((int)ATTN_ROWS, span->n_tok - t0);

    return (struct cpu_attn_block){
        .span = span, .t0 = t0, .n_row = n_row, .n_section = attn_n_sections(span->pos0 + t0 + n_row)};
}

/* Items: blocks, times KV heads, times sections where these are shared out; *item becomes what is left within
 * the block. */
static struct cpu_attn_block cpu_attn_find(const struct cpu_attn_job *job, int *item)
{
    const int n_kvh = job->cpu->kern.shape.n_kvh;
    const struct kern_span *span = job->op->batch->spans;

    for (int t0 = 0;; t0 += ATTN_ROWS) {
        if (t0 >= span->n_tok) {
            span++;
            t0 = 0;
        }
        const struct cpu_attn_block block = cpu_attn_block(span, t0);
        const int n = n_kvh * (job->n_section ? block.n_section : 1);
        if (*item < n)
            return block;
        *item -= n;
    }
}

static void cpu_attn_item(void *ctx, int item, int thread)
{
    const struct cpu_attn_job *job = ctx;
    const struct cpu_attn_block block = cpu_attn_find(job, &item);
    const int n = job->n_section ? block.n_section : 1;
    struct attn_args args = cpu_attn_args(job, block.span, block.span->row0 + block.t0, item / n, thread);

    args.n_row = block.n_row;
    if (job->n_section)
        args.section = item % n;
    job->cpu->isa->attn(&args);
}

/* Items: rows, times KV heads. */
static void cpu_attn_join_item(void *ctx, int item, int thread)
{
    const struct cpu_attn_job *job = ctx;
    const int n_kvh = job->cpu->kern.shape.n_kvh, t = item / n_kvh;
    struct attn_args args = cpu_attn_args(job, cpu_span_of_row(job->op->batch, t), t, item % n_kvh, thread);

    args.n_row = 1;
    job->cpu->isa->attn_join(&args);
}

static void cpu_attn_freqs(struct cpu *cpu, float base, int n_rot)
{
    if (cpu->rope_base == base && cpu->n_rot == n_rot)
        return;
    rope_freqs((double)base, n_rot, cpu->freq);
    cpu->rope_base = base;
    cpu->n_rot = n_rot;
}

/* Each span's pages once, and each row with the positions it sees. */
static struct cpu_work cpu_attn_work(const struct kern_shape *s, const struct kern_batch *batch,
                                     size_t page_bytes)
{
    struct cpu_work work = {.stage = CPU_ATTEND};

    for (int i = 0; i < batch->n_span; i++) {
        const struct kern_span *span = &batch->spans[i];
        const uint64_t n_pos = (uint64_t)(span->pos0 + span->n_tok);
        const uint64_t seen =
            (uint64_t)span->n_tok * (2 * (uint64_t)span->pos0 + (uint64_t)span->n_tok + 1) / 2;
        work.bytes += page_bytes * n_pos / KERN_PAGE_TOK;
        work.ops += seen * 2 * (uint64_t)(s->n_qh * s->d_attn);
    }
    return work;
}

/* The items of the attention phase.  Where there are too few for the team to end together, sections are
 * items. */
static int cpu_attn_plan(struct cpu_attn_job *job, int team)
{
    enum { ITEMS_EACH = 4 };
    const struct kern_shape *s = &job->cpu->kern.shape;
    const struct kern_batch *batch = job->op->batch;
    int n_blocks = 0, n_sections = 0, most = 0;

    for (int i = 0; i < batch->n_span; i++)
        for (int t0 = 0; t0 < batch->spans[i].n_tok; t0 += ATTN_ROWS, n_blocks++) {
            const struct cpu_attn_block block = cpu_attn_block(&batch->spans[i], t0);
            n_sections += block.n_section;
            most = MAX(most, block.n_section);
        }
    if (team == 1 || most == 1 || n_blocks * s->n_kvh >= ITEMS_EACH * team ||
        (int64_t)batch->n_tok * s->n_qh * most > job->cpu->n_sections_max)
        return n_blocks * s->n_kvh;
    job->n_section = most;
    return n_sections * s->n_kvh;
}

int cpu_attn(struct kern *kern, const struct kern_attn *op)
{
    struct cpu *cpu = cpu_of(kern);
    const struct kern_shape *s = &kern->shape;
    struct cpu_attn_job job = {
        .cpu = cpu, .op = op, .head = cpu_kv_head(s), .page_bytes = cpu_kv_page_bytes(kern)};
    const struct cpu_work rope = {
        .stage = CPU_ROPE, .ops = (uint64_t)op->batch->n_tok * (uint64_t)((s->n_qh + s->n_kvh) * s->d_attn)};
    const struct cpu_work attend = cpu_attn_work(s, op->batch, cpu_kv_page_bytes(kern));
    int team, n_items;

    if (op->batch->n_tok > s->max_tok || op->n_rot > s->d_attn)
        return err_origin(-EINVAL);
    cpu_attn_freqs(cpu, op->rope_base, op->n_rot);
    cpu_phase(cpu, &rope, cpu_team(cpu, &rope), cpu_attn_row, &job, op->batch->n_tok);
    team = cpu_team(cpu, &attend);
    n_items = cpu_attn_plan(&job, team);
    cpu_phase(cpu, &attend, team, cpu_attn_item, &job, n_items);
    if (job.n_section) {
        const struct cpu_work join = {.stage = CPU_ATTEND,
                                      .ops = (uint64_t)op->batch->n_tok * (uint64_t)job.n_section *
                                             (uint64_t)(s->n_qh * s->d_attn)};
        cpu_phase(cpu, &join, cpu_team(cpu, &join), cpu_attn_join_item, &job, op->batch->n_tok * s->n_kvh);
    }
    return 0;
}
