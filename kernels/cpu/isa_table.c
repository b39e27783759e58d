/* isa_table.c - one instruction set's table.  See isa.h.
 *
 * With KERN_TILES the table is amx: all that KERN_ISA has, but for the products of mm_tile.c. */
#include "isa_fn.h"

#include "exact.h"

#ifdef KERN_TILES
#include "mm_tile.h"

#define ISA_TABLE amx
enum { ISA_MANY_PANELS = MM_TILE_PANELS, ISA_SCRATCH = sizeof(struct mm_tile_scratch) };
#else
#define ISA_TABLE KERN_ISA
enum { ISA_MANY_PANELS = MM_PANELS, ISA_SCRATCH = 0 };
#endif

#if KERN_VEC == 0
ISA_MM_K(exact_mm_k)
ISA_MM_B(exact_mm_b)
ISA_MM_F(exact_mm_f)
#endif

#define ISA_TEXT_(x) #x
#define ISA_TEXT(x)  ISA_TEXT_(x)

const struct isa ISA_CAT(isa, ISA_TABLE) = {
    .name = ISA_TEXT(ISA_TABLE),
    .slowness = KERN_VEC == 512   ? 1
                : KERN_VEC == 256 ? 2
                : KERN_VEC == 128 ? 4
                                  : 64,
    .mm =
        {
            [PANEL_Q4K] = ISA_CAT(mm_q4k, ISA_TABLE),
            [PANEL_Q5K] = ISA_CAT(mm_q5k, ISA_TABLE),
            [PANEL_Q6K] = ISA_CAT(mm_q6k, ISA_TABLE),
            [PANEL_IQ4XS] = ISA_CAT(mm_iq4xs, ISA_TABLE),
            [PANEL_Q8] = ISA_FN(mm_q8),
            [PANEL_Q4] = ISA_FN(mm_q4),
            [PANEL_Q8M] = ISA_FN(mm_q8m),
            [PANEL_Q4M] = ISA_FN(mm_q4m),
            [PANEL_F32] = ISA_FN(mm_f32),
            [PANEL_F16] = ISA_FN(mm_f16),
            [PANEL_BF16] = ISA_FN(mm_bf16),
        },
    .many_panels = ISA_MANY_PANELS,
    .scratch_bytes = ISA_SCRATCH,
    .rms = ISA_FN(norm_rms),
    .act =
        {
            [ACT_K256] = ISA_FN(norm_act256),
            [ACT_B32] = ISA_FN(norm_act32),
            [ACT_F32] = ISA_FN(norm_act_f32),
        },
    .read = ISA_FN(norm_read),
    .swiglu = ISA_FN(norm_swiglu),
    .gates = ISA_FN(delta_gates),
    .conv = ISA_FN(delta_conv),
    .scan = ISA_FN(delta_scan),
    .rope = ISA_FN(attn_rope),
    .kv_put = ISA_FN(attn_kv_put),
    .attn = ISA_FN(attn_rows),
    .attn_join = ISA_FN(attn_join),
};
