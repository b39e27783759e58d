/* emu_warp.h - barriers, warp collectives, atomics, and the host bodies of dev.cuh's kc_* functions.  Part of
 * emu.h.
 *
 * What touches a kernel's memory stands here, inline, so that it is instrumented as the kernel is; what only
 * moves registers between lanes is done in emu_warp.cpp. */
#pragma once

#define EMU_ALL_LANES 0xffffffffu

enum emu_op {
    EMU_SYNC,
    EMU_SHFL,
    EMU_SHFL_UP,
    EMU_SHFL_DOWN,
    EMU_SHFL_XOR,
    EMU_BALLOT,
    EMU_MATCH_ANY,
    EMU_MATCH_ALL,
    EMU_ADD,
    EMU_MIN_S,
    EMU_MAX_S,
    EMU_MIN_U,
    EMU_MAX_U,
    EMU_LDMATRIX,
    EMU_MMA_S8,
    EMU_MMA_U8S8,
    EMU_MMA_F16,
    EMU_MMA_BF16,
};

/* One lane's part of a collective; lives on its stack while it waits.  arg and n must mean the same in all
 * lanes. */
struct emu_call {
    enum emu_op op;
    unsigned mask;
    int n;   /* width of a shuffle; matrices, negative if transposed; k of an mma */
    int arg; /* lane, distance or pattern of a shuffle: may differ between lanes */
    const char *file;
    int line;
    uint64_t value; /* in: shuffles, votes, reductions; out likewise */
    uint32_t a[4], b[2], d[4];
};
void emu_collective(struct emu_call *call);

/* id 0: all threads of the block that have not ended */
void emu_barrier(int id, int n_threads, const char *file, int line);
void emu_fault(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

static inline void __syncthreads(EMU_SITE)
{
    emu_barrier(0, 0, file, line);
}

static inline void kc_bar_sync(int id, int n_threads, EMU_SITE)
{
    emu_barrier(id, n_threads, file, line);
}

static inline uint64_t emu_call_simple(enum emu_op op, unsigned mask, uint64_t value, int arg, int n,
                                       const char *file, int line)
{
    struct emu_call call = {op, mask, n, arg, file, line, value, {}, {}, {}};

    emu_collective(&call);
    return call.value;
}

static inline void __syncwarp(unsigned mask = EMU_ALL_LANES, EMU_SITE)
{
    emu_call_simple(EMU_SYNC, mask, 0, 0, 0, file, line);
}

template <class T>
static inline T emu_shuffle(enum emu_op op, unsigned mask, T v, int arg, int width, const char *file,
                            int line)
{
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "shuffles move 4 or 8 bytes");
    uint64_t bits = 0;

    memcpy(&bits, &v, sizeof(v));
    bits = emu_call_simple(op, mask, bits, arg, width, file, line);
    memcpy(&v, &bits, sizeof(v));
    return v;
}

template <class T>
static inline T __shfl_sync(unsigned mask, T v, int lane, int width = 32, EMU_SITE)
{
    return emu_shuffle(EMU_SHFL, mask, v, lane, width, file, line);
}

template <class T>
static inline T __shfl_up_sync(unsigned mask, T v, unsigned delta, int width = 32, EMU_SITE)
{
    return emu_shuffle(EMU_SHFL_UP, mask, v, int(delta), width, file, line);
}

template <class T>
static inline T __shfl_down_sync(unsigned mask, T v, unsigned delta, int width = 32, EMU_SITE)
{
    return emu_shuffle(EMU_SHFL_DOWN, mask, v, int(delta), width, file, line);
}

template <class T>
static inline T __shfl_xor_sync(unsigned mask, T v, int pattern, int width = 32, EMU_SITE)
{
    return emu_shuffle(EMU_SHFL_XOR, mask, v, pattern, width, file, line);
}

static inline unsigned __ballot_sync(unsigned mask, int predicate, EMU_SITE)
{
    return unsigned(emu_call_simple(EMU_BALLOT, mask, predicate != 0, 0, 0, file, line));
}

static inline int __any_sync(unsigned mask, int predicate, EMU_SITE)
{
    return emu_call_simple(EMU_BALLOT, mask, predicate != 0, 0, 0, file, line) != 0;
}

static inline int __all_sync(unsigned mask, int predicate, EMU_SITE)
{
    return emu_call_simple(EMU_BALLOT, mask, predicate != 0, 0, 0, file, line) == mask;
}

static inline unsigned __match_any_sync(unsigned mask, unsigned v, EMU_SITE)
{
    return unsigned(emu_call_simple(EMU_MATCH_ANY, mask, v, 0, 0, file, line));
}

static inline unsigned __match_all_sync(unsigned mask, unsigned v, int *ret_all, EMU_SITE)
{
    const unsigned same = unsigned(emu_call_simple(EMU_MATCH_ALL, mask, v, 0, 0, file, line));

    *ret_all = same != 0;
    return same;
}

