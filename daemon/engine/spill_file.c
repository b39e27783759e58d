/* spill_file.c - header and name of a spilled checkpoint.  See spill_file.h. */
#include "spill_file.h"

#include <endian.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "xxh64.h"

enum {
    SPILL_VERSION = 1,
    SPILL_AT_VERSION = 8,
    SPILL_AT_HEADER_BYTES = 12,
    SPILL_AT_KEY = 16,
    SPILL_AT_ID = 48,
    SPILL_AT_PARENT = 56,
    SPILL_AT_UID = 64,
    SPILL_AT_BASE = 68,
    SPILL_AT_TOK = 72,
    SPILL_AT_PAGE_BYTES = 80,
    SPILL_AT_STATE_BYTES = 88,
    SPILL_AT_IDS_SUM = 96,
    SPILL_AT_PAGES_SUM = 104,
    SPILL_AT_STATE_SUM = 112,
    SPILL_AT_SUM = 120,
};
static const char spill_magic[8] = "qwendkv\n";

static void spill_put32(uint8_t *header, int at, uint32_t v)
{
    v = htole32(v);
    memcpy(header + at, &v, sizeof(v));
}

static void spill_put64(uint8_t *header, int at, uint64_t v)
{
    v = htole64(v);
    memcpy(header + at, &v, sizeof(v));
}

static uint32_t spill_get32(const uint8_t *header, int at)
{
    uint32_t v;

    memcpy(&v, header + at, sizeof(v));
    return le32toh(v);
}

static uint64_t spill_get64(const uint8_t *header, int at)
{
    uint64_t v;

    memcpy(&v, header + at, sizeof(v));
    return le64toh(v);
}

static uint64_t spill_header_sum(const uint8_t *header)
{
    struct xxh64 x;

    xxh64_init(&x);
    xxh64_put(&x, header, SPILL_AT_SUM);
    return xxh64_sum(&x);
}

void spill_header_put(const struct spill_shape *shape, const struct spill_header *header,
                      uint8_t out[SPILL_HEADER_BYTES])
{
    memset(out, 0, SPILL_HEADER_BYTES);
    memcpy(out, spill_magic, sizeof(spill_magic));
    spill_put32(out, SPILL_AT_VERSION, SPILL_VERSION);
    spill_put32(out, SPILL_AT_HEADER_BYTES, SPILL_HEADER_BYTES);
    memcpy(out + SPILL_AT_KEY, shape->key, sizeof(shape->key));
    spill_put64(out, SPILL_AT_ID, header->id);
    spill_put64(out, SPILL_AT_PARENT, header->parent);
    spill_put32(out, SPILL_AT_UID, header->uid);
    spill_put32(out, SPILL_AT_BASE, (uint32_t)header->n_base);
    spill_put32(out, SPILL_AT_TOK, (uint32_t)header->n_tok);
    spill_put64(out, SPILL_AT_PAGE_BYTES, shape->page_bytes);
    spill_put64(out, SPILL_AT_STATE_BYTES, shape->state_bytes);
    spill_put64(out, SPILL_AT_IDS_SUM, header->ids_sum);
    spill_put64(out, SPILL_AT_PAGES_SUM, header->pages_sum);
    spill_put64(out, SPILL_AT_STATE_SUM, header->state_sum);
    spill_put64(out, SPILL_AT_SUM, spill_header_sum(out));
}

/* That it is a header at all, and unharmed. */
static int spill_header_check(const uint8_t *data, size_t n, struct fault *fault)
{
    if (n < SPILL_HEADER_BYTES)
        return fault_set(fault, SPILL_E_BAD, "%zu bytes, its header alone has %d", n, SPILL_HEADER_BYTES);
    if (memcmp(data, spill_magic, sizeof(spill_magic)))
        return fault_set(fault, SPILL_E_BAD, "it does not begin as such a file does");
    if (spill_get64(data, SPILL_AT_SUM) != spill_header_sum(data))
        return fault_set(fault, SPILL_E_BAD, "its header's checksum does not fit");
    if (spill_get32(data, SPILL_AT_VERSION) != SPILL_VERSION ||
        spill_get32(data, SPILL_AT_HEADER_BYTES) != SPILL_HEADER_BYTES)
        return fault_set(fault, SPILL_E_OTHER, "version %u, should be %d",
                         spill_get32(data, SPILL_AT_VERSION), SPILL_VERSION);
    return SPILL_OK;
}

