/* mm_tile.c - products of many rows with Q4_K, Q5_K, Q6_K and IQ4_XS panels on AMX tiles.
 *
 * The same integers and the same floats as mm_k.c, which takes the few rows.  Blocks outside, then panels,
 * then rows in steps of MM_TILE_STEP: a step is 16 products of tiles, 2 x 2 for each 64 k (two tiles of rows,
 * two planes of weights), and leaves 32 x 16 sums of two parts.  Between its products stand, a quarter at a
 * time, the last step's way to floats and, in a panel's last step, the unpacking of the next panel, so that
 * tiles and vectors are worked on beside each other.  Of one block all rows (138 KiB for 512) and sums (512
 * KiB for 16 panels) stay in L2; a panel's planes (8 KiB, unpacked once for all rows), a step's rows and its
 * sums (8 KiB each) in L1. */
#include "mm_tile.h"
#include "tile.h"

/* Up to 8 rows mm_k.c reads each weight once at the memory's pace; 9 rows would be two passes of it. */
enum { MM_TILE_FEW = 8 };

/* Tiles 0 to 3 are sums, 16 x 16 int32; 4, 5 rows; 6, 7 planes.  All are whole. */
enum { SUM_HIGH_0, SUM_LOW_0, SUM_HIGH_1, SUM_LOW_1, ROWS_0, ROWS_1, PLANE_HIGH, PLANE_LOW };

static const struct tile_config mm_tile_config = {
    .palette = 1,
    .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64},
    .n_rows = {16, 16, 16, 16, 16, 16, 16, 16},
};

struct mm_tile_run {
    const struct mm_args *a;
    struct mm_tile_scratch *scratch;
    const struct mm_tile_planes *planes; /* of the panel at hand */
    struct mm_tile_planes *next;         /* of the one after it, next_main NULL: there is none */
    const uint8_t *next_main, *next_side;
    struct mm_tile_todo todo;
};

/* 64 k of one or two tiles of rows with both planes. */
VEC void mm_tile_products(enum panel_kind kind, int n_tile, const struct mm_tile_rows *x,
                          const struct mm_tile_planes *w, int i)
{
    enum {
        ROWS = offsetof(struct mm_tile_rows, q),
        HIGH = offsetof(struct mm_tile_planes, high),
        LOW = offsetof(struct mm_tile_planes, low)
    };

    TILE_LOAD(ROWS_0, x, ROWS + i * 1024, 64);
    TILE_LOAD(PLANE_HIGH, w, HIGH + i * 1024, 64);
    if (mm_k_has_min(kind))
        TILE_DOT_SU(SUM_HIGH_0, ROWS_0, PLANE_HIGH);
    else
        TILE_DOT_SS(SUM_HIGH_0, ROWS_0, PLANE_HIGH);
    TILE_LOAD(PLANE_LOW, w, LOW + i * 1024, 64);
    TILE_DOT_SU(SUM_LOW_0, ROWS_0, PLANE_LOW);
    if (n_tile == 1)
        return;
    TILE_LOAD(ROWS_1, x, sizeof(*x) + ROWS + i * 1024, 64);
    if (mm_k_has_min(kind))
        TILE_DOT_SU(SUM_HIGH_1, ROWS_1, PLANE_HIGH);
    else
        TILE_DOT_SS(SUM_HIGH_1, ROWS_1, PLANE_HIGH);
    TILE_DOT_SU(SUM_LOW_1, ROWS_1, PLANE_LOW);
}

VEC void mm_tile_quarter(enum panel_kind kind, int n_tile, const struct mm_tile_run *run,
                         const struct mm_tile_rows *x, int i, bool unpacks)
{
    mm_tile_products(kind, n_tile, x, run->planes, i);
    if (i * ACT_TILE < run->todo.n_row)
        mm_tile_finish(kind, &run->todo, run->a->ld, i);
    if (unpacks)
        mm_tile_unpack(kind, run->next_main, run->next_side, i, run->next);
}

/* Up to 16 n_tile rows; their sums become what is to do. */
VEC void mm_tile_step(enum panel_kind kind, int n_tile, struct mm_tile_run *run, const struct mm_tile_rows *x,
                      struct mm_tile_sums *sums, bool unpacks)
{
    enum { LOW = offsetof(struct mm_tile_sums, low), SECOND = MM_TILE_ROWS * PANEL_ROWS * sizeof(int32_t) };

