/* spill_index.c - the spilled checkpoints in order.  See spill_index.h. */
#include "spill_index.h"

#include <assert.h>
#include <string.h>

#include "xxh64.h"

int spill_index_new(uint64_t max_bytes, struct spill_index **ret_index)
{
    struct spill_index *index = calloc(1, sizeof(*index));

    if (!index)
        return err_origin(-ENOMEM);
    index->max_bytes = max_bytes;
    *ret_index = index;
    return 0;
}

struct spill_entry *spill_index_find(struct spill_index *index, uint64_t id)
{
    for (int i = 0; i < index->n; i++)
        if (index->entries[i].id == id)
            return &index->entries[i];
    return NULL;
}

/* Where the first entry of the uid at n_tok or behind it is, or would be. */
static int spill_index_place(const struct spill_index *index, uint32_t uid, int n_tok)
{
    int low = 0, high = index->n;

    while (low < high) {
        const int mid = (low + high) / 2;
        const struct spill_entry *e = &index->entries[mid];

        if (e->uid < uid || (e->uid == uid && e->n_tok < n_tok))
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

int spill_index_add(struct spill_index *index, const struct spill_entry *entry)
{
    struct spill_entry *parent = NULL;
    struct spill_entry made = *entry;
    int i;

    if (index->n == SPILL_FILES_MAX)
        return SPILL_E_FULL;
    if (spill_index_find(index, entry->id))
        return SPILL_E_TWICE;
    if (entry->parent) {
        parent = spill_index_find(index, entry->parent);
        if (!parent || parent->uid != entry->uid || parent->n_tok != entry->n_base ||
            parent->depth == SPILL_DEPTH_MAX)
            return SPILL_E_ORPHAN;
        parent->n_children++;
    }
    made.depth = parent ? parent->depth + 1 : 1;
    made.n_children = 0;
    i = spill_index_place(index, entry->uid, entry->n_tok);
    memmove(&index->entries[i + 1], &index->entries[i], (size_t)(index->n - i) * sizeof(made));
    index->entries[i] = made;
    index->n++;
    index->bytes += made.bytes;
    return SPILL_OK;
}

void spill_index_remove(struct spill_index *index, uint64_t id)
{
    struct spill_entry *entry = spill_index_find(index, id), *parent;

    assert(entry && !entry->n_children);
    parent = entry->parent ? spill_index_find(index, entry->parent) : NULL;
    if (parent)
        parent->n_children--;
    index->bytes -= entry->bytes;
    index->n--;
    memmove(entry, entry + 1, (size_t)(&index->entries[index->n] - entry) * sizeof(*entry));
}

struct spill_entry *spill_index_match(struct spill_index *index, uint32_t uid, const int32_t *ids, int n_ids)
{
    struct spill_entry *best = NULL;
    struct xxh64 sum;
    int pos = 0;

    xxh64_init(&sum);
    for (int i = spill_index_place(index, uid, 0); i < index->n; i++) {
        struct spill_entry *e = &index->entries[i];

        if (e->uid != uid || e->n_tok > n_ids)
            break;
        xxh64_put(&sum, ids + pos, (size_t)(e->n_tok - pos) * sizeof(*ids));
        pos = e->n_tok;
        if (xxh64_sum(&sum) == e->ids_sum)
            best = e;
    }
    return best;
}

struct spill_entry *spill_index_last_behind(struct spill_index *index, uint64_t id)
{
    struct spill_entry *at = spill_index_find(index, id);

    while (at && at->n_children) {
        int i = 0;

        while (index->entries[i].parent != at->id)
            i++;
        at = &index->entries[i];
    }
    return at;
}

/* Two that were used at the same time are in the order of their ids. */
static bool spill_index_is_before(const struct spill_entry *e, uint64_t used_ns, uint64_t id)
{
    return e->used_ns < used_ns || (e->used_ns == used_ns && e->id < id);
}

struct spill_entry *spill_index_leaf_before(struct spill_index *index, uint64_t used_ns, uint64_t id)
{
    struct spill_entry *last = NULL;

    for (int i = 0; i < index->n; i++) {
        struct spill_entry *e = &index->entries[i];

        if (!e->n_children && spill_index_is_before(e, used_ns, id) &&
            (!last || spill_index_is_before(last, e->used_ns, e->id)))
            last = e;
    }
    return last;
}

/* giving up */

static uint64_t spill_index_uid_bytes(const struct spill_index *index, int *i)
{
    const uint32_t uid = index->entries[*i].uid;
    uint64_t bytes = 0;

    for (; *i < index->n && index->entries[*i].uid == uid; ++*i)
        bytes += index->entries[*i].bytes;
    return bytes;
}

/* The uid that would hold the most; the asking one if it is a draw. */
static uint32_t spill_index_largest(const struct spill_index *index, uint32_t uid, uint64_t bytes)
{
    uint32_t largest = uid;
    uint64_t most = bytes;
    int i = spill_index_place(index, uid, 0);

    if (i < index->n && index->entries[i].uid == uid)
        most += spill_index_uid_bytes(index, &i);
    for (i = 0; i < index->n;) {
        const uint32_t other = index->entries[i].uid;
        const uint64_t held = spill_index_uid_bytes(index, &i);

        if (other == uid || held <= most)
            continue;
        most = held;
        largest = other;
    }
    return largest;
}

static double spill_index_value(const struct spill_entry *e, uint64_t now_ns)
{
    const double age_s = now_ns > e->used_ns ? (double)(now_ns - e->used_ns) * 1e-9 : 0;

    return (double)(e->n_tok - e->n_base) / (double)e->bytes / (age_s + 1);
}

struct spill_entry *spill_index_victim(struct spill_index *index, uint32_t uid, uint64_t bytes,
                                       uint64_t now_ns, uint64_t spare, uint64_t keep, bool *ret_fits)
{
    struct spill_entry *least = NULL;
    uint32_t largest;

    *ret_fits =
        index->n < SPILL_FILES_MAX && bytes <= index->max_bytes && index->bytes <= index->max_bytes - bytes;
    if (*ret_fits || bytes > index->max_bytes)
        return NULL;
    largest = spill_index_largest(index, uid, bytes);
    for (int i = spill_index_place(index, largest, 0); i < index->n; i++) {
        struct spill_entry *e = &index->entries[i];

        if (e->uid != largest)
            break;
        if (e->n_children || e->id == spare || e->id >= keep)
            continue;
        if (!least || spill_index_value(e, now_ns) < spill_index_value(least, now_ns))
            least = e;
    }
    return least;
}
