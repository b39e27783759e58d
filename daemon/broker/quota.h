/* quota.h - what one owner (a uid, or an account of a gateway's: account.h) may hold in the broker at a time.
 *
 * Everything the broker keeps for a client is charged here before it is allocated, so the worst case follows
 * from configuration, not from what is sent.  An owner gets at most half of what the others have left: a
 * second one always finds room, and so does a third (1024: 512, 256, 128 …).  The idea is dbus-broker's
 * (src/util/user.c). */
#pragma once

#include <sys/types.h>

#include "daemon/util/list.h"

enum { QUOTA_OK, QUOTA_E_EXCEEDED }; /* > 0: a normal outcome, the caller refuses with the numbers */

enum quota_slot {
    QUOTA_CONNECTIONS, /* each with CLIENT_FREE_BYTES of buffer each way */
    QUOTA_REQUESTS,    /* generations (each with STREAM_FREE_BYTES), queued and running, and text questions */
    QUOTA_BYTES,       /* buffers, prompt bodies, replay logs */
    QUOTA_JOURNAL,     /* bytes of the journal (request_journal.h) */
    QUOTA_FDS,         /* passed beside a frame of which more is to come */
    QUOTA_SLOT_N
};

struct quota {
    uint64_t max[QUOTA_SLOT_N];
    uint64_t used[QUOTA_SLOT_N]; /* by all uids */
    struct list users;           /* those that hold something */
};

struct quota_user {
    struct list node;
    struct quota *quota; /* borrowed */
    uint64_t owner;
    uint64_t used[QUOTA_SLOT_N];
    uint64_t cap[QUOTA_SLOT_N]; /* of its class; 0: none */
    unsigned n_charges;         /* the last one to go frees the user */
};

struct quota_charge {        /* embedded in what was charged; all zero: no charge */
    struct quota_user *user; /* borrowed from the quota, which outlives every charge */
    enum quota_slot slot;
    uint64_t amount;
};

void quota_init(struct quota *quota, const uint64_t max[QUOTA_SLOT_N]);

/* charge must be empty.  QUOTA_E_EXCEEDED and -ENOMEM leave it so. */
int quota_charge(struct quota *quota, uint64_t owner, enum quota_slot slot, uint64_t amount,
                 struct quota_charge *charge);
/* What was granted to owner before, by another broker: without asking how much that is.  -ENOMEM. */
int quota_restore(struct quota *quota, uint64_t owner, enum quota_slot slot, uint64_t amount,
                  struct quota_charge *charge);
/* Grows or shrinks a charge that was made; QUOTA_E_EXCEEDED leaves it as it was, shrinking never fails. */
int quota_resize(struct quota_charge *charge, uint64_t amount);
/* A cap of the charge's owner, beside its share, as long as it has any charge; 0: none. */
void quota_cap(struct quota_charge *charge, enum quota_slot slot, uint64_t max);
void quota_release(struct quota_charge *charge); /* safe to call twice */

/* How much owner could hold in all if nobody else moved: for the error message. */
uint64_t quota_share(const struct quota *quota, uint64_t owner, enum quota_slot slot);
/* After QUOTA_E_EXCEEDED: is it the owner's own doing, or do all together hold too much? */
bool quota_is_own_doing(const struct quota *quota, uint64_t owner, enum quota_slot slot);
const char *quota_slot_name(enum quota_slot slot); /* "requests" */
uint64_t quota_used(const struct quota *quota, uint64_t owner, enum quota_slot slot);
