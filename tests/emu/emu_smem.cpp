/* emu_smem.cpp - a block's shared memory, and how memory is made undefined and guarded.
 *
 * Undefined bytes are NaNs of f32, f16 and bf16, or random bits of a seed: a value that depends on them
 * differs between two runs.  Guards lie between arrays: poisoned under ASan, a pattern that is checked when
 * the block ends otherwise. */
#include "emu_run.h"

#include <stdio.h>
#include <stdlib.h>

#ifdef EMU_ASAN
extern "C" void __asan_poison_memory_region(void const volatile *p, size_t bytes);
extern "C" void __asan_unpoison_memory_region(void const volatile *p, size_t bytes);
#endif

enum {
    SMEM_ARENA = 256 << 10,
    SMEM_ORDER = 252 << 10,
    SMEM_ARRAYS = 32,
    SMEM_GUARD_BYTE = 0xc5,
    SMEM_GRID_BLOCKS = 4096
};

struct smem_array {
    const void *key; /* NULL: the dynamic part */
    const char *name, *file;
    int line;
    size_t offset, bytes;
};

static struct {
    uint8_t *base; /* the running block's */
    struct smem_array arrays[SMEM_ARRAYS];
    int n_arrays;
    size_t used, declared; /* with and without guards */
    uint64_t fill_seed;    /* 0: NaNs */
    uint64_t n_filled;
} smem;

void emu_set_fill(const char *fill)
{
    char *end;

    smem.fill_seed = 0;
    if (!strcmp(fill, "nan"))
        return;
    smem.fill_seed = strtoull(fill, &end, 10);
    if (*end || end == fill || !smem.fill_seed)
        emu_fault("EMU_FILL is '%s', not nan or a seed from 1", fill);
}

/* No two words are alike, so that differences of undefined values do not vanish. */
void emu_fill(void *p, size_t bytes)
{
    volatile uint8_t *const at = static_cast<volatile uint8_t *>(p);
    uint64_t word = 0;

    for (size_t i = 0; i < bytes; i++) {
        if (i % 4 == 0) {
            word = (smem.n_filled++ + smem.fill_seed) * 0x9e3779b97f4a7c15u;
            word = (word ^ word >> 29) * 0xbf58476d1ce4e5b9u >> 32;
            if (!smem.fill_seed)
                word = (word & 0x007f007f) | 0x7f817f81;
        }
        at[i] = uint8_t(word >> i % 4 * 8);
    }
}

void emu_guard_set(void *p, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        static_cast<volatile uint8_t *>(p)[i] = SMEM_GUARD_BYTE;
}

bool emu_guard_ok(const void *p, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (static_cast<const volatile uint8_t *>(p)[i] != SMEM_GUARD_BYTE)
            return false;
    return true;
}

void emu_poison(const void *p, size_t bytes)
{
#ifdef EMU_ASAN
    __asan_poison_memory_region(p, bytes);
#endif
}

void emu_unpoison(const void *p, size_t bytes)
{
#ifdef EMU_ASAN
    __asan_unpoison_memory_region(p, bytes);
#endif
}

/* Under TSan every block of a grid has bytes of its own: the next block's use of them is no race with this
 * one's. */
static_assert(SMEM_ORDER + sizeof(struct emu_order) <= SMEM_ARENA,
              "the order's addresses lie behind the arrays");
static_assert(EMU_SMEM_OPT_IN + (SMEM_ARRAYS + 1) * EMU_GUARD <= SMEM_ORDER,
              "all arrays fit with their guards");
static uint8_t *smem_arena(void)
{
#ifdef EMU_TSAN
    return static_cast<uint8_t *>(aligned_alloc(1024, SMEM_ARENA));
#else
    alignas(1024) static uint8_t arena[SMEM_ARENA];
    return arena;
#endif
}

#ifdef EMU_TSAN
static void *smem_blocks[SMEM_GRID_BLOCKS];
static int smem_n_blocks;
#endif

