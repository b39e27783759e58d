/* ledger.h - how much of whom has left the machine: numbers, never content. */
#pragma once

#include "owner.h"

enum { LEDGER_USERS = 1024 }; /* that are counted by themselves; the last one of them is all others */
#define LEDGER_OTHERS "others"

struct ledger_entry {
    char user[OWNER_NAME_BYTES + 1];
    uint64_t requests, bytes;
};
struct ledger {
    struct ledger_entry *entries; /* owned; [LEDGER_USERS]; NULL: nothing can leave */
    size_t n;
};

int ledger_init(struct ledger *ledger);
void ledger_deinit(struct ledger *ledger);
/* Where this user is counted from now on. */
struct ledger_entry *ledger_count(struct ledger *ledger, const char *user, size_t n_bytes);
/* NULL: nothing of his has left, or he is one of the others. */
const struct ledger_entry *ledger_find(const struct ledger *ledger, const char *user);
