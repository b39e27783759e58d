/* cpu_mm.c - the ops that multiply with weights: projections, MLP, head, and the embedding's row gather.
 *
 * An op is two or three phases of the pool: rows are normed and quantised once, for every kind of activation
 * that the op's matrices want; then groups of panels of all its matrices are one list of items.  Weights are
 * read once per step of up to CPU_ROW_BLOCK rows. */
#include "cpu.h"

#include <string.h>

/* embedding */

struct cpu_embed {
    const struct kern_mat *table;
    const int32_t *ids;
    float *x;
};

static void cpu_embed_row(void *ctx, int t, int thread _unused_)
{
    const struct cpu_embed *e = ctx;
    const struct kern_mat *m = e->table;
    const enum panel_kind kind = panel_kind(m->type);
    float *x = e->x + (int64_t)t * m->n_in;
    const size_t id = (size_t)e->ids[t];

    if (m->layout == KERN_ROWS)
        quant_dequantise(m->type, m->data + id * quant_row_bytes(quant_find(m->type), m->n_in), x, m->n_in);
    else
        panel_read_row(kind, m->data + id / PANEL_ROWS * panel_bytes(kind, m->n_in), m->n_in,
                       (int)(id % PANEL_ROWS), x);
}

int cpu_embed(struct kern *kern, const struct kern_mat *table, const int32_t *ids, int n_tok, float *x)
{
    struct cpu_embed e = {.table = table, .ids = ids, .x = x};
    const struct cpu_work work = {.stage = CPU_EMBED, .ops = (uint64_t)n_tok * (uint64_t)table->n_in};

    for (int t = 0; t < n_tok; t++)
        if (ids[t] < 0 || ids[t] >= table->n_out)
            return err_origin(-EINVAL);
    cpu_step_begin(cpu_of(kern), n_tok);
    cpu_phase(cpu_of(kern), &work, cpu_team(cpu_of(kern), &work), cpu_embed_row, &e, n_tok);
    return 0;
}

/* rows to activations */

struct cpu_rows {
    struct cpu *cpu;
    const float *x;
    const int *rows;     /* NULL: row t */
    const float *norm_w; /* NULL: as they are */
    float *normed;       /* NULL: not kept */
    float eps;
    int n_in;
    bool want[ACT_KIND_N];
};

static void cpu_rows_one(void *ctx, int t, int thread)
{
    const struct cpu_rows *r = ctx;
    struct cpu *cpu = r->cpu;
    const float *x = r->x + (int64_t)(r->rows ? r->rows[t] : t) * r->n_in;

    if (r->norm_w) {
        float *to = r->normed ? r->normed + (int64_t)t * r->n_in : cpu->threads[thread].row;
        cpu->isa->rms(to, x, r->norm_w, r->n_in, r->eps);
        x = to;
    }
    for (int kind = 0; kind < ACT_KIND_N; kind++)
        if (r->want[kind])
            cpu->isa->act[kind](cpu->act[kind] +
                                    (size_t)(t / ACT_TILE) * act_tile_bytes((enum act_kind)kind, r->n_in),
                                t % ACT_TILE, x, r->n_in);
}

static int cpu_rows(struct cpu_rows *r, int n_tok, const struct kern_mat *const *mats, int n_mat)
{
    const struct cpu_work work = {.stage = CPU_ROWS, .ops = (uint64_t)n_tok * (uint64_t)r->n_in};

    for (int i = 0; i < n_mat; i++) {
        if (mats[i]->n_in != r->n_in || r->n_in > r->cpu->n_in_max || n_tok > r->cpu->kern.shape.max_tok)
            return err_origin(-EINVAL);
        r->want[panel_infos[panel_kind(mats[i]->type)].act] = true;
    }
    cpu_phase(r->cpu, &work, cpu_team(r->cpu, &work), cpu_rows_one, r, n_tok);
    return 0;
}

/* products */

enum cpu_then {
    CPU_STORE,
    CPU_ADD,
    CPU_SWIGLU
}; /* what becomes of the sums; SWIGLU: mats[0] gate, mats[1] up */

struct cpu_mm {
    struct cpu *cpu;
    enum cpu_stage stage;
    int team;
    int n_tok, n_mat, n_list; /* n_list: matrices that make items of their own (SWIGLU: 1) */
    enum cpu_then then;
    const struct kern_mat *mats[KERN_PROJ_MAX];
    float *out[KERN_PROJ_MAX];
    int group[KERN_PROJ_MAX]; /* panels per item */
    int n_items[KERN_PROJ_MAX];
};

