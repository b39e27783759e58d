/* fuzz_spill.c - libFuzzer target: a folder of spilled checkpoints, as headers of files.
 *
 * The input is up to 64 headers; where the first byte says so, what only the checksum and the key guard
 * against is repaired, so that what is behind them is reached.  What must hold: a header is refused with its
 * reason or its numbers can be; what was put is read; the index holds a forest in order, within its caps, and
 * room is made without giving up what another goes on behind. */
#include <assert.h>
#include <string.h>

#include "daemon/engine/spill_index.h"
#include "daemon/engine/xxh64.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const struct spill_shape fuzz_shape = {.key = {7}, .page_bytes = 64, .state_bytes = 100};

/* The header's numbers in a valid frame. */
static void fuzz_repair(uint8_t header[SPILL_HEADER_BYTES])
{
    static const struct spill_header none = {.id = 1, .n_tok = 1};
    uint8_t whole[SPILL_HEADER_BYTES];
    struct xxh64 x;
    uint64_t sum;

    spill_header_put(&fuzz_shape, &none, whole);
    memcpy(header, whole, 48);           /* magic to key */
    memcpy(header + 80, whole + 80, 16); /* sizes */
    xxh64_init(&x);
    xxh64_put(&x, header, 120);
    sum = xxh64_sum(&x);
    for (int i = 0; i < 8; i++)
        header[120 + i] = (uint8_t)(sum >> 8 * i);
}

static bool fuzz_read(const uint8_t *data, size_t n, struct spill_header *ret)
{
    uint8_t again[SPILL_HEADER_BYTES];
    struct spill_header h;
    struct fault fault = {0};
    int r = spill_header_read(&fuzz_shape, data, n, 0, ret, &fault);

    assert(r && *fault.text); /* no file has no bytes */
    if (n < SPILL_HEADER_BYTES)
        return false;
    h = (struct spill_header){.n_base = (int)(data[68] | data[69] << 8 | (data[70] & 15) << 16),
                              .n_tok = (int)(data[72] | data[73] << 8 | (data[74] & 31) << 16)};
    fault = (struct fault){0};
    r = spill_header_read(&fuzz_shape, data, n, spill_file_bytes(&fuzz_shape, &h), ret, &fault);
    assert(!r || *fault.text);
    if (r)
        return false;
    assert(ret->id && ret->parent < ret->id && ret->n_base < ret->n_tok && ret->n_tok <= SPILL_TOK_MAX);
    assert(!ret->parent == !ret->n_base);
    spill_header_put(&fuzz_shape, ret, again);
    memcpy(again + 76, data + 76, 4); /* nothing is there yet */
    assert(!memcmp(again, data, 120));
    return true;
}

static void fuzz_check(struct spill_index *index)
{
    uint64_t bytes = 0;

    for (int i = 0; i < index->n; i++) {
        const struct spill_entry *e = &index->entries[i], *parent = NULL;
        int n_children = 0;

        bytes += e->bytes;
        for (int k = 0; k < index->n; k++)
            n_children += index->entries[k].parent == e->id;
        assert(n_children == e->n_children && e->depth <= SPILL_DEPTH_MAX);
        if (e->parent)
            assert((parent = spill_index_find(index, e->parent)) && parent->uid == e->uid &&
                   parent->n_tok == e->n_base && parent->depth + 1 == e->depth);
        if (i)
            assert(e[-1].uid < e->uid || (e[-1].uid == e->uid && e[-1].n_tok <= e->n_tok));
        assert(!spill_index_last_behind(index, e->id)->n_children);
    }
    assert(bytes == index->bytes);
}

static void fuzz_make_room(struct spill_index *index, uint32_t uid, uint64_t bytes, uint64_t spare)
{
    const struct spill_entry *victim;
    bool fits;

    while ((victim = spill_index_victim(index, uid, bytes, 1000, spare, UINT64_MAX, &fits))) {
        assert(!victim->n_children && victim->id != spare);
        spill_index_remove(index, victim->id);
    }
    assert(!fits || index->bytes + bytes <= index->max_bytes);
    fuzz_check(index);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct spill_index index;
    const bool repairs = n && data[0] & 1;
    int32_t ids[64] = {0};

    if (!n)
        return 0;
    index.n = 0;
    index.bytes = 0;
    index.max_bytes = (uint64_t)(data[0] >> 1) << 10;
    for (size_t at = 1, i = 0; at < n && i < 64; at += SPILL_HEADER_BYTES, i++) {
        const size_t k = MIN(n - at, (size_t)SPILL_HEADER_BYTES);
        uint8_t header[SPILL_HEADER_BYTES];
        struct spill_header h;
        struct spill_entry entry;

        memcpy(header, data + at, k);
        if (repairs && k == SPILL_HEADER_BYTES)
            fuzz_repair(header);
        if (!fuzz_read(header, k, &h))
            continue;
        entry = (struct spill_entry){.id = h.id,
                                     .parent = h.parent,
                                     .ids_sum = h.ids_sum,
                                     .bytes = spill_file_bytes(&fuzz_shape, &h),
                                     .used_ns = h.pages_sum % 2000,
                                     .uid = h.uid,
                                     .n_base = h.n_base,
                                     .n_tok = h.n_tok};
        (void)spill_index_add(&index, &entry);
        (void)spill_index_match(&index, h.uid, ids, 64);
        fuzz_check(&index);
        if (h.state_sum & 1)
            fuzz_make_room(&index, h.uid, h.state_sum >> 8 & 0xffff, h.parent);
    }
    fuzz_make_room(&index, 0, 0, 0);
    return 0;
}
