/* spill_folder.h - the inside of struct spill; included by spill.c, spill_read.c and spill_write.c. */
#pragma once

#include <sys/stat.h>

#include "spill.h"
#include "spill_index.h"
#include "xxh64.h"

#define SPILL_NEW "new" /* what is being written */

struct spill_out {
    int fd; /* owned; -1: nothing is being written */
    struct spill_header header;
    struct xxh64 sum;
    int part;        /* the next one: pages, then layers of the state */
    uint64_t offset; /* where it goes */
};

struct spill_in {
    uint64_t chain[SPILL_DEPTH_MAX]; /* ids, the first one has no parent */
    int n_chain, i_chain;
    const int32_t *ids, *pages; /* borrowed */
    int slot;
    bool is_ahead; /* of requests: nobody used them */
    int fd;        /* owned; of chain[i_chain], -1: not open yet */
    struct spill_header header;
    struct xxh64 sum;
    int part;
    uint64_t offset;
};

/* A file of another model or engine.  Whoever has that served again finds it; until then it is the first to
 * go. */
struct spill_foreign {
    uint64_t id, bytes, used_ns;
    uint32_t uid;
};

struct spill {
    int dir_fd;
    char *folder;
    struct state *state; /* borrowed */
    struct spill_shape shape;
    struct spill_index *index;
    struct spill_foreign *foreign; /* owned, [SPILL_FILES_MAX], the first n_foreign are there */
    int n_foreign;
    uint64_t foreign_bytes;
    uint64_t next_id; /* above all that are there */
    bool writes;
    uint8_t *host; /* [n_host] one part on its way */
    size_t n_host;
    struct spill_out out;
    struct spill_in in;
};

uint64_t spill_now_ns(void);
/* All that was asked for, or as far as the file goes; < 0. */
ssize_t spill_pread(int fd, void *data, size_t n, uint64_t offset);
/* A name may stand for anything by now: nothing of it is waited for, no link is followed.  SPILL_E_OTHER,
 * SPILL_E_BAD. */
int spill_open_file(const struct spill *spill, const char *name, struct spill_header *ret_header,
                    struct stat *ret_st, int *ret_fd, struct fault *fault);
/* By its name; as spill_open_file(), and it has to be what the index knows. */
int spill_open_entry(const struct spill *spill, const struct spill_entry *entry,
                     struct spill_header *ret_header, int *ret_fd, struct fault *fault);
/* Says what is wrong with a file and removes it: SPILL_E_BAD. */
int spill_refuse(struct spill *spill, const struct spill_entry *entry, const struct fault *fault);
/* The file, and whatever goes on behind it. */
void spill_remove_all(struct spill *spill, uint64_t id);
/* Until uid may add `bytes` behind `spare`, without what was written from keep_from on; false: it may not. */
bool spill_make_room(struct spill *spill, uint32_t uid, uint64_t bytes, uint64_t spare, uint64_t keep_from);
