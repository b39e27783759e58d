/* spill.h - checkpoints of the prefix cache on disk, so that they outlive the engine.
 *
 * DESIGN.  One thread does all, in slices of SPILL_SLICE_BYTES between which the engine looks for frames.
 * What is written is written while no request runs, so no step ever waits for a disk and nothing has to be
 * copied or held: if memory gives a checkpoint up while half of it is written, that file is dropped.  A
 * thread of its own would need both, and would still share the memory bandwidth that steps live on.  What is
 * read back is read for one request before its first step, between the steps of the others.
 *
 * One file per checkpoint (spill_file.h): giving one up is an unlink, and a write that is cut short harms
 * nothing else.  At the start only the headers are read.  Files of another model or engine stay until their
 * room is wanted, and are the first to go then: an administrator may have that served again.  A file is
 * checked when it is used: its tokens one by one against the request's, the rest by sums, all of it before
 * the request's first step.  What is wrong with one is said in one line, and it is removed.  A fault of the
 * folder (full, read-only, broken) ends the writing, with one line, and nothing else.
 *
 * Nothing here allocates but spill_open(). */
#pragma once

#include "daemon/model/model.h"
#include "spill_file.h"

/* Half a millisecond from or to the page cache. */
enum { SPILL_SLICE_BYTES = 1 << 20 };

struct spill;
struct spill_config {
    const char *folder; /* copied; made if it is not there, with mode 0700 */
    uint64_t max_bytes;
    struct state *state; /* borrowed */
    uint8_t key[SPILL_KEY_BYTES];
};

/* SPILL_E_OFF: the folder cannot be used; the fault says why. */
int spill_open(const struct spill_config *config, struct fault *fault, struct spill **ret_spill);
struct spill *spill_free(struct spill *spill);
CLEANUP_FUNC(struct spill, spill_free)
uint64_t spill_used_bytes(const struct spill *spill);
uint64_t spill_max_bytes(const struct spill *spill);
bool spill_writes(const struct spill *spill); /* false: the folder has failed */

/* reading */
/* The longest beginning of ids that is there: how many tokens, and its id.  0: none. */
int spill_find(struct spill *spill, uint32_t uid, const int32_t *ids, int n_ids, uint64_t *ret_id);
/* ids and pages are borrowed until spill_read_more() says anything but SPILL_E_AGAIN, or spill_read_drop();
 * both reach as far as spill_find() said. */
void spill_read_begin(struct spill *spill, uint64_t id, const int32_t *ids, int slot, const int32_t *pages);
/* One slice.  SPILL_OK: the slot and the pages have what the file has; SPILL_E_BAD: they may hold anything,
 * and the file is gone; < 0: the backend's. */
int spill_read_more(struct spill *spill);
void spill_read_drop(struct spill *spill);

/* reading ahead of requests */
struct spill_leaf {
    uint64_t used_ns, id;
    uint32_t uid;
    int n_tok;
};
#define SPILL_LEAF_FIRST ((struct spill_leaf){.used_ns = UINT64_MAX, .id = UINT64_MAX})
/* After that one the one that was used last before it, with its tokens; longer ones than max_tok are passed
 * over. SPILL_E_BAD: it was removed, ask again; SPILL_E_OFF: there are no more. */
int spill_next_leaf(struct spill *spill, struct spill_leaf *leaf, int max_tok, int32_t *ret_ids);
/* The file that this one goes on behind; false: none. */
bool spill_parent(struct spill *spill, uint64_t id, uint64_t *ret_id, int *ret_n_tok);
/* As spill_read_begin(), for nobody yet: the files do not count as used.  pages NULL: the state alone. */
void spill_read_ahead(struct spill *spill, uint64_t id, const int32_t *ids, int slot, const int32_t *pages);

/* writing */
/* SPILL_E_HAVE: it is there; SPILL_E_FULL: there is no room for it beside what is worth more; SPILL_E_OFF. */
int spill_write_begin(struct spill *spill, uint32_t uid, const int32_t *ids, int n_ids, uint64_t keep_from,
                      uint64_t *ret_id);
/* One slice; SPILL_OK: it is written; SPILL_E_OFF; < 0. */
int spill_write_more(struct spill *spill, int ckpt, const int32_t *pages);
void spill_write_drop(struct spill *spill);        /* safe if nothing is being written */
uint64_t spill_next_id(const struct spill *spill); /* files from here on are yet to be written */

/* No file that leads to ids, nor one that goes on behind such a file, is given out again. */
void spill_forget(struct spill *spill, uint32_t uid, const int32_t *ids, int n_ids);