    TILE_ZERO(SUM_HIGH_0);
    TILE_ZERO(SUM_LOW_0);
    if (n_tile == 2) {
        TILE_ZERO(SUM_HIGH_1);
        TILE_ZERO(SUM_LOW_1);
    }
    mm_tile_quarter(kind, n_tile, run, x, 0, unpacks);
    mm_tile_quarter(kind, n_tile, run, x, 1, unpacks);
    mm_tile_quarter(kind, n_tile, run, x, 2, unpacks);
    mm_tile_quarter(kind, n_tile, run, x, 3, unpacks);
    TILE_STORE(SUM_HIGH_0, sums, 0, 64);
    TILE_STORE(SUM_LOW_0, sums, LOW, 64);
    if (n_tile == 2) {
        TILE_STORE(SUM_HIGH_1, sums, SECOND, 64);
        TILE_STORE(SUM_LOW_1, sums, LOW + SECOND, 64);
    }
}

/* All rows with block b of panel p. */
VEC void mm_tile_panel(enum panel_kind kind, struct mm_tile_run *run, int b, int p)
{
    const struct mm_args *a = run->a;
    struct mm_tile_scratch *s = run->scratch;

    for (int t = 0; t < a->n_tok; t += MM_TILE_STEP) {
        const struct mm_tile_rows *x = s->rows + t / MM_TILE_ROWS;
        struct mm_tile_sums *sums = &s->sums[run->todo.sums == &s->sums[0]];
        const int left = a->n_tok - t;
        const bool unpacks = left <= MM_TILE_STEP && run->next_main;

        mm_tile_fetch_rows(a, b + 1, t, p);
        if (left > MM_TILE_ROWS)
            mm_tile_step(kind, 2, run, x, sums, unpacks);
        else
            mm_tile_step(kind, 1, run, x, sums, unpacks);
        run->todo = (struct mm_tile_todo){
            .sums = sums,
            .planes = run->planes,
            .rows = x,
            .out = a->out + (int64_t)t * a->ld + p * PANEL_ROWS,
            .n_row = MIN(ROUND_UP(left, ACT_TILE), (int)MM_TILE_STEP),
            .keeps = b ? 1.0f : 0.0f,
        };
    }
    if (run->next_main)
        mm_tile_unpack_floats(kind, run->next_main, run->next_side, run->next);
}

/* Where block b of panel p is; past the last panel it is the first one's next block. */
VEC void mm_tile_look_ahead(enum panel_kind kind, struct mm_tile_run *run, int b, int p)
{
    const struct mm_args *a = run->a;
    const int n_block = a->n_in / 256, at_b = p < a->n_panel ? b : b + 1, at_p = p < a->n_panel ? p : 0;
    const uint8_t *panel = a->panels + (size_t)at_p * a->panel_bytes;

    run->next = &run->scratch->planes[run->planes == &run->scratch->planes[0]];
    run->next_main = at_b < n_block ? panel + at_b * panel_infos[kind].main_bytes : NULL;
    run->next_side = panel + n_block * panel_infos[kind].main_bytes + at_b * panel_infos[kind].side_bytes;
}

VEC void mm_tile(enum panel_kind kind, const struct mm_args *a)
{
    struct mm_tile_run run = {.a = a, .scratch = a->scratch};

    tile_configure(&mm_tile_config);
    mm_tile_look_ahead(kind, &run, 0, 0);
    for (int i = 0; i < 4; i++)
        mm_tile_unpack(kind, run.next_main, run.next_side, i, run.next);
    mm_tile_unpack_floats(kind, run.next_main, run.next_side, run.next);
    for (int b = 0; b < a->n_in / 256; b++) {
        mm_tile_copy_rows(kind, a, b, run.scratch->rows);
        for (int p = 0; p < a->n_panel; p++) {
            run.planes = run.next;
            mm_tile_look_ahead(kind, &run, b, p + 1);
            mm_tile_panel(kind, &run, b, p);
        }
        for (int i = 0; i * ACT_TILE < run.todo.n_row; i++)
            mm_tile_finish(kind, &run.todo, a->ld, i);
        run.todo.n_row = 0;
    }
    tile_release();
}

#define MM_TILE(name, kind)                                                                                  \
    void ISA_CAT(name, amx)(const struct mm_args *a)                                                         \
    {                                                                                                        \
        if (a->n_tok <= MM_TILE_FEW)                                                                         \
            ISA_FN(name)(a);                                                                                 \
        else                                                                                                 \
            mm_tile(kind, a);                                                                                \
    }
MM_TILE(mm_q4k, PANEL_Q4K)
MM_TILE(mm_q5k, PANEL_Q5K)
MM_TILE(mm_q6k, PANEL_Q6K)
MM_TILE(mm_iq4xs, PANEL_IQ4XS)