static const uint8_t *cpu_mm_panel(const struct kern_mat *mat, int p)
{
    return mat->data + (size_t)p * panel_bytes(panel_kind(mat->type), mat->n_in);
}

/* Sums of n_panel panels from p0 on with rows t0.. into own->sums[i_sums]; next as in mm_args. */
static void cpu_mm_sums(const struct cpu_mm *mm, const struct kern_mat *mat, int p0, int n_panel,
                        const uint8_t *next, int t0, int n_tok, const struct cpu_thread *own, int i_sums)
{
    const enum panel_kind kind = panel_kind(mat->type);
    const enum act_kind act = panel_infos[kind].act;
    const size_t tile = act_tile_bytes(act, mat->n_in), size = panel_bytes(kind, mat->n_in);
    const struct mm_args args = {
        .panels = cpu_mm_panel(mat, p0),
        .panel_bytes = size,
        .next = next,
        .n_panel = n_panel,
        .n_in = mat->n_in,
        .n_tok = n_tok,
        .act = mm->cpu->act[act] + (size_t)(t0 / ACT_TILE) * tile,
        .tile_bytes = tile,
        .out = own->sums[i_sums],
        .ld = cpu_sums_ld(n_panel),
        .scratch = own->scratch,
    };

    mm->cpu->isa->mm[kind](&args);
}

static void cpu_mm_then(const struct cpu_mm *mm, int i, int p0, int n_panel, int t0, int n_tok,
                        float *const *sums)
{
    const int n_out = mm->mats[i]->n_out, row0 = p0 * PANEL_ROWS, n = MIN(n_panel * PANEL_ROWS, n_out - row0);
    const int64_t ld = cpu_sums_ld(n_panel);

    for (int t = 0; t < n_tok; t++) {
        const float *sum = sums[0] + t * ld;
        float *out = mm->out[i] + (int64_t)(t0 + t) * n_out + row0;
        if (mm->then == CPU_SWIGLU)
            mm->cpu->isa->swiglu(out, sum, sums[1] + t * ld, n);
        else if (mm->then == CPU_STORE)
            memcpy(out, sum, (size_t)n * sizeof(float));
        else
            for (int j = 0; j < n; j++)
                out[j] += sum[j];
    }
}

static void cpu_mm_item(void *ctx, int item, int thread)
{
    const struct cpu_mm *mm = ctx;
    const struct cpu_thread *own = &mm->cpu->threads[thread];
    int i = 0;

    while (item >= mm->n_items[i])
        item -= mm->n_items[i++];
    const struct kern_mat *mat = mm->mats[i], *up = mm->then == CPU_SWIGLU ? mm->mats[1] : NULL;
    const int p0 = item * mm->group[i], n_panel = MIN(mm->group[i], panel_n(mat->n_out) - p0);
    for (int t = 0; t < mm->n_tok; t += CPU_ROW_BLOCK) {
        const int n_tok = MIN(CPU_ROW_BLOCK, mm->n_tok - t);
        cpu_mm_sums(mm, mat, p0, n_panel, up ? cpu_mm_panel(up, p0) : NULL, t, n_tok, own, 0);
        if (up)
            cpu_mm_sums(mm, up, p0, n_panel, cpu_mm_panel(mat, p0 + n_panel), t, n_tok, own, 1);
        cpu_mm_then(mm, i, p0, n_panel, t, n_tok, own->sums);
    }
}

/* Few rows: 128 KiB of weights per item; many: as many panels as the instruction set is best with.  Less
 * where that would leave a thread without work at the end of the phase. */
static int cpu_mm_group(const struct cpu_mm *mm, const struct kern_mat *mat)
{
    const int n_panel = panel_n(mat->n_out), share = mm->team > 1 ? CEIL_DIV(n_panel, 4 * mm->team) : n_panel;
    const enum panel_kind kind = panel_kind(mat->type);
    const size_t size = panel_bytes(kind, mat->n_in);

    if (mm->n_tok > ACT_TILE && panel_infos[kind].act == ACT_K256)
        return CLAMP(share, (int)MM_PANELS, mm->cpu->isa->many_panels);
    if (mm->n_tok > ACT_TILE)
        return MM_PANELS;
    return CLAMP(MIN((int)(131072 / size), share), 1, CPU_GEMV_PANELS);
}

