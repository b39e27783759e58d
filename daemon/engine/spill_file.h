/* spill_file.h - one checkpoint of the prefix cache as a file: what is in it, and whether it may be used.
 *
 * All integers little-endian.  A file's name is "UID-ID", both decimal.
 *
 *   0   8  "qwendkv\n"            64  4  uid                     96  8  XXH64 of the token ids
 *   8   4  version, 1             68  4  n_base                 104  8  XXH64 of the pages
 *  12   4  header bytes, 128      72  4  n_tok                  112  8  XXH64 of the state
 *  16  32  key                    76  4  0                      120  8  XXH64 of bytes 0 to 119
 *  48   8  id                     80  8  bytes of a page
 *  56   8  parent's id            88  8  bytes of the state
 *
 *   ids    [n_tok] i32            every token from the start
 *   pages  [CEIL_DIV(n_tok, 64) - n_base / 64][bytes of a page]
 *   state  [bytes of the state]   DeltaNet and conv state behind the last token
 *
 * A file has only the pages from its parent's position n_base on (0: no parent), so a chat's turns do not
 * each repeat the whole chat; the first of them is complete, whatever the parent has of it.  Ids rise, so a
 * parent's is the lower one and there is no circle.  The key stands for all that the bytes mean anything
 * with: the model, the numerics, the layout (spill.c).  A file is written under another name and gets its own
 * when it is whole; that its blocks reached the disk as well is not waited for, the sums show it. */
#pragma once

#include "kernels/kernels.h"

enum { SPILL_HEADER_BYTES = 128, SPILL_KEY_BYTES = 32, SPILL_TOK_MAX = 1 << 20, SPILL_NAME_BYTES = 40 };

/* What this engine reads and writes. */
struct spill_shape {
    uint8_t key[SPILL_KEY_BYTES];
    uint64_t page_bytes, state_bytes;
};

struct spill_header {
    uint64_t id, parent;
    uint32_t uid;
    int n_base, n_tok;
    uint64_t ids_sum, pages_sum, state_sum;
};

/* Of all spill_* functions.  OTHER: whole, but of another model, engine or kind of KV cache; BAD: the fault
 * says what. */
enum {
    SPILL_OK,
    SPILL_E_OTHER = 30,
    SPILL_E_BAD,
    SPILL_E_FULL,
    SPILL_E_ORPHAN,
    SPILL_E_TWICE,
    SPILL_E_OFF,
    SPILL_E_AGAIN,
    SPILL_E_HAVE,
};

void spill_header_put(const struct spill_shape *shape, const struct spill_header *header,
                      uint8_t out[SPILL_HEADER_BYTES]);
/* data [n]: the file's beginning; file_bytes: all of it. */
int spill_header_read(const struct spill_shape *shape, const uint8_t *data, size_t n, uint64_t file_bytes,
                      struct spill_header *ret_header, struct fault *fault);

static inline int spill_first_page(const struct spill_header *header)
{
    return header->n_base / KERN_PAGE_TOK;
}
uint64_t spill_pages_at(const struct spill_header *header); /* offset of the first page */
uint64_t spill_file_bytes(const struct spill_shape *shape, const struct spill_header *header);

void spill_name_put(uint32_t uid, uint64_t id, char name[SPILL_NAME_BYTES]);
bool spill_name_read(const char *name, uint32_t *ret_uid,
                     uint64_t *ret_id); /* only what spill_name_put() makes */
