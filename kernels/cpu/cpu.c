/* cpu.c - opens the CPU backend: instruction set, threads, scratch; packs weights.  See cpu.h. */
#include "cpu.h"

#include <stdio.h>
#include <string.h>

#if defined(KERN_SCALAR_ONLY) /* nothing else is built */
#elif defined(__x86_64__)
#define CPU_X86_64
#include <cpuid.h>
#elif defined(__aarch64__)
#define CPU_AARCH64
#include <sys/auxv.h>
#endif

#include "amx.h"
#include "kernels/backend.h"
#include "kernels/hostmem.h"
#include "team.h"

/* instruction sets, best first */

#if defined(CPU_X86_64)
static bool cpu_has_avx2(void)
{
    unsigned a, b, c, d;

    /* the compiler's name list has F16C only from some version on; AVX2 implies that the system saves the
     * registers */
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}

static bool cpu_has_avxvnni(void)
{
    enum { AVX_VNNI = 1 << 4 }; /* leaf 7, subleaf 1, EAX */
    unsigned a, b, c, d;

    return cpu_has_avx2() && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & AVX_VNNI);
}

static bool cpu_has_avx512(void)
{
    return cpu_has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vnni");
}

static bool cpu_has_amx(void)
{
    return cpu_has_avx512() && amx_is_usable();
}
#elif defined(CPU_AARCH64)
static bool cpu_has_neon(void)
{
    return getauxval(AT_HWCAP) & HWCAP_ASIMDDP;
}

static bool cpu_has_i8mm(void)
{
    return cpu_has_neon() && (getauxval(AT_HWCAP2) & HWCAP2_I8MM);
}
#endif

static bool cpu_has_scalar(void)
{
    return true;
}

static const struct cpu_isa {
    const struct isa *isa;
    bool (*is_here)(void);
    const char *needs;
} cpu_isas[] = {
#if defined(CPU_X86_64)
    {&isa_amx, cpu_has_amx, "what avx512 needs, AMX tiles and int8, and Linux to let them be used"},
    {&isa_avx512, cpu_has_avx512, "AVX-512 F, BW, VL, DQ and VNNI"},
    {&isa_avxvnni, cpu_has_avxvnni, "AVX2, FMA, F16C and AVX-VNNI"},
    {&isa_avx2, cpu_has_avx2, "AVX2, FMA and F16C"},
#elif defined(CPU_AARCH64)
    {&isa_i8mm, cpu_has_i8mm, "dot products and I8MM"},
    {&isa_neon, cpu_has_neon, "dot products"},
#endif
    {&isa_scalar, cpu_has_scalar, "nothing"},
};

/* "avx2, scalar": all instruction sets that are built in, or those that this machine has. */
static const char *cpu_isa_names(bool here_only, char *buf, size_t size)
{
    size_t n = 0;

    buf[0] = '\0';
    for (size_t i = 0; i < ARRAY_SIZE(cpu_isas) && n < size; i++)
        if (!here_only || cpu_isas[i].is_here())
            n += (size_t)snprintf(buf + n, size - n, "%s%s", n ? ", " : "", cpu_isas[i].isa->name);
    return buf;
}

static int cpu_isa_find(const char *name, struct fault *fault, const struct isa **ret_isa)
{
    char names[64];

    for (size_t i = 0; i < ARRAY_SIZE(cpu_isas); i++) {
        const struct cpu_isa *c = &cpu_isas[i];
        if (name && strcmp(name, c->isa->name) != 0)
            continue;
        if (c->is_here()) {
            *ret_isa = c->isa;
            return KERN_OK;
        }
        if (name)
            return fault_set(fault, KERN_E_ISA, "instruction set \"%s\" needs %s; this machine has: %s", name,
                             c->needs, cpu_isa_names(true, names, sizeof(names)));
    }
    return fault_set(fault, KERN_E_ISA, "no instruction set \"%s\" in the CPU backend; it has: %s", name,
                     cpu_isa_names(false, names, sizeof(names)));
}

/* plan */

/* Cuts one allocation into 64-byte aligned parts: first run with base NULL, to learn the size. */
struct cpu_arena {
    uint8_t *base;
    size_t used;
};

