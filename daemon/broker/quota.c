/* quota.c - charges per owner.  See quota.h. */
#include "quota.h"

#include <assert.h>

void quota_init(struct quota *quota, const uint64_t max[QUOTA_SLOT_N])
{
    *quota = (struct quota){};
    list_init(&quota->users);
    for (int i = 0; i < QUOTA_SLOT_N; i++)
        quota->max[i] = max[i];
}

/* At most some thousand uids hold something at a time (each has a connection), and a charge remembers its
 * user. */
static struct quota_user *quota_user_find(const struct quota *quota, uint64_t owner)
{
    struct quota_user *user;

    LIST_FOREACH (user, &quota->users, node)
        if (user->owner == owner)
            return user;
    return NULL;
}

static struct quota_user *quota_user_new(struct quota *quota, uint64_t owner)
{
    struct quota_user *user = calloc(1, sizeof(*user));

    if (!user)
        return NULL;
    user->quota = quota;
    user->owner = owner;
    list_push(&quota->users, &user->node);
    return user;
}

static void quota_user_put(struct quota_user *user)
{
    if (user->n_charges)
        return;
    list_remove(&user->node);
    free(user);
}

uint64_t quota_used(const struct quota *quota, uint64_t owner, enum quota_slot slot)
{
    const struct quota_user *user = quota_user_find(quota, owner);

    return user ? user->used[slot] : 0;
}

static uint64_t quota_half(const struct quota *quota, uint64_t own, enum quota_slot slot)
{
    const uint64_t others = quota->used[slot] - own;

    return others < quota->max[slot] ? (quota->max[slot] - others) / 2 : 0;
}

/* user NULL: one that holds nothing yet. */
static uint64_t quota_share_of(const struct quota *quota, const struct quota_user *user, enum quota_slot slot)
{
    const uint64_t share = quota_half(quota, user ? user->used[slot] : 0, slot);

    return user && user->cap[slot] ? MIN(share, user->cap[slot]) : share;
}

uint64_t quota_share(const struct quota *quota, uint64_t owner, enum quota_slot slot)
{
    return quota_share_of(quota, quota_user_find(quota, owner), slot);
}

bool quota_is_own_doing(const struct quota *quota, uint64_t owner, enum quota_slot slot)
{
    const struct quota_user *user = quota_user_find(quota, owner);
    const uint64_t own = user ? user->used[slot] : 0;

    return own >= quota->used[slot] - own ||
           (user && user->cap[slot] && user->cap[slot] <= quota_half(quota, own, slot));
}

const char *quota_slot_name(enum quota_slot slot)
{
    static const char *const names[QUOTA_SLOT_N] = {[QUOTA_CONNECTIONS] = "connections",
                                                    [QUOTA_REQUESTS] = "requests",
                                                    [QUOTA_BYTES] = "bytes",
                                                    [QUOTA_JOURNAL] = "bytes of the journal",
                                                    [QUOTA_FDS] = "passed file descriptors"};

    return names[slot];
}

static int quota_grow(struct quota_user *user, enum quota_slot slot, uint64_t more)
{
    const uint64_t share = quota_share_of(user->quota, user, slot);

    if (user->used[slot] > share || more > share - user->used[slot])
        return QUOTA_E_EXCEEDED;
    user->used[slot] += more;
    user->quota->used[slot] += more;
    return QUOTA_OK;
}

static void quota_shrink(struct quota_user *user, enum quota_slot slot, uint64_t less)
{
    assert(less <= user->used[slot]);
    user->used[slot] -= less;
    user->quota->used[slot] -= less;
}

static int quota_user_get(struct quota *quota, uint64_t owner, struct quota_user **ret_user)
{
    struct quota_user *user = quota_user_find(quota, owner);

    if (!user)
        user = quota_user_new(quota, owner);
    if (!user)
        return err_origin(-ENOMEM);
    *ret_user = user;
    return 0;
}

/* bounded: only what the owner may hold. */
static int quota_begin(struct quota *quota, uint64_t owner, enum quota_slot slot, uint64_t amount,
                       bool bounded, struct quota_charge *charge)
{
    struct quota_user *user = NULL;
    int r;

    assert(!charge->user);
    r = quota_user_get(quota, owner, &user);
    if (r)
        return r;
    r = bounded ? quota_grow(user, slot, amount) : QUOTA_OK;
    if (r) {
        quota_user_put(user);
        return r;
    }
    if (!bounded) {
        user->used[slot] += amount;
        quota->used[slot] += amount;
    }
    user->n_charges++;
    *charge = (struct quota_charge){.user = user, .slot = slot, .amount = amount};
    return QUOTA_OK;
}

int quota_charge(struct quota *quota, uint64_t owner, enum quota_slot slot, uint64_t amount,
                 struct quota_charge *charge)
{
    return quota_begin(quota, owner, slot, amount, true, charge);
}

int quota_restore(struct quota *quota, uint64_t owner, enum quota_slot slot, uint64_t amount,
                  struct quota_charge *charge)
{
    return quota_begin(quota, owner, slot, amount, false, charge);
}

int quota_resize(struct quota_charge *charge, uint64_t amount)
{
    assert(charge->user);
    if (amount > charge->amount) {
        int r = quota_grow(charge->user, charge->slot, amount - charge->amount);

        if (r)
            return r;
    } else {
        quota_shrink(charge->user, charge->slot, charge->amount - amount);
    }
    charge->amount = amount;
    return QUOTA_OK;
}

void quota_cap(struct quota_charge *charge, enum quota_slot slot, uint64_t max)
{
    assert(charge->user);
    charge->user->cap[slot] = max;
}

void quota_release(struct quota_charge *charge)
{
    if (!charge->user)
        return;
    quota_shrink(charge->user, charge->slot, charge->amount);
    charge->user->n_charges--;
    quota_user_put(charge->user);
    *charge = (struct quota_charge){};
}
