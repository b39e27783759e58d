/* feed.h - a file's bytes, piece by piece in order, read ahead by threads of their own.
 *
 * While one piece is worked on the next ones come in.  What the page cache has is taken from there; the rest
 * is read past it where the file system can (O_DIRECT): that costs no copy of each byte, and leaves the cache
 * to others.  A file that cannot be read, or ends early, is an error of the piece that it happened in. */
#pragma once

#include "proto/base.h"

enum {
    FEED_PIECE_BYTES = 4 << 20
}; /* what a piece had better have at most; memory taken is a few of the largest */

struct feed_piece {
    uint64_t offset; /* in the file */
    size_t bytes;
};

/* All of the file's bytes from offset on, at once.  < 0: errno of the read; -ENODATA: the file ends before.
 */
int feed_read_at(int fd, void *ret_bytes, size_t bytes, uint64_t offset);

struct feed; /* opaque */

/* fd and pieces are borrowed until feed_free(); n_pieces > 0. */
int feed_new(int fd, const struct feed_piece *pieces, int n_pieces, struct feed **ret_feed);
/* The next piece's bytes, which are valid until the call after this one; called n_pieces times at most.
 * Waits. < 0: errno of the read; -ENODATA: the file has become shorter. */
int feed_next(struct feed *feed, const uint8_t **ret_data);
struct feed *feed_free(struct feed *feed);
CLEANUP_FUNC(struct feed, feed_free)
