/* dequant.c - qwend-probe dequant: raw blocks of a weight type to float32. */
#include "probe.h"

#include <string.h>

static int dequant_stream(enum quant_type type)
{
    enum { BLOCKS = 256 }; /* a time: 256 KiB of floats at most */
    const struct quant_info *q = quant_find(type);
    size_t n_bytes = (size_t)q->n_bytes * BLOCKS;
    _cleanup_(freep) uint8_t *in = malloc(n_bytes);
    _cleanup_(freep) float *out = malloc((size_t)q->n_block * BLOCKS * sizeof(float));

    if (!in || !out)
        return probe_error("dequant: no memory");
    for (;;) {
        size_t n = fread(in, 1, n_bytes, stdin), n_blocks = n / (size_t)q->n_bytes;

        quant_dequantise(type, in, out, (int64_t)(n_blocks * (size_t)q->n_block));
        fwrite(out, sizeof(float), n_blocks * (size_t)q->n_block, stdout);
        if (n % (size_t)q->n_bytes)
            return probe_error("dequant: the input ends %zu bytes into a block of %d (%s)",
                               n % (size_t)q->n_bytes, q->n_bytes, q->name);
        if (n < n_bytes)
            return ferror(stdin) ? probe_error("standard input: %s", strerror(errno)) : 0;
    }
}

static int dequant_run(const struct probe_verb *verb, int argc, char **argv)
{
    const char *name = NULL;
    enum quant_type type;
    int r = probe_parse(verb, argc, argv, NULL, 0, &name);

    if (r)
        return r;
    if (quant_find_by_name(name, &type))
        return probe_error("dequant: no loadable weight type \"%s\"", name);
    return dequant_stream(type);
}

const struct probe_verb probe_dequant = {
    "dequant",
    "TYPE < blocks > float32",
    "raw blocks of a weight type (Q4_K, IQ4_XS, ...) to the values they stand for",
    dequant_run,
};