/* That it can be: whoever wrote it. */
static int spill_header_check_numbers(const uint8_t *data, struct fault *fault)
{
    const uint64_t id = spill_get64(data, SPILL_AT_ID), parent = spill_get64(data, SPILL_AT_PARENT);
    const uint32_t n_base = spill_get32(data, SPILL_AT_BASE), n_tok = spill_get32(data, SPILL_AT_TOK);

    if (!n_tok || n_tok > SPILL_TOK_MAX || n_base >= n_tok)
        return fault_set(fault, SPILL_E_BAD, "tokens %u to %u, should be within 0 to %d", n_base, n_tok,
                         SPILL_TOK_MAX);
    if (!id || id > INT64_MAX || parent >= id || !parent != !n_base)
        return fault_set(fault, SPILL_E_BAD,
                         "number %" PRIu64 " goes on behind number %" PRIu64 " at token %u: that cannot be",
                         id, parent, n_base);
    return SPILL_OK;
}

int spill_header_read(const struct spill_shape *shape, const uint8_t *data, size_t n, uint64_t file_bytes,
                      struct spill_header *ret_header, struct fault *fault)
{
    struct spill_header header;
    int r = spill_header_check(data, n, fault);

    if (r)
        return r;
    if (memcmp(data + SPILL_AT_KEY, shape->key, sizeof(shape->key)) ||
        spill_get64(data, SPILL_AT_PAGE_BYTES) != shape->page_bytes ||
        spill_get64(data, SPILL_AT_STATE_BYTES) != shape->state_bytes)
        return fault_set(fault, SPILL_E_OTHER, "of another model, engine or kind of KV cache");
    r = spill_header_check_numbers(data, fault);
    if (r)
        return r;
    header = (struct spill_header){
        .id = spill_get64(data, SPILL_AT_ID),
        .parent = spill_get64(data, SPILL_AT_PARENT),
        .uid = spill_get32(data, SPILL_AT_UID),
        .n_base = (int)spill_get32(data, SPILL_AT_BASE),
        .n_tok = (int)spill_get32(data, SPILL_AT_TOK),
        .ids_sum = spill_get64(data, SPILL_AT_IDS_SUM),
        .pages_sum = spill_get64(data, SPILL_AT_PAGES_SUM),
        .state_sum = spill_get64(data, SPILL_AT_STATE_SUM),
    };
    if (file_bytes != spill_file_bytes(shape, &header))
        return fault_set(fault, SPILL_E_BAD, "%" PRIu64 " bytes, should be %" PRIu64, file_bytes,
                         spill_file_bytes(shape, &header));
    *ret_header = header;
    return SPILL_OK;
}

uint64_t spill_pages_at(const struct spill_header *header)
{
    return SPILL_HEADER_BYTES + (uint64_t)header->n_tok * sizeof(int32_t);
}

uint64_t spill_file_bytes(const struct spill_shape *shape, const struct spill_header *header)
{
    const int n_pages = CEIL_DIV(header->n_tok, KERN_PAGE_TOK) - spill_first_page(header);

    return spill_pages_at(header) + (uint64_t)n_pages * shape->page_bytes + shape->state_bytes;
}

void spill_name_put(uint32_t uid, uint64_t id, char name[SPILL_NAME_BYTES])
{
    snprintf(name, SPILL_NAME_BYTES, "%" PRIu32 "-%" PRIu64, uid, id);
}

bool spill_name_read(const char *name, uint32_t *ret_uid, uint64_t *ret_id)
{
    char again[SPILL_NAME_BYTES];
    uint64_t id;
    uint32_t uid;

    if (sscanf(name, "%" SCNu32 "-%" SCNu64, &uid, &id) != 2)
        return false;
    spill_name_put(uid, id, again);
    if (strcmp(name, again))
        return false;
    *ret_uid = uid;
    *ret_id = id;
    return true;
}
