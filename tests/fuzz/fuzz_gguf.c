/* fuzz_gguf.c - libFuzzer target: any bytes as a GGUF file.  What opens is read through every accessor, so
 * that a range that was not checked is touched, and its configuration is read. */
#include "daemon/model/config.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static volatile uint8_t fuzz_sink; /* keeps the reads */

static void fuzz_touch(const uint8_t *p, size_t n)
{
    if (n)
        fuzz_sink = (uint8_t)(p[0] ^ p[n / 2] ^ p[n - 1]);
}

static void fuzz_words(const struct gguf *g, const char *key)
{
    struct gguf_array array;

    if (gguf_get_array(g, key, GGUF_STR, NULL, &array))
        return;
    const uint8_t *cursor = array.data;
    for (uint64_t i = 0; i < array.n; i++) {
        struct gguf_str s = gguf_array_next_str(&cursor);

        fuzz_touch((const uint8_t *)s.s, s.n);
    }
}

static void fuzz_keys(const struct gguf *g)
{
    char text[120], key[256];

    for (size_t i = 0; i < gguf_n_keys(g); i++) {
        uint32_t type;
        struct gguf_str name = gguf_key(g, i, &type);

        assert(gguf_format_value(g, i, text, sizeof(text)) >= 0);
        if (name.n >= sizeof(key))
            continue;
        for (size_t k = 0; k < name.n; k++)
            key[k] = name.s[k];
        key[name.n] = '\0';
        fuzz_words(g, key);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    _cleanup_(gguf_freep) struct gguf *g = NULL;
    struct fault fault = {0};
    struct config config;

    if (gguf_open_memory(data, n, &fault, &g)) {
        assert(fault.text[0]); /* a refusal always says why */
        return 0;
    }
    fuzz_keys(g);
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor(g, i);

        assert(t->data >= data && t->data + t->bytes <= data + n);
        fuzz_touch(t->data, t->bytes);
    }
    if (config_read(g, &fault, &config))
        assert(fault.text[0]);
    else
        assert(config.n_attn + config.n_delta == config.n_layers && config.n_vh % config.n_kh == 0);
    return 0;
}
