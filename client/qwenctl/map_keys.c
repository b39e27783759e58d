/* map_keys.c - the keys of records.  See map.h. */
#include <stdio.h>
#include <string.h>

#include "map.h"
#include "proto/sha256.h"

enum { MAP_KEYS_CAP = 1024 }; /* at first; a power of two, as is every later one */

struct map_key_entry {
    uint8_t hash[16];
    uint32_t count; /* 0: free */
};

void map_keys_deinit(struct map_keys *keys)
{
    freep(&keys->entries);
    *keys = (struct map_keys){};
}

static void keys_hash(const char *key, uint8_t ret_hash[16])
{
    struct sha256 sha;
    uint8_t digest[32];

    sha256_init(&sha);
    sha256_put(&sha, key, strlen(key));
    sha256_end(&sha, digest);
    memcpy(ret_hash, digest, 16);
}

/* Where it is, or would be.  There is always a free entry. */
static struct map_key_entry *keys_find(struct map_key_entry *entries, size_t cap, const uint8_t hash[16])
{
    size_t at;

    memcpy(&at, hash, sizeof(at));
    for (at &= cap - 1; entries[at].count && memcmp(entries[at].hash, hash, 16); at = (at + 1) & (cap - 1))
        ;
    return &entries[at];
}

static int keys_grow(struct map_keys *keys)
{
    const size_t cap = keys->cap ? 2 * keys->cap : MAP_KEYS_CAP;
    struct map_key_entry *entries = calloc(cap, sizeof(*entries));

    if (!entries)
        return err_origin(-ENOMEM);
    for (size_t i = 0; i < keys->cap; i++)
        if (keys->entries[i].count)
            *keys_find(entries, cap, keys->entries[i].hash) = keys->entries[i];
    free(keys->entries);
    keys->entries = entries;
    keys->cap = cap;
    return 0;
}

int64_t map_keys_add(struct map_keys *keys, const char *key)
{
    struct map_key_entry *entry;
    uint8_t hash[16];

    if (keys->n >= MAP_RECORDS_MAX)
        return err_origin(-E2BIG);
    if (4 * (keys->n + 1) > 3 * keys->cap) {
        const int r = keys_grow(keys);

        if (r)
            return r;
    }
    keys_hash(key, hash);
    entry = keys_find(keys->entries, keys->cap, hash);
    if (!entry->count) {
        memcpy(entry->hash, hash, sizeof(entry->hash));
        keys->n++;
    }
    return entry->count++;
}

bool map_keys_has(const struct map_keys *keys, const char *key)
{
    uint8_t hash[16];

    if (!keys->n)
        return false;
    keys_hash(key, hash);
    return keys_find(keys->entries, keys->cap, hash)->count;
}

static int key_of_text(const struct map_record *record, char ret_key[MAP_KEY_BYTES])
{
    const char *what = record->path ? record->path : record->text;
    struct sha256 sha;
    uint8_t digest[32];

    sha256_init(&sha);
    sha256_put(&sha, what, record->path ? strlen(what) : record->n);
    sha256_end(&sha, digest);
    for (size_t i = 0; i < sizeof(digest); i++)
        snprintf(ret_key + 2 * i, 3, "%02x", digest[i]);
    return MAP_OK;
}

int map_key_of(const struct map_record *record, char *const *names, size_t n_names,
               char ret_key[MAP_KEY_BYTES], struct fault *fault)
{
    _cleanup_(freep) char *text = NULL;
    size_t n;
    int r;

    if (!names)
        return key_of_text(record, ret_key);
    r = map_record_field(record, names, n_names, &text, &n, fault);
    if (r)
        return r;
    if (!n || n > MAP_KEY_BYTES - 16) /* room for "#N" */
        return fault_set(fault, MAP_E_BAD, "its key has %zu bytes: 1 to %d", n, MAP_KEY_BYTES - 16);
    memcpy(ret_key, text, n + 1);
    return MAP_OK;
}
