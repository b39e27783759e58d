/* penalty.c - a small table of uids.  See penalty.h. */
#include "penalty.h"

#define PENALTY_MS_NS 1000000ull

static struct penalty_entry *penalty_find(const struct penalty *penalty, uid_t uid)
{
    for (unsigned i = 0; i < penalty->n_entries; i++)
        if (penalty->entries[i].uid == uid)
            return (struct penalty_entry *)&penalty->entries[i];
    return NULL;
}

static struct penalty_entry *penalty_make(struct penalty *penalty, uid_t uid)
{
    struct penalty_entry *entry = penalty_find(penalty, uid);

    if (entry)
        return entry;
    if (penalty->n_entries < PENALTY_UIDS_MAX) {
        entry = &penalty->entries[penalty->n_entries++];
    } else {
        entry = &penalty->entries[0];
        for (unsigned i = 1; i < penalty->n_entries; i++)
            if (penalty->entries[i].until_ns < entry->until_ns)
                entry = &penalty->entries[i];
    }
    *entry = (struct penalty_entry){.uid = uid};
    return entry;
}

uint32_t penalty_add(struct penalty *penalty, uid_t uid, uint64_t now_ns)
{
    struct penalty_entry *entry = penalty_make(penalty, uid);

    if (!entry->ms || now_ns > entry->until_ns + PENALTY_MAX_MS * PENALTY_MS_NS)
        entry->ms = PENALTY_MIN_MS;
    else
        entry->ms = MIN(2 * entry->ms, (uint32_t)PENALTY_MAX_MS);
    entry->until_ns = now_ns + entry->ms * PENALTY_MS_NS;
    return entry->ms;
}

uint32_t penalty_left_ms(const struct penalty *penalty, uid_t uid, uint64_t now_ns)
{
    const struct penalty_entry *entry = penalty_find(penalty, uid);

    return entry && entry->until_ns > now_ns ? (uint32_t)CEIL_DIV(entry->until_ns - now_ns, PENALTY_MS_NS)
                                             : 0;
}
