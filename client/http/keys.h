/* keys.h - who may come over TCP: a file of "NAME KEY" lines that only its owner may read. */
#pragma once

#include "proto/base.h"

enum { KEYS_MAX = 256, KEYS_NAME_BYTES = 32, KEYS_KEY_BYTES = 128, KEYS_KEY_MIN = 16 };
enum { KEYS_OK, KEYS_E_FILE, KEYS_E_SYNTAX };

struct keys {
    size_t n;
    struct keys_entry {
        char name[KEYS_NAME_BYTES + 1], key[KEYS_KEY_BYTES + 1];
    } entries[KEYS_MAX];
};

/* Lines that are empty or begin with '#' say nothing.  The fault names the line and never a key. */
int keys_read(const char *path, struct keys **ret_keys, struct fault *fault);
void keys_free(struct keys *keys); /* overwrites them; NULL allowed */
CLEANUP_FUNC(struct keys, keys_free)

/* The name of a key, NULL if it is none.  Takes as long whichever it is. */
const char *keys_find(const struct keys *keys, const char *key);