static void *cpu_carve(struct cpu_arena *arena, size_t n, size_t size)
{
    uint8_t *p = arena->base ? arena->base + arena->used : NULL;

    arena->used += ROUND_UP(n * size, (size_t)64);
    return p;
}

static void cpu_carve_threads(struct cpu *cpu, struct cpu_arena *arena)
{
    const struct kern_shape *s = &cpu->kern.shape;
    const int n = cpu->kern.n_threads;
    const size_t n_sums = CPU_ROW_BLOCK * (size_t)cpu_sums_ld(cpu->isa->many_panels);
    struct cpu_thread *threads = cpu_carve(arena, (size_t)n, sizeof(*threads));

    for (int i = 0; i < n; i++) {
        struct cpu_thread t = {
            .row = cpu_carve(arena, (size_t)cpu->n_in_max, sizeof(float)),
            .sums = {cpu_carve(arena, n_sums, sizeof(float)), cpu_carve(arena, n_sums, sizeof(float))},
            .scratch = cpu_carve(arena, cpu->isa->scratch_bytes, 1),
            .cos_sin = cpu_carve(arena, (size_t)s->d_attn, sizeof(float)),
            .score = cpu_carve(arena, ATTN_HEADS * KERN_PAGE_TOK, sizeof(float)),
            .acc = cpu_carve(arena, ATTN_ROWS * ATTN_HEADS * (size_t)s->d_attn, sizeof(float)),
            .joined = cpu_carve(arena, ATTN_ROWS * ATTN_HEADS * (size_t)s->d_attn, sizeof(float)),
        };
        if (threads)
            threads[i] = t;
    }
    cpu->threads = threads;
}

/* Enough for a few rows that see the whole context; at least one row. */
static int64_t cpu_n_sections_max(const struct cpu *cpu)
{
    enum { ROWS = 16, FLOATS = 4 << 20 };
    const struct kern_shape *s = &cpu->kern.shape;
    const int64_t row = (int64_t)s->n_qh * attn_n_sections(s->max_ctx);

    if (cpu->kern.n_threads == 1 || s->max_ctx <= ATTN_SECTION)
        return 0;
    return CLAMP(FLOATS / attn_section_floats(s->d_attn), row, ROWS * row);
}

static void cpu_carve_all(struct cpu *cpu, struct cpu_arena *arena)
{
    const struct kern_shape *s = &cpu->kern.shape;
    const size_t n_tok = (size_t)ROUND_UP(s->max_tok, ACT_TILE);
    const int widest = ROUND_UP(cpu->n_in_max, 256);

    for (int i = 0; i < ACT_KIND_N; i++)
        cpu->act[i] = cpu_carve(arena, n_tok / ACT_TILE, act_tile_bytes((enum act_kind)i, widest));
    cpu->ff = cpu_carve(arena, n_tok * (size_t)s->n_ff, sizeof(float));
    cpu->mixed = cpu_carve(arena, n_tok * (size_t)((2 * s->n_kh + s->n_vh) * s->d_delta), sizeof(float));
    cpu->decay = cpu_carve(arena, n_tok * (size_t)s->n_vh, sizeof(float));
    cpu->beta = cpu_carve(arena, n_tok * (size_t)s->n_vh, sizeof(float));
    cpu->q = cpu_carve(arena, n_tok * (size_t)(s->n_qh * s->d_attn), sizeof(float));
    cpu->freq = cpu_carve(arena, (size_t)s->d_attn, sizeof(double));
    cpu->n_sections_max = cpu_n_sections_max(cpu);
    cpu->sections =
        cpu_carve(arena, (size_t)(cpu->n_sections_max * attn_section_floats(s->d_attn)), sizeof(float));
    cpu_carve_threads(cpu, arena);
}

