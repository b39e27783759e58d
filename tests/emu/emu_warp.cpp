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

/* Fragments: a lane has row lane / 4 of each part, and per elements of it in a word, from k on. */
static int warp_k(int per, int lane, int part)
{
    return 4 * per * part + per * (lane % 4);
}

/* d += A B: a and b have the rows of A and the columns of B. */
template <int K, class T, class Sum>
static void warp_mma(struct emu_call *const call[32], const T (&a)[16][K], const T (&b)[8][K], Sum sum_of)
{
    for (int l = 0; l < 32; l++)
        for (int i = 0; i < 4; i++)
            call[l]->d[i] = sum_of(call[l]->d[i], a[l / 4 + 8 * (i / 2)], b[l % 4 * 2 + i % 2]);
}

template <int K>
static void warp_mma_s8(struct emu_call *const call[32], bool unsigned_a)
{
    int16_t a[16][K], b[8][K];

    for (int l = 0; l < 32; l++) {
        for (int i = 0; i < K / 8; i++)
            for (int j = 0; j < 4; j++) {
                const uint8_t x = uint8_t(call[l]->a[i] >> 8 * j);
                a[l / 4 + 8 * (i % 2)][warp_k(4, l, i / 2) + j] = unsigned_a ? x : int8_t(x);
            }
        for (int i = 0; i < K / 16; i++)
            for (int j = 0; j < 4; j++)
                b[l / 4][warp_k(4, l, i) + j] = int8_t(call[l]->b[i] >> 8 * j);
    }
    warp_mma(call, a, b, [](uint32_t d, const int16_t(&x)[K], const int16_t(&y)[K]) {
        int sum = 0;
        for (int j = 0; j < K; j++)
            sum += x[j] * y[j];
        return d + uint32_t(sum);
    });
}

/* Products are exact and added in double: what a device adds up in f32, in an order of its own, is near it.
 */
static void warp_mma_float(struct emu_call *const call[32], bool bf16)
{
    float (*const value)(uint16_t) = bf16 ? half_from_bf16 : half_to_float;
    double a[16][16], b[8][16];

    for (int l = 0; l < 32; l++) {
        for (int i = 0; i < 4; i++)
            for (int j = 0; j < 2; j++)
                a[l / 4 + 8 * (i % 2)][warp_k(2, l, i / 2) + j] =
                    double(value(uint16_t(call[l]->a[i] >> 16 * j)));
        for (int i = 0; i < 2; i++)
            for (int j = 0; j < 2; j++)
                b[l / 4][warp_k(2, l, i) + j] = double(value(uint16_t(call[l]->b[i] >> 16 * j)));
    }
    warp_mma(call, a, b, [](uint32_t d, const double(&x)[16], const double(&y)[16]) {
        double sum = double(half_from_bits(d));
        for (int j = 0; j < 16; j++)
            sum += x[j] * y[j];
        return half_bits(float(sum));
    });
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
        if (any->n == 32)
            warp_mma_s8<32>(call, op == EMU_MMA_U8S8);
        else
            warp_mma_s8<16>(call, op == EMU_MMA_U8S8);
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
