/* exact.h - the products of panels and activations in plain C: the definition that each instruction set is
 * memcmp-tested against, and the products of the "scalar" instruction set. */
#pragma once

#include "isa.h"

/* mm_args as in isa.h. */
void exact_mm_k(enum panel_kind kind, const struct mm_args *a); /* Q4_K, Q5_K, Q6_K, IQ4_XS */
void exact_mm_b(enum panel_kind kind, const struct mm_args *a); /* Q8, Q4, Q8M, Q4M */
void exact_mm_f(enum panel_kind kind, const struct mm_args *a); /* F32, F16, BF16 */
