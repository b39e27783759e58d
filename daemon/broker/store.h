/* store.h - what outlives the broker: its journal, and the weights' memory.
 *
 * Under systemd both lie in the manager's FD store, which hands them to the next start of the service.  The
 * journal is written in either case: a broker that makes way for another one passes it on itself.  Stored
 * under "kept-journal-N" (N rises with each compaction; of two the higher is whole) and "kept-weights" (the
 * memory, its part in main memory if it has one, and the description of both in a small memfd). */
#pragma once

#include "daemon/util/sd.h"
#include "kept.h"
#include "ledger.h"

struct broker;

enum { STORE_PASS_MAX = 4 }; /* journal, weights, their part in main memory, and what these are */
struct store_passed {
    struct sd_pass pass[STORE_PASS_MAX];
    char journal[SD_NAME_BYTES];
    int about; /* owned; of the weights */
};

enum { STORE_KEY = 1 }; /* in the journal, of what is about no request; requests have higher ones */

struct store {
    struct broker *broker; /* borrowed */
    struct ledger ledger;  /* LEDGER_NULL: no journal is kept */
    uint32_t last_key;
    size_t patient_bytes; /* it is not compacted below these, unless it is full: that failed a moment ago */
    bool stored;          /* the manager has the ledger's file */
    bool frozen;          /* somebody reads the journal: what is in it must not move */
    uint8_t *serving; /* owned; a packed Serving: what the tokens in the journal were made by; NULL: nobody
                         has said */
    size_t n_serving;
};

/* Goes on with the journal that was kept, or begins one of mib MiB; 0: none.  A damaged one is said, and used
 * as far as it goes. */
int store_open(struct store *store, struct broker *broker, uint32_t mib);
/* Lets go of all that is in it. */
int store_begin_anew(struct store *store);
/* forget: no request is left in it. */
void store_close(struct store *store, bool forget);

static inline bool store_is_on(const struct store *store)
{
    return store->ledger.fd >= 0;
}
/* Half of the file: the other half is for what is dead and not yet left behind. */
uint64_t store_limit_bytes(uint32_t mib);

/* One record.  LEDGER_E_FULL only if the caller had not charged it. */
int store_begin(struct store *store, size_t n, uint8_t **ret_payload);
int store_put(struct store *store, uint32_t key, uint16_t type, const void *payload, size_t n);
void store_close_key(struct store *store, uint32_t key);

/* Its fds for sd_exec(): how many.  store_unpass() if that failed. */
size_t store_pass(const struct store *store, const struct kept *kept, struct store_passed *ret_passed);
void store_unpass(struct store_passed *passed);

/* Weights: taken from the store at a start; put there or taken away with kept's. */
void store_take_weights(struct kept *kept);
void store_put_weights(const struct kept *kept);
void store_drop_weights(void);
