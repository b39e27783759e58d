/* account.h - whom a request is charged to: a uid, or one of the names that a gateway's uid gave.
 *
 * An account is kept while a request holds it, and ACCOUNTS_IDLE_MAX of them after that: for the tokens it
 * has used up, and for its number, under which the engine keeps what it has read for it. */
#pragma once

#include <sys/types.h>

#include "daemon/util/list.h"
#include "policy_class.h"
#include "rate.h"

enum { ACCOUNTS_IDLE_MAX = 1024 };

struct account {
    struct list node;
    struct accounts *accounts; /* borrowed */
    uid_t uid;
    char name[POLICY_ACCOUNT_BYTES_MAX + 1]; /* "": the uid itself */
    uint64_t key; /* for quota, queue and engine: the uid, or a number above all uids, never used twice */
    unsigned n_refs;
    struct rate rate;
};

struct accounts {
    struct list list;
    unsigned n_idle;
    uint64_t last_key;
};

void accounts_init(struct accounts *accounts);
void accounts_deinit(struct accounts *accounts); /* nobody holds one any more */

/* Held until account_put().  name NULL: the uid itself.  -ENOMEM. */
int account_get(struct accounts *accounts, uid_t uid, const char *name, const struct policy_class *class,
                uint64_t now_ns, struct account **ret_account);
/* The same for one that another broker had, under its number. */
int account_restore(struct accounts *accounts, uid_t uid, const char *name, uint64_t key,
                    const struct policy_class *class, uint64_t now_ns, struct account **ret_account);
void account_put(struct account *account, uint64_t now_ns); /* takes NULL */
