/* fuzz_vocab.h - the golden vocabulary, for the targets that need one. */
#pragma once

#include <stdio.h>

#include "daemon/model/tokenizer.h"

/* From LLVMFuzzerInitialize(): ends the program where the file is missing. */
static inline struct tokenizer *fuzz_vocab(void)
{
    static const char path[] = FUZZ_GOLDEN "/tokenizer/vocab-tiny.gguf";
    _cleanup_(gguf_freep) struct gguf *gguf = NULL;
    struct fault fault = {.text = "cannot be opened"};
    struct tokenizer *t = NULL;

    if (gguf_open(path, &fault, &gguf) || tokenizer_new(gguf, &fault, &t)) {
        fprintf(stderr, "%s: %s\n", path, fault.text);
        exit(1);
    }
    return t;
}