static int cpu_plan(struct kern *kern, const struct kern_shape *shape)
{
    struct cpu *cpu = cpu_of(kern);
    const struct kern_shape *s = shape;
    struct cpu_arena arena = {0};
    int r;

    if (cpu->arena.base || s->max_tok < 1 || s->max_ctx < 1 || s->conv_k < 1 || s->n_qh % s->n_kvh ||
        s->n_vh % s->n_kh)
        return err_origin(-EINVAL);
    if (s->d_attn % 16 || s->d_delta % 16 || (s->kv_type == KERN_KV_Q8_0 && s->d_attn % 32))
        return err_origin(-EOPNOTSUPP);
    if (s->d_attn > CPU_D_MAX || s->d_delta > CPU_D_MAX)
        return err_origin(-EOPNOTSUPP);
    cpu->kern.shape = *s;
    cpu->n_in_max = MAX(MAX(s->dim, s->n_ff), MAX(s->n_qh * s->d_attn, s->n_vh * s->d_delta));
    cpu_carve_all(cpu, &arena);
    r = hostmem_alloc(kern, arena.used, KERN_MEM_STATE, &cpu->arena);
    if (r < 0)
        return r;
    arena = (struct cpu_arena){.base = cpu->arena.base};
    cpu_carve_all(cpu, &arena);
    return 0;
}

static void cpu_populate(struct kern *kern, void *at, size_t bytes)
{
    const struct kern_mem *arena = &cpu_of(kern)->arena;

    if (at)
        hostmem_populate(kern, at, bytes);
    else if (arena->base)
        hostmem_populate(kern, arena->base, arena->bytes);
}

/* matrices */

static size_t cpu_mat_bytes(struct kern *kern _unused_, enum quant_type type, enum kern_layout layout,
                            int n_out, int n_in)
{
    if (layout == KERN_ROWS)
        return (size_t)n_out * quant_row_bytes(quant_find(type), n_in);
    return (size_t)panel_n(n_out) * panel_bytes(panel_kind(type), n_in);
}

/* opening */

static void cpu_free(struct kern *kern)
{
    struct cpu *cpu = cpu_of(kern);

    pool_free(cpu->pool);
    free(cpu->pack);
    hostmem_free(kern, &cpu->arena);
    free(cpu);
}

static const struct kern_ops cpu_ops = {
    .name = "cpu",
    .plan = cpu_plan,
    .mem_alloc = hostmem_alloc,
    .mem_adopt = hostmem_adopt,
    .mem_seal = hostmem_seal,
    .mem_free = hostmem_free,
    .populate = cpu_populate,
    .make_huge = hostmem_make_huge,
    .copy_in = hostmem_copy_in,
    .copy_out = hostmem_copy_out,
    .clear = hostmem_clear,
    .copy = hostmem_copy,
    .mat_bytes = cpu_mat_bytes,
    .mat_pack = cpu_mat_pack,
    .delta_state_bytes = cpu_delta_state_bytes,
    .kv_page_bytes = cpu_kv_page_bytes,
    .embed = cpu_embed,
    .norm_proj = cpu_norm_proj,
    .proj_add = cpu_proj_add,
    .mlp = cpu_mlp,
    .delta = cpu_delta,
    .attn = cpu_attn,
    .head = cpu_head,
    .stages = cpu_stages,
    .read = cpu_read,
    .free = cpu_free,
};

int cpu_open(const struct kern_options *options, struct fault *fault, struct kern **ret_kern)
{
    const struct isa *isa = NULL;
    struct cpu *cpu;
    int r;

    if (options->n_threads < 0 || options->n_threads > POOL_THREADS_MAX)
        return fault_set(fault, KERN_E_THREADS,
                         "%d threads asked for; the CPU backend runs 1 to %d, 0 for every core",
                         options->n_threads, POOL_THREADS_MAX);
    r = cpu_isa_find(options->isa && *options->isa ? options->isa : NULL, fault, &isa);
    if (r)
        return r;
    cpu = calloc(1, sizeof(*cpu));
    if (!cpu)
        return err_origin(-ENOMEM);
    cpu->isa = isa;
    cpu->share_all = options->share_all;
    cpu->kern = (struct kern){.ops = &cpu_ops, .cut_tok = 1, .row_tile = ACT_TILE, .numerics_id = "cpu-2"};
    cpu->kern.n_threads = options->n_threads ? options->n_threads : MIN(team_n_cpus(), (int)POOL_THREADS_MAX);
    snprintf(cpu->kern.isa, sizeof(cpu->kern.isa), "%s", isa->name);
    r = pool_new(cpu->kern.n_threads, options->share_all ? cpu->kern.n_threads : 0, &cpu->pool);
    if (r < 0) {
        free(cpu);
        return r;
    }
    *ret_kern = &cpu->kern;
    return KERN_OK;
}
