/* tokenizer_vocab.h - what a tokenizer holds; shared by tokenizer.c (loading) and tokenizer_encode.c (using).
 */
#pragma once

#include "tokenizer.h"

enum tokenizer_type {
    TOKENIZER_NORMAL = 1,
    TOKENIZER_CONTROL = 3,
    TOKENIZER_USER_DEFINED = 4,
    TOKENIZER_UNUSED = 5
};

struct tokenizer_merge {
    int32_t left, right, whole;
}; /* indexed by rank */
struct tokenizer_slot {
    int32_t left, right;
    uint32_t rank;
}; /* left < 0: empty */

struct tokenizer {
    int n_vocab;
    char *bytes;                    /* all tokens' bytes, one after the other */
    uint32_t *begin;                /* [n_vocab + 1] token i is bytes[begin[i]] .. bytes[begin[i + 1]] */
    uint8_t *type;                  /* [n_vocab] */
    int32_t byte_id[256];           /* the token of each single byte */
    struct tokenizer_merge *merges; /* [n_merges] */
    uint32_t n_merges;
    struct tokenizer_slot *slots; /* [slot_mask + 1] open addressing over (left, right), at most half full */
    uint32_t slot_mask;
    int32_t *added; /* [n_added] ids of types 3 and 4, sorted by their bytes */
    uint32_t n_added;
    uint32_t added_from[257]; /* added[added_from[b]] .. added[added_from[b + 1]] start with byte b */
    int32_t stop[3];
    int n_stop;
};

static inline uint32_t tokenizer_hash_pair(int32_t left, int32_t right)
{
    uint64_t h =
        ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * 0x9e3779b97f4a7c15u; /* 2^64 / golden ratio */

    return (uint32_t)(h >> 32) ^ (uint32_t)(h >> 15);
}

/* The rank of merging left with right; UINT32_MAX: they do not merge. */
static inline uint32_t tokenizer_find_merge(const struct tokenizer *t, int32_t left, int32_t right)
{
    uint32_t i = tokenizer_hash_pair(left, right) & t->slot_mask;

    for (; t->slots[i].left >= 0; i = (i + 1) & t->slot_mask)
        if (t->slots[i].left == left && t->slots[i].right == right)
            return t->slots[i].rank;
    return UINT32_MAX;
}
