/* owner.h - who holds what in the gateway: each peer uid and each key is an owner, charged for its
 * connections, its memory and the answers it waits for.
 *
 * An owner gets at most half of what the others have left, so that a second one always finds room; what one
 * alone can make us hold is half of the limit. */
#pragma once

#include "daemon/util/list.h"

enum { OWNER_NAME_BYTES = 64 };
enum owner_what { OWNER_CONNECTIONS, OWNER_BYTES, OWNER_REQUESTS, OWNER_WHATS };

struct owners {
    struct list all;
    uint64_t limit[OWNER_WHATS], used[OWNER_WHATS];
};
struct owner {
    struct list node;
    struct owners *owners; /* borrowed, outlives it */
    int n_refs;
    uint64_t used[OWNER_WHATS];
    char name[OWNER_NAME_BYTES + 1]; /* also its account: printable ASCII without blanks */
};

void owners_init(struct owners *owners, const uint64_t limit[OWNER_WHATS]);
/* The one of that name, made if there is none; each get wants a put.  NULL: no memory. */
struct owner *owner_get(struct owners *owners, const char *name);
void owner_put(struct owner *owner); /* NULL allowed; it holds nothing any more when the last one lets go */

bool owner_charge(struct owner *owner, enum owner_what what, uint64_t n); /* false: more than its share */
void owner_release(struct owner *owner, enum owner_what what, uint64_t n);
