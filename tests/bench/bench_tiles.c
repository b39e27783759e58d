/* bench_tiles.c - see bench_tiles.h.  Compiled with the flags of the table "amx". */
#include "bench_tiles.h"

#include <stdio.h>
#include <time.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/mm_tile.h"

enum { N_IN = 4096, N_BLOCK = N_IN / 256, N_PANEL = MM_TILE_PANELS, N_TOK = MM_ROWS_MAX };
enum { N_STEP = N_TOK / MM_TILE_STEP * N_PANEL * N_BLOCK };

struct tiles_bench {
    struct mm_args args;
    struct mm_tile_scratch *scratch;
};

static double tiles_now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* Random, and f16 in them are finite. */
static void *tiles_bytes(size_t n)
{
    uint8_t *p = aligned_alloc(64, ROUND_UP(n, (size_t)64));
    uint32_t x = 12345;

    for (size_t i = 0; p && i < ROUND_UP(n, (size_t)64); i++) {
        x = x * 1664525 + 1013904223;
        p[i] = (uint8_t)(x >> 24) & 0x3f;
    }
    return p;
}

/* The parts, each over all of an item. */

VEC void tiles_rows(enum panel_kind kind, const struct tiles_bench *bench)
{
    for (int b = 0; b < N_BLOCK; b++)
        mm_tile_copy_rows(kind, &bench->args, b, bench->scratch->rows);
}

VEC void tiles_unpack(enum panel_kind kind, const struct tiles_bench *bench)
{
    const int size = panel_infos[kind].main_bytes, side_size = panel_infos[kind].side_bytes;

    for (int b = 0; b < N_BLOCK; b++)
        for (int p = 0; p < N_PANEL; p++) {
            struct mm_tile_planes *planes = &bench->scratch->planes[p % 2];
            const uint8_t *panel = bench->args.panels + (size_t)p * bench->args.panel_bytes;
            const uint8_t *main = panel + b * size, *side = panel + N_BLOCK * size + b * side_size;
            for (int i = 0; i < 4; i++)
                mm_tile_unpack(kind, main, side, i, planes);
            mm_tile_unpack_floats(kind, main, side, planes);
        }
}

VEC void tiles_finish(enum panel_kind kind, const struct tiles_bench *bench)
{
    for (int b = 0; b < N_BLOCK; b++)
        for (int p = 0; p < N_PANEL; p++)
            for (int t = 0; t < N_TOK; t += MM_TILE_STEP) {
                const struct mm_tile_todo todo = {
                    .sums = &bench->scratch->sums[t / MM_TILE_STEP % 2],
                    .planes = &bench->scratch->planes[p % 2],
                    .rows = bench->scratch->rows + t / MM_TILE_ROWS,
                    .out = bench->args.out + (int64_t)t * bench->args.ld + p * PANEL_ROWS,
                    .n_row = MM_TILE_STEP,
                    .keeps = b ? 1.0f : 0.0f,
                };
                for (int i = 0; i < 4; i++)
                    mm_tile_finish(kind, &todo, bench->args.ld, i);
            }
}

#define TILES_KIND(name, kind)                                                                               \
    static void tiles_rows_##name(const struct tiles_bench *bench)                                           \
    {                                                                                                        \
        tiles_rows(kind, bench);                                                                             \
    }                                                                                                        \
    static void tiles_unpack_##name(const struct tiles_bench *bench)                                         \
    {                                                                                                        \
        tiles_unpack(kind, bench);                                                                           \
    }                                                                                                        \
    static void tiles_finish_##name(const struct tiles_bench *bench)                                         \
    {                                                                                                        \
        tiles_finish(kind, bench);                                                                           \
    }                                                                                                        \
    static void tiles_vnni_##name(const struct tiles_bench *bench)                                           \
    {                                                                                                        \
        mm_##name##_avx512(&bench->args);                                                                    \
    }
TILES_KIND(q4k, PANEL_Q4K)
TILES_KIND(q5k, PANEL_Q5K)
TILES_KIND(q6k, PANEL_Q6K)
TILES_KIND(iq4xs, PANEL_IQ4XS)

typedef void (*tiles_fn)(const struct tiles_bench *bench);
#define TILES_FNS(name)                                                                                      \
    {                                                                                                        \
        tiles_rows_##name, tiles_unpack_##name, tiles_finish_##name, tiles_vnni_##name                       \
    }

enum { TILES_PARTS = 4 };
static const struct {
    const char *name;
    enum panel_kind kind;
    tiles_fn parts[TILES_PARTS];
} tiles_kinds[] = {
    {"Q4_K", PANEL_Q4K, TILES_FNS(q4k)},
    {"Q5_K", PANEL_Q5K, TILES_FNS(q5k)},
    {"Q6_K", PANEL_Q6K, TILES_FNS(q6k)},
    {"IQ4_XS", PANEL_IQ4XS, TILES_FNS(iq4xs)},
};

static double tiles_best_ns(tiles_fn fn, const struct tiles_bench *bench, int reps)
{
    double best = INFINITY;

    for (int i = 0; i < reps + 1; i++) { /* the first warms up */
        const double from = tiles_now_ns();
        fn(bench);
        best = i ? fmin(best, tiles_now_ns() - from) : best;
    }
    return best;
}

static bool tiles_bench_init(struct tiles_bench *bench, enum panel_kind kind)
{
    const size_t size = panel_bytes(kind, N_IN), tile = act_tile_bytes(ACT_K256, N_IN);
    struct act256 *act = tiles_bytes(N_TOK / ACT_TILE * tile);

    for (int i = 0; act && i < N_TOK * N_BLOCK; i++)
        act[i].d = 0.01f;
    bench->args = (struct mm_args){
        .panels = tiles_bytes(N_PANEL * size + 65536), /* what is ahead may be fetched */
        .panel_bytes = size,
        .n_panel = N_PANEL,
        .n_in = N_IN,
        .n_tok = N_TOK,
        .act = (const uint8_t *)act,
        .tile_bytes = tile,
        .out = tiles_bytes(sizeof(float) * N_TOK * (size_t)cpu_sums_ld(N_PANEL)),
        .ld = cpu_sums_ld(N_PANEL),
    };
    bench->scratch = tiles_bytes(sizeof(*bench->scratch));
    return bench->args.panels && bench->args.act && bench->args.out && bench->scratch;
}

static void tiles_bench_deinit(struct tiles_bench *bench)
{
    free((void *)bench->args.panels);
    free((void *)bench->args.act);
    free(bench->args.out);
    free(bench->scratch);
}

int bench_tiles(int reps)
{
    puts("| type | rows, ns a step | unpacking | to floats | all three | the item by AVX-512 VNNI, ns a step "
         "| GOP/s |");
    puts("|---|--:|--:|--:|--:|--:|--:|");
    for (size_t i = 0; i < ARRAY_SIZE(tiles_kinds); i++) {
        struct tiles_bench bench;
        double ns[TILES_PARTS] = {0};
        const bool whole = tiles_bench_init(&bench, tiles_kinds[i].kind);
        for (int part = 0; part < TILES_PARTS && whole; part++)
            ns[part] = tiles_best_ns(tiles_kinds[i].parts[part], &bench, reps) / N_STEP;
        tiles_bench_deinit(&bench);
        if (!whole)
            return 1;
        printf("| %s | %.1f | %.1f | %.1f | %.1f | %.0f | %.0f |\n", tiles_kinds[i].name, ns[0], ns[1], ns[2],
               ns[0] + ns[1] + ns[2], ns[3], 2.0 * MM_TILE_STEP * PANEL_ROWS * 256 / ns[3]);
    }
    return 0;
}
