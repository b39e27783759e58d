/* spill_index.h - which spilled checkpoints there are, what they begin with, and which of them goes first.
 *
 * A file is found by (uid, position, sum of the tokens up to there); that the tokens are the same is then
 * seen in the file, token by token.  No look-up crosses uids.  Files form a forest: one that goes on behind a
 * parent is of no use without it, so only those that nobody goes on behind are given up.
 *
 * The cap is kept as in memory (prefix.h): the uid that would hold the most bytes gives way, and of it what
 * saves the fewest tokens per byte and was used longest ago.
 *
 * Pure: no clock, no files.  All memory is taken by spill_index_new(). */
#pragma once

#include "spill_file.h"

enum { SPILL_FILES_MAX = 4096, SPILL_DEPTH_MAX = 64 };

struct spill_entry {
    uint64_t id, parent, ids_sum, bytes;
    uint64_t used_ns; /* when it was last of use, since the epoch */
    uint32_t uid;
    int n_base, n_tok;
    int depth, n_children; /* depth: files that it takes to read it, itself included */
};

struct spill_index {
    struct spill_entry entries[SPILL_FILES_MAX]; /* by uid, then position */
    int n;
    uint64_t bytes, max_bytes;
};

int spill_index_new(uint64_t max_bytes, struct spill_index **ret_index); /* 0, -ENOMEM; freed with free() */

/* depth and n_children are filled in.  SPILL_E_FULL: SPILL_FILES_MAX are there; SPILL_E_ORPHAN: no parent
 * that it could go on behind; SPILL_E_TWICE: the id is taken. */
int spill_index_add(struct spill_index *index, const struct spill_entry *entry);
/* An entry without children. */
void spill_index_remove(struct spill_index *index, uint64_t id);

struct spill_entry *spill_index_find(struct spill_index *index, uint64_t id); /* NULL: not there */
/* The longest beginning of ids.  Valid until the next add or remove; NULL: none. */
struct spill_entry *spill_index_match(struct spill_index *index, uint32_t uid, const int32_t *ids, int n_ids);
/* Some entry that goes on behind this one, at any remove, and that nobody goes on behind; itself if there is
 * none. */
struct spill_entry *spill_index_last_behind(struct spill_index *index, uint64_t id);

/* Of those that nobody goes on behind, the one that was used last before (used_ns, id); NULL: none is left.
 */
struct spill_entry *spill_index_leaf_before(struct spill_index *index, uint64_t used_ns, uint64_t id);

/* What has to go so that uid may add `bytes`: never an entry from id `keep` on, nor one that spare leads to.
 * NULL: nothing has to if *ret_fits, else nothing may. */
struct spill_entry *spill_index_victim(struct spill_index *index, uint32_t uid, uint64_t bytes,
                                       uint64_t now_ns, uint64_t spare, uint64_t keep, bool *ret_fits);
