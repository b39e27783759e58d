/* rope.h - angles of the rotary embedding, the same bits on every machine (libm's last digit is not). */
#pragma once

/* freq[i] = base^(-2 i / n_rot), i < n_rot / 2.  base > 0. */
void rope_freqs(double base, int n_rot, double *ret_freq);
/* cos_sin[i] = cos, sin of pos * freq[i]; |pos| < 2^24. */
void rope_angles(const double *freq, int n, int pos, float *ret_cos_sin);