static inline unsigned __reduce_add_sync(unsigned mask, unsigned v, EMU_SITE)
{
    return unsigned(emu_call_simple(EMU_ADD, mask, v, 0, 0, file, line));
}

static inline int __reduce_add_sync(unsigned mask, int v, EMU_SITE)
{
    return int(unsigned(emu_call_simple(EMU_ADD, mask, unsigned(v), 0, 0, file, line)));
}

static inline int __reduce_min_sync(unsigned mask, int v, EMU_SITE)
{
    return int(unsigned(emu_call_simple(EMU_MIN_S, mask, unsigned(v), 0, 0, file, line)));
}

static inline int __reduce_max_sync(unsigned mask, int v, EMU_SITE)
{
    return int(unsigned(emu_call_simple(EMU_MAX_S, mask, unsigned(v), 0, 0, file, line)));
}

static inline unsigned __reduce_min_sync(unsigned mask, unsigned v, EMU_SITE)
{
    return unsigned(emu_call_simple(EMU_MIN_U, mask, v, 0, 0, file, line));
}

static inline unsigned __reduce_max_sync(unsigned mask, unsigned v, EMU_SITE)
{
    return unsigned(emu_call_simple(EMU_MAX_U, mask, v, 0, 0, file, line));
}

/* matrices */

void emu_need_smem(const void *p, size_t bytes, const char *what, const char *file, int line);

template <int N>
static inline void emu_ldmatrix(uint32_t (&r)[N], const void *row, bool trans, const char *file, int line)
{
    struct emu_call call = {EMU_LDMATRIX, EMU_ALL_LANES, trans ? -N : N, 0, file, line, 0, {}, {}, {}};
    const unsigned lane = (threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) % 32;

    if (lane < 8 * N) { /* the lanes whose addresses count read their row */
        emu_need_smem(row, 16, "ldmatrix", file, line);
        for (int i = 0; i < 4; i++)
            call.a[i] = static_cast<const uint32_t *>(row)[i];
    }
    emu_collective(&call);
    for (int i = 0; i < N; i++)
        r[i] = call.d[i];
}

static inline void kc_ldmatrix_x1(uint32_t (&r)[1], const void *row, EMU_SITE)
{
    emu_ldmatrix(r, row, false, file, line);
}

static inline void kc_ldmatrix_x2(uint32_t (&r)[2], const void *row, EMU_SITE)
{
    emu_ldmatrix(r, row, false, file, line);
}

static inline void kc_ldmatrix_x4(uint32_t (&r)[4], const void *row, EMU_SITE)
{
    emu_ldmatrix(r, row, false, file, line);
}

static inline void kc_ldmatrix_x1_trans(uint32_t (&r)[1], const void *row, EMU_SITE)
{
    emu_ldmatrix(r, row, true, file, line);
}

static inline void kc_ldmatrix_x2_trans(uint32_t (&r)[2], const void *row, EMU_SITE)
{
    emu_ldmatrix(r, row, true, file, line);
}

static inline void kc_ldmatrix_x4_trans(uint32_t (&r)[4], const void *row, EMU_SITE)
{
    emu_ldmatrix(r, row, true, file, line);
}

template <class T, int NA, int NB>
static inline void emu_mma(enum emu_op op, int k, T (&d)[4], const uint32_t (&a)[NA], const uint32_t (&b)[NB],
                           const char *file, int line)
{
    struct emu_call call = {op, EMU_ALL_LANES, k, 0, file, line, 0, {}, {}, {}};

    memcpy(call.a, a, sizeof(a));
    memcpy(call.b, b, sizeof(b));
    memcpy(call.d, d, sizeof(d));
    emu_collective(&call);
    memcpy(d, call.d, sizeof(d));
}

static inline void kc_mma_s8_k32(int (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], EMU_SITE)
{
    emu_mma(EMU_MMA_S8, 32, d, a, b, file, line);
}

static inline void kc_mma_u8s8_k32(int (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], EMU_SITE)
{
    emu_mma(EMU_MMA_U8S8, 32, d, a, b, file, line);
}

static inline void kc_mma_s8_k16(int (&d)[4], const uint32_t (&a)[2], const uint32_t (&b)[1], EMU_SITE)
{
    emu_mma(EMU_MMA_S8, 16, d, a, b, file, line);
}

static inline void kc_mma_s8_k32_from(int (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                                      const int (&c)[4], EMU_SITE)
{
    memcpy(d, c, sizeof(d));
    emu_mma(EMU_MMA_S8, 32, d, a, b, file, line);
}

static inline void kc_mma_s8_k16_from(int (&d)[4], const uint32_t (&a)[2], const uint32_t (&b)[1],
                                      const int (&c)[4], EMU_SITE)
{
    memcpy(d, c, sizeof(d));
    emu_mma(EMU_MMA_S8, 16, d, a, b, file, line);
}

static inline void kc_mma_f16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], EMU_SITE)
{
    emu_mma(EMU_MMA_F16, 16, d, a, b, file, line);
}

