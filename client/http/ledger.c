/* ledger.c - see ledger.h. */
#include "ledger.h"

#include <stdio.h>
#include <string.h>

int ledger_init(struct ledger *ledger)
{
    *ledger = (struct ledger){.entries = calloc(LEDGER_USERS, sizeof(*ledger->entries))};
    return ledger->entries ? 0 : err_origin(-ENOMEM);
}

void ledger_deinit(struct ledger *ledger)
{
    freep(&ledger->entries);
    ledger->n = 0;
}

static struct ledger_entry *ledger_get(const struct ledger *ledger, const char *user)
{
    for (size_t i = 0; i < ledger->n; i++)
        if (!strcmp(ledger->entries[i].user, user))
            return &ledger->entries[i];
    return NULL;
}

const struct ledger_entry *ledger_find(const struct ledger *ledger, const char *user)
{
    return ledger_get(ledger, user);
}

struct ledger_entry *ledger_count(struct ledger *ledger, const char *user, size_t n_bytes)
{
    struct ledger_entry *entry = ledger_get(ledger, user);

    if (!entry) {
        const bool last = ledger->n >= LEDGER_USERS - 1;

        entry = &ledger->entries[last ? LEDGER_USERS - 1 : ledger->n];
        snprintf(entry->user, sizeof(entry->user), "%s", last ? LEDGER_OTHERS : user);
        ledger->n = last ? LEDGER_USERS : ledger->n + 1;
    }
    entry->requests++;
    entry->bytes += n_bytes;
    return entry;
}
