/* common.c - checks and random data.  See gpu.h. */
#include "gpu.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "kernels/blocks.h"
#include "kernels/half.h"

static int n_failed;

void gpu_check(bool ok, const char *name, const char *fmt, ...)
{
    va_list ap;

    n_failed += !ok;
    printf("%s %s: ", ok ? "ok" : "FAILED", name);
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    putchar('\n');
    fflush(stdout);
}

int gpu_n_failed(void)
{
    return n_failed;
}

struct kern *gpu_open(const char *backend)
{
    const char *colon = strchr(backend, ':');
    char name[16];
    const struct kern_options options = {.backend = name, .isa = colon ? colon + 1 : NULL};
    struct kern *kern = NULL;
    struct fault fault = {0};
    int r;

    snprintf(name, sizeof(name), "%.*s", (int)strcspn(backend, ":"), backend);
    r = kern_open(&options, &fault, &kern);

    if (r)
        gpu_check(false, "open", "%s: %s", backend, r > 0 ? fault.text : strerror(-r));
    return r ? NULL : kern;
}

/* splitmix64 (Steele, Lea, Flood 2014) */
static uint64_t gpu_next(struct gpu_random *random)
{
    uint64_t z = random->state += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

float gpu_uniform(struct gpu_random *random, float lo, float hi)
{
    return lo + (hi - lo) * (float)(gpu_next(random) >> 40) * 0x1p-24f;
}

void gpu_fill(struct gpu_random *random, float *x, size_t n, float scale)
{
    for (size_t i = 0; i < n; i++)
        x[i] = gpu_uniform(random, -scale, scale);
}

/* Any codes, small scales. */
static void gpu_fill_block(struct gpu_random *random, enum quant_type type, uint8_t *dst)
{
    const struct quant_info *info = quant_find(type);
    const float most =
        info->n_block == 256 ? 0.02f / 16 : 0.02f; /* weights near 1 by groups' scales as well */
    uint8_t raw[BLOCK_MAX];
    struct block b;

    for (int i = 0; i < info->n_bytes; i++)
        raw[i] = (uint8_t)gpu_next(random);
    block_read(type, raw, &b);
    b.d = half_from_float(gpu_uniform(random, -most, most));
    b.m = half_from_float(gpu_uniform(random, -most, most));
    block_write(type, &b, dst);
}

void gpu_fill_rows(struct gpu_random *random, enum quant_type type, uint8_t *rows, int n_out, int n_in)
{
    const struct quant_info *info = quant_find(type);
    const int64_t n = (int64_t)n_out * n_in;

    for (int64_t i = 0; i < n; i += info->n_block, rows += info->n_bytes) {
        const float x = gpu_uniform(random, -0.1f, 0.1f);
        const uint16_t h = type == QUANT_F16 ? half_from_float(x) : (uint16_t)(half_bits(x) >> 16);
        if (type == QUANT_F32)
            memcpy(rows, &x, 4);
        else if (type == QUANT_F16 || type == QUANT_BF16)
            memcpy(rows, &h, 2);
        else
            gpu_fill_block(random, type, rows);
    }
}
