/* ledger.h - the broker's journal: an append-only file in memory that outlives the process that writes it.
 *
 * It is a memfd that whoever starts the next broker keeps meanwhile.  Records have a key (whose they are), a
 * type and a payload; a record is part of the file once its length is written, which is last, so a writer
 * that is killed in the middle of one leaves the file as it was before it.  Appending is a copy into a
 * mapping (0.2 us for a token's 64 bytes): one system call a LEDGER_GROW_BYTES.  What a key's records take is
 * counted; once it is closed they are dead, and ledger_compact() leaves them behind.
 *
 * Pure: it knows nothing of requests, and what it is given to read may be anything. */
#pragma once

#include "proto/base.h"

enum {
    LEDGER_GROW_BYTES = 1 << 20,
    LEDGER_PAYLOAD_BYTES_MAX = 16 << 20, /* as a frame from the engine */
    LEDGER_HEAD_BYTES = 16,              /* of a record, which is then rounded up to LEDGER_ALIGN */
    LEDGER_ALIGN = 8,
    LEDGER_FILE_HEAD_BYTES = 64,
};
enum { LEDGER_CLOSE = 0xffff }; /* the type of the record that ends a key */

/* FULL: no room for a record.  DAMAGED: usable up to a place that the fault names, nothing behind it is read.
 * BAD: it is none. */
enum { LEDGER_OK, LEDGER_E_FULL, LEDGER_E_DAMAGED, LEDGER_E_BAD };

struct ledger_key;
struct ledger {
    int fd;       /* owned; -1: none */
    uint8_t *map; /* owned, [cap_bytes]; the file reaches size_bytes */
    size_t cap_bytes, size_bytes, used_bytes, live_bytes;
    uint64_t generation; /* a compacted one has the next */
    struct ledger_key *keys;
    size_t n_keys, n_slots;
};
#define LEDGER_NULL ((struct ledger){.fd = -1})

struct ledger_record {
    uint32_t key, n_bytes;
    uint16_t type;
    const uint8_t *payload; /* borrowed from the mapping */
};

int ledger_new(size_t cap_bytes, uint64_t generation, struct ledger *ret_ledger);
void ledger_deinit(
    struct ledger *ledger); /* safe to call twice; the file lives as long as a copy of fd does */
/* The file of another process, which wrote it as above and may have died on the way.  Takes *fd with OK and
 * DAMAGED. */
int ledger_adopt(int *fd, struct ledger *ret_ledger, struct fault *fault);

/* Room for a payload of n bytes, to be filled in and committed.  LEDGER_E_FULL, < 0. */
int ledger_begin(struct ledger *ledger, size_t n, uint8_t **ret_payload);
int ledger_commit(struct ledger *ledger, uint32_t key, uint16_t type, size_t n); /* -ENOMEM for a new key */
int ledger_put(struct ledger *ledger, uint32_t key, uint16_t type, const void *payload, size_t n);
/* What it wrote is dead.  If there is no room even to say so, the key stays: LEDGER_E_FULL. */
int ledger_close_key(struct ledger *ledger, uint32_t key);

bool ledger_has(const struct ledger *ledger, uint32_t key);
bool ledger_is_live(const struct ledger *ledger,
                    const struct ledger_record *record); /* its key is not closed */
size_t ledger_key_bytes(const struct ledger *ledger, uint32_t key);
uint32_t ledger_last_key(const struct ledger *ledger); /* the highest that was ever written */
static inline size_t ledger_record_bytes(size_t n)
{
    return ROUND_UP(LEDGER_HEAD_BYTES + n, (size_t)LEDGER_ALIGN);
}

/* In the order in which they were written, *at from 0 on; false: that was the last. */
bool ledger_next(const struct ledger *ledger, size_t *at, struct ledger_record *ret_record);

/* What is not dead, in a new file.  The old one stays as it is. */
int ledger_compact(const struct ledger *ledger, size_t cap_bytes, struct ledger *ret_ledger);