static inline void kc_mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], EMU_SITE)
{
    emu_mma(EMU_MMA_BF16, 16, d, a, b, file, line);
}

static inline uint32_t kc_and_or(uint32_t a, uint32_t mask, uint32_t bits)
{
    return (a & mask) | bits;
}

/* pairs of f16 in a word */

static inline uint32_t kc_half2_add(uint32_t a, uint32_t b)
{
    return emu_half2_fma(a, 0x3c003c00u, b);
}

static inline uint32_t kc_half2_mul(uint32_t a, uint32_t b)
{
    return emu_half2_fma(a, b, (a ^ b) & 0x80008000u); /* plus a zero of the product's sign */
}

static inline uint32_t kc_half2_fma(uint32_t a, uint32_t b, uint32_t c)
{
    return emu_half2_fma(a, b, c);
}

static inline uint32_t kc_half2_low(uint32_t a)
{
    return (a & 0xffffu) * 0x10001u;
}

static inline uint32_t kc_half2_high(uint32_t a)
{
    return (a >> 16) * 0x10001u;
}

/* loads and copies */

template <class T>
static inline T kc_ld_stream(const T *p)
{
    return *p;
}

template <class T>
static inline T kc_ld_l2(const T *p)
{
    return *p;
}

/* What may not be read may not be fetched. */
static inline void kc_prefetch(const void *p)
{
    static_cast<void>(*static_cast<const volatile uint8_t *>(p));
}

/* src NULL: zeros */
struct emu_copy {
    void *dst;
    const void *src;
    int bytes;
};
void emu_cp_async(const struct emu_copy *copy, const char *file, int line);
void emu_cp_commit(void);
bool emu_cp_next(int n_keep,
                 struct emu_copy *ret_copy); /* the oldest copy of the groups before the last n_keep */

static inline void emu_cp_async_from(void *dst, const void *src, int bytes, const char *file, int line)
{
    const struct emu_copy copy = {dst, src, bytes};

    emu_cp_async(&copy, file, line);
}

static inline void kc_cp_async_4(void *dst, const void *src, EMU_SITE)
{
    emu_cp_async_from(dst, src, 4, file, line);
}

static inline void kc_cp_async_8(void *dst, const void *src, EMU_SITE)
{
    emu_cp_async_from(dst, src, 8, file, line);
}

static inline void kc_cp_async_16(void *dst, const void *src, EMU_SITE)
{
    emu_cp_async_from(dst, src, 16, file, line);
}

static inline void kc_cp_async_16_or_zero(void *dst, const void *src, bool there, EMU_SITE)
{
    emu_cp_async_from(dst, there ? src : nullptr, 16, file, line);
}

static inline void kc_cp_async_commit(void)
{
    emu_cp_commit();
}

/* As late as the program allows: a copy that nothing waits for is never made. */
template <int N>
static inline void kc_cp_async_wait(void)
{
    struct emu_copy copy;

    while (emu_cp_next(N, &copy))
        for (int i = 0; i < copy.bytes / 4; i++)
            static_cast<uint32_t *>(copy.dst)[i] = copy.src ? static_cast<const uint32_t *>(copy.src)[i] : 0;
}

void kc_pdl_wait(void);
static inline void kc_pdl_launch(void) {}

/* atomics and fences */

template <class T>
static inline T atomicAdd(T *p, T v)
{
    return __atomic_fetch_add(p, v, __ATOMIC_RELAXED);
}

static inline float atomicAdd(float *p, float v)
{
    uint32_t *const bits = reinterpret_cast<uint32_t *>(p);
    uint32_t old = __atomic_load_n(bits, __ATOMIC_RELAXED);

    while (!__atomic_compare_exchange_n(bits, &old, half_bits(half_from_bits(old) + v), false,
                                        __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        ;
    return half_from_bits(old);
}

template <class T>
static inline T atomicMax(T *p, T v)
{
    T old = __atomic_load_n(p, __ATOMIC_RELAXED);

    while (old < v && !__atomic_compare_exchange_n(p, &old, v, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        ;
    return old;
}

template <class T>
static inline T atomicExch(T *p, T v)
{
    return __atomic_exchange_n(p, v, __ATOMIC_RELAXED);
}

template <class T>
static inline T atomicCAS(T *p, T expected, T v)
{
    __atomic_compare_exchange_n(p, &expected, v, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    return expected;
}

/* All fences are ordered among each other, which is more than the device promises. */
static inline void __threadfence(void)
{
#ifdef EMU_TSAN_ON
    static char fence;
    __tsan_acquire(&fence);
    __tsan_release(&fence);
#endif
}