static struct smem_array *smem_add(const void *key, size_t bytes, const char *name, const char *file,
                                   int line)
{
    struct smem_array *a = &smem.arrays[smem.n_arrays];
    const size_t padded = (bytes + 15) / 16 * 16;

    if (smem.n_arrays == SMEM_ARRAYS || smem.declared + padded > EMU_SMEM_OPT_IN)
        emu_fault("%s[%zu bytes] at %s:%d: a block has %d bytes of shared memory, %zu are taken", name, bytes,
                  file, line, EMU_SMEM_OPT_IN, smem.declared);
    if (smem.declared + padded > EMU_SMEM_PLAIN && key)
        emu_fault("%s[%zu bytes] at %s:%d: more than %d bytes of shared memory must be dynamic", name, bytes,
                  file, line, EMU_SMEM_PLAIN);
    *a = smem_array{key, name, file, line, smem.used, bytes};
    emu_unpoison(smem.base + a->offset, padded + EMU_GUARD);
    emu_fill(smem.base + a->offset, bytes);
    emu_guard_set(smem.base + a->offset + bytes, padded - bytes + EMU_GUARD);
    emu_poison(smem.base + a->offset + bytes, padded - bytes + EMU_GUARD);
    smem.used += padded + EMU_GUARD;
    smem.declared += padded;
    smem.n_arrays++;
    return a;
}

struct emu_order *emu_smem_begin(size_t dynamic_bytes)
{
    smem.base = smem_arena();
#ifdef EMU_TSAN
    if (smem_n_blocks == SMEM_GRID_BLOCKS)
        emu_fault("under TSan a grid has at most %d blocks", SMEM_GRID_BLOCKS);
    smem_blocks[smem_n_blocks++] = smem.base;
#endif
    smem.n_arrays = 0;
    smem.declared = 0;
    smem.used = EMU_GUARD;
    emu_unpoison(smem.base, EMU_GUARD);
    emu_guard_set(smem.base, EMU_GUARD);
    emu_poison(smem.base, SMEM_ARENA);
    if (dynamic_bytes)
        smem_add(NULL, dynamic_bytes, "dynamic shared memory", emu_block.grid->name, 0);
    return reinterpret_cast<struct emu_order *>(smem.base + SMEM_ORDER);
}

void emu_smem_end(void)
{
    emu_unpoison(smem.base, SMEM_ARENA);
    if (!emu_guard_ok(smem.base, EMU_GUARD))
        emu_fault("%s: wrote before the first shared array", emu_block.grid->name);
    for (int i = 0; i < smem.n_arrays; i++) {
        const struct smem_array *a = &smem.arrays[i];
        const size_t end = (a->offset + a->bytes + 15) / 16 * 16 + EMU_GUARD;
        if (!emu_guard_ok(smem.base + a->offset + a->bytes, end - a->offset - a->bytes))
            emu_fault("%s: block (%u,%u,%u) wrote past %s[%zu bytes] of %s:%d", emu_block.grid->name,
                      emu_place.block_idx.x, emu_place.block_idx.y, emu_place.block_idx.z, a->name, a->bytes,
                      a->file, a->line);
    }
}

void emu_smem_grid_end(void)
{
#ifdef EMU_TSAN
    while (smem_n_blocks)
        free(smem_blocks[--smem_n_blocks]);
#endif
}

void *emu_smem(const void *key, size_t bytes, const char *name, const char *file, int line)
{
    for (int i = 0; i < smem.n_arrays; i++)
        if (smem.arrays[i].key == key)
            return smem.base + smem.arrays[i].offset;
    return smem.base + smem_add(key, bytes, name, file, line)->offset;
}

void *emu_smem_dynamic(void)
{
    if (!smem.n_arrays || smem.arrays[0].key)
        emu_fault("uses dynamic shared memory, of which the launch asked for none");
    return smem.base + smem.arrays[0].offset;
}

void emu_need_smem(const void *p, size_t bytes, const char *what, const char *file, int line)
{
    const uint8_t *const at = static_cast<const uint8_t *>(p);

    if (reinterpret_cast<uintptr_t>(p) % bytes)
        emu_fault("%s at %s:%d: the address is not aligned to %zu bytes", what, file, line, bytes);
    for (int i = 0; i < smem.n_arrays; i++) {
        const uint8_t *const array = smem.base + smem.arrays[i].offset;
        if (at >= array && at + bytes <= array + smem.arrays[i].bytes)
            return;
    }
    emu_fault("%s at %s:%d: the address is in no array of shared memory", what, file, line);
}
