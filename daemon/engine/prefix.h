/* prefix.h - which beginnings of prompts were read before, and where what the model made of them lies.
 *
 * DESIGN.  One radix tree per scope (an owner: a uid, or a gateway's user): no look-up ever crosses scopes,
 * so there is no hit on somebody else's text to be timed.  Tokens are compared one by one, never by hash.  A
 * node is a position: the tokens between its parent's position and its own are its edge.  A DeltaNet layer's
 * state cannot be cut back as keys and values can, so reading can only resume where the state was copied: a
 * node with a checkpoint. Nodes without one are where two edges part.
 *
 * An edge lies in KV pages, and the tokens that were read into a page are kept beside it, so tokens need no
 * room of their own.  The first page of an edge may be the last of its parent's (the sequence read on) or a
 * copy of it (another sequence went on from there); either has the whole page's keys and values up to the
 * node, so of two the deeper one counts.
 *
 * What must go to make room is what saves least: tokens that would have to be read again, per byte that is
 * freed, divided by how long ago it was used.  Attention's share of the work, which grows with the position,
 * is left out: it is as large as the rest only beyond 130,000 tokens.  The scope that would hold the most
 * bytes gives way, so nobody loses anything to an owner that holds more than he does, and one who is alone
 * has it all.
 *
 * What the administrator publishes lies in scopes of its own, from PREFIX_PUBLIC on: everybody's look-up goes
 * there too, nobody's text is added there, nothing of it gives way, and its pages are the service's also
 * where a user's edge begins with them.  When it goes, what users have behind it goes as well.
 *
 * Pure: no clock, no kernels.  All memory is taken by prefix_new(). */
#pragma once

#include "pages.h"

enum { PREFIX_OK, PREFIX_E_HAVE = 20, PREFIX_E_FULL };
enum { PREFIX_MIN_TOK = 32 };      /* fewer are read sooner than they are worth a checkpoint's bytes */
#define PREFIX_PUBLIC (1ull << 63) /* owners from here on: above all uids and accounts */

struct prefix_size {
    int n_ckpts, n_pages; /* what the cache may hold at a time */
    uint64_t ckpt_bytes, page_bytes;
};

struct prefix_node { /* links are indices; 0: none, since the first node and the first ref are never used */
    int parent, child, next;
    int scope;
    int pos;            /* tokens from the start; 0: a root */
    int ckpt;           /* -1: none */
    int first_ref;      /* its edge's pages, from the one that holds the parent's pos on */
    uint64_t last_used; /* tick; modulo 2^64, only differences count */
    uint64_t made;      /* tick of its checkpoint */
    uint64_t file;      /* on disk, once it was written or read there (spill.h); 0: never */
};

struct prefix_ref { /* one page of an edge */
    int32_t page;
    int next; /* 0: the last one */
};

struct prefix_scope {
    uint64_t owner;
    int root; /* 0: the scope is not in use */
    int n_ckpts, n_pages;
};

struct prefix {
    struct prefix_size size;
    struct pages *pages; /* borrowed */
    struct prefix_node *nodes;
    struct prefix_ref *refs;
    struct prefix_scope *scopes; /* [n_ckpts]: none is kept without a checkpoint */
    int *ckpts;                  /* stack of those that are free */
    int32_t *held;               /* [pages->n] edges that a page belongs to */
    int32_t *ids;                /* [pages->n][KERN_PAGE_TOK] what was read into a page that is held */
    int16_t *lender;             /* [pages->n] of a public scope's page that scope + 1; 0: a user's */
    int n_public_pages;
    int free_node, free_ref, n_free_refs, n_free_ckpts, n_free_pages;
    uint64_t tick;
    uint64_t n_evicted; /* checkpoints, since the start */
};

/* size->n_ckpts >= 1, size->n_pages >= 1. */
int prefix_new(struct pages *pages, const struct prefix_size *size, struct prefix **ret_prefix);
struct prefix *prefix_free(struct prefix *prefix);
CLEANUP_FUNC(struct prefix, prefix_free)

struct prefix_hit {
    int n_tok;      /* read before; 0: nothing is known */
    int ckpt;       /* the state at n_tok */
    int n_known;    /* >= n_tok: tokens up to here were read before, yet no state was kept: seen twice now */
    uint64_t owner; /* whose it is: the asking one's, or a public one */
};
/* The longest beginning of ids with a checkpoint.  pages [CEIL_DIV(n_ids, KERN_PAGE_TOK)]: set for the first
 * CEIL_DIV(n_tok, KERN_PAGE_TOK); the caller holds what it keeps before it calls again, and writes to none.
 */
void prefix_find(struct prefix *prefix, uint64_t owner, const int32_t *ids, int n_ids, int32_t *pages,
                 struct prefix_hit *ret_hit);

/* ids were read into pages: takes a share in what is new and gives a checkpoint to copy the state to.
 * PREFIX_E_HAVE: the position is known (and counts as used); PREFIX_E_FULL: not without taking room from
 * somebody who has less. */
int prefix_add(struct prefix *prefix, uint64_t owner, const int32_t *ids, int n_ids, const int32_t *pages,
               int *ret_ckpt);

/* What was read on the way to ids was not right: no checkpoint of it is given out again. */
void prefix_forget(struct prefix *prefix, uint64_t owner, const int32_t *ids, int n_ids);

uint64_t prefix_used_bytes(const struct prefix *prefix);

/* public ones */
void prefix_keep_only(struct prefix *prefix, uint64_t owner,
                      int n_tok); /* of its checkpoints the one there */
void prefix_drop_public(struct prefix *prefix, uint64_t owner);
int prefix_n_public_ckpts(const struct prefix *prefix);
bool prefix_has_owner(const struct prefix *prefix, uint64_t owner); /* anything of his */

/* for what copies checkpoints elsewhere */
/* Of those without a file, min_tok or more behind the last one on their way that has one, of owners up to
 * max_owner: what is worth most, or the first such one above it.  0: there is none. */
int prefix_find_unsaved(const struct prefix *prefix, uint64_t max_owner, int min_tok);
/* The tokens that lead to the node, and the pages that they lie in. */
void prefix_copy_path(const struct prefix *prefix, int node, int32_t *ids, int32_t *pages);
void prefix_set_file(struct prefix *prefix, int ckpt, uint64_t file);
/* It was used n ticks before the first one: what was used before the start is older than all since. */
void prefix_set_old(struct prefix *prefix, int ckpt, uint64_t n);
