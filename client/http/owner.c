/* owner.c - see owner.h. */
#include "owner.h"

#include <stdio.h>
#include <string.h>

void owners_init(struct owners *owners, const uint64_t limit[OWNER_WHATS])
{
    *owners = (struct owners){};
    list_init(&owners->all);
    memcpy(owners->limit, limit, sizeof(owners->limit));
}

struct owner *owner_get(struct owners *owners, const char *name)
{
    struct owner *owner;

    LIST_FOREACH (owner, &owners->all, node)
        if (!strcmp(owner->name, name)) {
            owner->n_refs++;
            return owner;
        }
    owner = calloc(1, sizeof(*owner));
    if (!owner)
        return NULL;
    snprintf(owner->name, sizeof(owner->name), "%s", name);
    owner->owners = owners;
    owner->n_refs = 1;
    list_push(&owners->all, &owner->node);
    return owner;
}

void owner_put(struct owner *owner)
{
    if (!owner || --owner->n_refs)
        return;
    list_remove(&owner->node);
    free(owner);
}

bool owner_charge(struct owner *owner, enum owner_what what, uint64_t n)
{
    struct owners *owners = owner->owners;
    const uint64_t others = owners->used[what] - owner->used[what];

    /* what moved with a connection from one owner to another was not asked for again, and may be over it */
    if (others > owners->limit[what] || n > owners->limit[what] ||
        owner->used[what] + n > (owners->limit[what] - others + 1) / 2)
        return false;
    owner->used[what] += n;
    owners->used[what] += n;
    return true;
}

void owner_release(struct owner *owner, enum owner_what what, uint64_t n)
{
    owner->used[what] -= n;
    owner->owners->used[what] -= n;
}
