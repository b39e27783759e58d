/* emu_warp.cpp - what the collectives of a warp compute, once all their lanes are there.
 *
 * Fragments of matrices as in the PTX ISA, "Matrix fragments for mma.m16n8k16 / m16n8k32" and "ldmatrix". */
#include "emu_run.h"

const char *emu_op_name(enum emu_op op)
{
    static const char *const names[] = {"__syncwarp",        "__shfl_sync",       "__shfl_up_sync",
                                        "__shfl_down_sync",  "__shfl_xor_sync",   "a vote",
                                        "__match_any_sync",  "__match_all_sync",  "__reduce_add_sync",
                                        "__reduce_min_sync", "__reduce_max_sync", "__reduce_min_sync",
                                        "__reduce_max_sync", "ldmatrix",          "mma s8",
                                        "mma f16",           "mma bf16"};

    return names[op];
}

/* Where lane l's value comes from; itself where the hardware says "out of range". */
static int warp_source(const struct emu_call *c, int lane)
{
    const int first = lane & ~(c->n - 1), last = first + c->n - 1;
    int from;

    switch (c->op) {
    case EMU_SHFL:
        return first | (c->arg & (c->n - 1));
    case EMU_SHFL_UP:
        from = lane - c->arg;
        return from < first ? lane : from;
    case EMU_SHFL_DOWN:
        from = lane + c->arg;
        return from > last ? lane : from;
    default:
        from = lane ^ c->arg;
        return from > last ? lane : from;
    }
}

static int warp_shuffle(struct emu_call *const call[32], unsigned mask)
{
    uint64_t out[32];

    for (int l = 0; l < 32; l++) {
        if (!(mask >> l & 1))
            continue;
        const int from = warp_source(call[l], l);
        if (from < 0 || from > 31 || !(mask >> from & 1))
            return l;
        out[l] = call[from]->value;
    }
    for (int l = 0; l < 32; l++)
        if (mask >> l & 1)
            call[l]->value = out[l];
    return -1;
}

static uint64_t warp_combine(enum emu_op op, uint64_t a, uint64_t b)
{
    const uint32_t x = uint32_t(a), y = uint32_t(b);
    const int32_t sx = int32_t(x), sy = int32_t(y);

    switch (op) {
    case EMU_ADD:
        return uint32_t(x + y);
    case EMU_MIN_S:
        return sx < sy ? x : y;
    case EMU_MAX_S:
        return sx > sy ? x : y;
    case EMU_MIN_U:
        return x < y ? x : y;
    default:
        return x > y ? x : y;
    }
}

static void warp_reduce(struct emu_call *const call[32], unsigned mask, enum emu_op op)
{
    uint64_t all = 0;
    bool first = true;

    for (int l = 0; l < 32; l++)
        if (mask >> l & 1) {
            all = first ? call[l]->value : warp_combine(op, all, call[l]->value);
            first = false;
        }
    for (int l = 0; l < 32; l++)
        if (mask >> l & 1)
            call[l]->value = all;
}

static void warp_vote(struct emu_call *const call[32], unsigned mask)
{
    uint64_t ballot = 0;

    for (int l = 0; l < 32; l++)
        if (mask >> l & 1)
            ballot |= call[l]->value << l;
    for (int l = 0; l < 32; l++)
        if (mask >> l & 1)
            call[l]->value = ballot;
}

static void warp_match(struct emu_call *const call[32], unsigned mask, bool all)
{
    uint64_t same[32] = {0};

    for (int l = 0; l < 32; l++)
        for (int m = 0; m < 32; m++)
            if ((mask >> l & 1) && (mask >> m & 1) && call[l]->value == call[m]->value)
                same[l] |= uint64_t(1) << m;
    for (int l = 0; l < 32; l++)
        if (mask >> l & 1)
            call[l]->value = all && same[l] != mask ? 0 : same[l];
}

static void warp_ldmatrix(struct emu_call *const call[32], int n)
{
    const bool trans = n < 0;
    const int n_mat = trans ? -n : n;

    for (int i = 0; i < n_mat; i++)
        for (int l = 0; l < 32; l++) {
            uint32_t pair = 0;
            for (int e = 0; e < 2; e++) {
                const int row = trans ? l % 4 * 2 + e : l / 4, col = trans ? l / 4 : l % 4 * 2 + e;
                pair |= (call[i * 8 + row]->a[col / 2] >> 16 * (col % 2) & 0xffff) << 16 * e;
            }
            call[l]->d[i] = pair;
        }
}

static void warp_mma_s8(struct emu_call *const call[32], int k, bool unsigned_a)
{
    for (int l = 0; l < 32; l++) {
        for (int i = 0; i < 4; i++) {
            const int row = l / 4 + 8 * (i / 2), col = l % 4 * 2 + i % 2;
            uint32_t sum = call[l]->d[i];
            for (int j = 0; j < k; j++) {
                const struct emu_call *a = call[row % 8 * 4 + j % 16 / 4], *b = call[col * 4 + j % 16 / 4];
                const uint8_t x = uint8_t(a->a[row / 8 + 2 * (j / 16)] >> 8 * (j % 4));
                const int8_t y = int8_t(b->b[j / 16] >> 8 * (j % 4));
                sum += uint32_t((unsigned_a ? int(x) : int(int8_t(x))) * int(y));
            }
            call[l]->d[i] = sum;
        }
    }
}

/* Products are exact and added in double: what a device adds up in f32, in an order of its own, is near it.
 */
static void warp_mma_float(struct emu_call *const call[32], bool bf16)
{
    for (int l = 0; l < 32; l++) {
        for (int i = 0; i < 4; i++) {
            const int row = l / 4 + 8 * (i / 2), col = l % 4 * 2 + i % 2;
            double sum = double(half_from_bits(call[l]->d[i]));
            for (int j = 0; j < 16; j++) {
                const struct emu_call *a = call[row % 8 * 4 + j % 8 / 2], *b = call[col * 4 + j % 8 / 2];
                const uint16_t x = uint16_t(a->a[row / 8 + 2 * (j / 8)] >> 16 * (j % 2));
                const uint16_t y = uint16_t(b->b[j / 8] >> 16 * (j % 2));
                sum += bf16 ? double(half_from_bf16(x)) * double(half_from_bf16(y))
                            : double(half_to_float(x)) * double(half_to_float(y));
            }
            call[l]->d[i] = half_bits(float(sum));
        }
    }
}

int emu_warp_compute(struct emu_call *const call[32], unsigned mask)
{
    const struct emu_call *any = call[__builtin_ctz(mask)];
    const enum emu_op op = any->op;

    switch (op) {
    case EMU_SYNC:
        return -1;
    case EMU_SHFL:
    case EMU_SHFL_UP:
    case EMU_SHFL_DOWN:
    case EMU_SHFL_XOR:
        return warp_shuffle(call, mask);
    case EMU_BALLOT:
        warp_vote(call, mask);
        return -1;
    case EMU_MATCH_ANY:
    case EMU_MATCH_ALL:
        warp_match(call, mask, op == EMU_MATCH_ALL);
        return -1;
    case EMU_LDMATRIX:
        warp_ldmatrix(call, any->n);
        return -1;
    case EMU_MMA_S8:
    case EMU_MMA_U8S8:
        warp_mma_s8(call, any->n, op == EMU_MMA_U8S8);
        return -1;
    case EMU_MMA_F16:
    case EMU_MMA_BF16:
        warp_mma_float(call, op == EMU_MMA_BF16);
        return -1;
    default:
        warp_reduce(call, mask, op);
        return -1;
    }
}