static void cpu_mm_run(struct cpu_mm *mm)
{
    struct cpu_work work = {.stage = mm->stage};
    int n_items = 0;

    for (int i = 0; i < mm->n_mat; i++) {
        work.bytes += mm->mats[i]->bytes;
        work.ops += (uint64_t)mm->n_tok * (uint64_t)mm->mats[i]->n_out * (uint64_t)mm->mats[i]->n_in;
    }
    mm->team = cpu_team(mm->cpu, &work);
    for (int i = 0; i < mm->n_list; i++) {
        mm->group[i] = cpu_mm_group(mm, mm->mats[i]);
        mm->n_items[i] = CEIL_DIV(panel_n(mm->mats[i]->n_out), mm->group[i]);
        n_items += mm->n_items[i];
    }
    cpu_phase(mm->cpu, &work, mm->team, cpu_mm_item, mm, n_items);
}

int cpu_norm_proj(struct kern *kern, const struct kern_norm_proj *op)
{
    struct cpu *cpu = cpu_of(kern);
    struct cpu_rows rows = {
        .cpu = cpu, .x = op->x, .norm_w = op->norm_w, .eps = op->eps, .n_in = cpu->kern.shape.dim};
    struct cpu_mm mm = {.cpu = cpu,
                        .stage = CPU_IN,
                        .n_tok = op->n_tok,
                        .n_mat = op->n_mat,
                        .n_list = op->n_mat,
                        .then = CPU_STORE};
    int r;

    for (int i = 0; i < op->n_mat; i++) {
        mm.mats[i] = op->mats[i];
        mm.out[i] = op->out[i];
    }
    r = cpu_rows(&rows, op->n_tok, op->mats, op->n_mat);
    if (r == 0)
        cpu_mm_run(&mm);
    return r;
}

static int cpu_add(struct cpu *cpu, enum cpu_stage stage, const float *y, const struct kern_mat *mat,
                   int n_tok, float *x)
{
    struct cpu_rows rows = {.cpu = cpu, .x = y, .n_in = mat->n_in};
    struct cpu_mm mm = {.cpu = cpu,
                        .stage = stage,
                        .n_tok = n_tok,
                        .n_mat = 1,
                        .n_list = 1,
                        .then = CPU_ADD,
                        .mats = {mat},
                        .out = {x}};
    const int r = cpu_rows(&rows, n_tok, &mat, 1);

    if (r == 0)
        cpu_mm_run(&mm);
    return r;
}

int cpu_proj_add(struct kern *kern, const struct kern_proj_add *op)
{
    return cpu_add(cpu_of(kern), CPU_OUT, op->y, op->mat, op->n_tok, op->x);
}

int cpu_mlp(struct kern *kern, const struct kern_mlp *op)
{
    struct cpu *cpu = cpu_of(kern);
    struct cpu_rows rows = {
        .cpu = cpu, .x = op->x, .norm_w = op->norm_w, .eps = op->eps, .n_in = cpu->kern.shape.dim};
    struct cpu_mm mm = {
        .cpu = cpu,
        .stage = CPU_GATE_UP,
        .n_tok = op->n_tok,
        .n_mat = 2,
        .n_list = 1,
        .then = CPU_SWIGLU,
        .mats = {op->gate, op->up},
        .out = {cpu->ff},
    };
    int r;

    if (op->gate->n_out != op->up->n_out || op->gate->n_out != cpu->kern.shape.n_ff)
        return err_origin(-EINVAL);
    r = cpu_rows(&rows, op->n_tok, mm.mats, 2);
    if (r < 0)
        return r;
    cpu_mm_run(&mm);
    return cpu_add(cpu, CPU_DOWN, cpu->ff, op->down, op->n_tok, op->x);
}

int cpu_head(struct kern *kern, const struct kern_head *op)
{
    struct cpu *cpu = cpu_of(kern);
    struct cpu_rows rows = {
        .cpu = cpu,
        .x = op->x,
        .rows = op->rows,
        .norm_w = op->norm_w,
        .normed = op->hidden,
        .eps = op->eps,
        .n_in = cpu->kern.shape.dim,
    };
    struct cpu_mm mm = {
        .cpu = cpu,
        .stage = CPU_HEAD,
        .n_tok = op->n_rows,
        .n_mat = 1,
        .n_list = 1,
        .then = CPU_STORE,
        .mats = {op->mat},
        .out = {op->logits},
    };
    const int r = cpu_rows(&rows, op->n_rows, &op->mat, 1);

    if (r == 0)
        cpu_mm_run(&mm);
    return r;
}
