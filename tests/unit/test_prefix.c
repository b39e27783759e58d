/* test_prefix.c - the prefix cache's tree; see daemon/engine/prefix.h.
 *
 * Instead of keys and values, a page holds for each position a digest of the uid and of all tokens up to it,
 * and so does a checkpoint: whatever a hit gives is right if the digests are those of the tokens asked for.
 */
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
// clang-format on

#include <stdlib.h>
#include <string.h>

#include "daemon/engine/prefix.h"

enum { LEN_MAX = 512, PAGES_MAX = LEN_MAX / KERN_PAGE_TOK, SEQS = 4, CKPTS_MAX = 16, POOL_MAX = 128 };
enum { CKPT_BYTES = 1600, PAGE_BYTES = 1600 };

struct text {
    uint64_t uid;
    int n;
    int32_t ids[LEN_MAX];
};

struct reader { /* a running sequence */
    bool alive;
    struct text text; /* what it will have read in the end */
    int n_read, n_pages;
    int32_t pages[PAGES_MAX];
};

static struct world {
    struct pages pool;
    struct prefix *prefix;
    uint64_t kv[POOL_MAX][KERN_PAGE_TOK], ckpts[CKPTS_MAX];
    struct text known[CKPTS_MAX]; /* the naive list: what each checkpoint was given out for */
    struct reader readers[SEQS];
} w;

static void world_open(int n_ckpts, int n_pages)
{
    const struct prefix_size size = {n_ckpts, n_pages, CKPT_BYTES, PAGE_BYTES};

    memset(&w, 0, sizeof(w));
    assert_int_equal(pages_init(&w.pool, SEQS * PAGES_MAX + n_pages), 0);
    assert_true(w.pool.n <= POOL_MAX && n_ckpts <= CKPTS_MAX);
    assert_int_equal(prefix_new(&w.pool, &size, &w.prefix), 0);
}

static void world_close(void)
{
    w.prefix = prefix_free(w.prefix);
    pages_deinit(&w.pool);
}

static bool one_digest; /* of all uids, where they share pages */

static uint64_t digest(const struct text *t, int n)
{
    uint64_t h = 0xcbf29ce484222325 ^ (one_digest ? 0 : t->uid);

    for (int i = 0; i < n; i++)
        h = (h ^ (uint64_t)t->ids[i]) * 0x100000001b3 + (uint64_t)i;
    return h;
}

static int n_same(const struct text *a, const struct text *b, int max)
{
    int n = 0;

    while (n < max && n < a->n && n < b->n && a->ids[n] == b->ids[n])
        n++;
    return n;
}

static bool is_alive(int ckpt)
{
    for (int i = 0; i < w.prefix->n_free_ckpts; i++)
        if (w.prefix->ckpts[i] == ckpt)
            return false;
    return true;
}

/* What the naive list says of a look-up. */
static struct prefix_hit naive_find(const struct text *t, int max)
{
    struct prefix_hit hit = {.ckpt = -1};

    for (int i = 0; i < w.prefix->size.n_ckpts; i++) {
        const struct text *known = &w.known[i];
        int n;

        if (!is_alive(i) || (known->uid != t->uid && (known->uid < PREFIX_PUBLIC || t->uid >= PREFIX_PUBLIC)))
            continue;
        n = n_same(known, t, max);
        if (known->uid == t->uid || n == known->n)
            hit.n_known = MAX(hit.n_known, n);
        if (n < known->n || n < hit.n_tok || (n == hit.n_tok && known->uid != t->uid))
            continue;
        hit.n_tok = n;
        hit.ckpt = i;
    }
    return hit;
}

static int look_up(const struct text *t, int max, int32_t *pages)
{
    const struct prefix_hit want = naive_find(t, max);
    struct prefix_hit hit;

    prefix_find(w.prefix, t->uid, t->ids, max, pages, &hit);
    assert_int_equal(hit.n_tok, want.n_tok);
    assert_int_equal(hit.ckpt, want.ckpt);
    assert_int_equal(hit.n_known, want.n_known);
    for (int i = 0; i < hit.n_tok; i++)
        if (w.kv[pages[i / KERN_PAGE_TOK]][i % KERN_PAGE_TOK] != digest(t, i + 1))
            fail_msg("a hit of %d tokens: position %d is not that text's", hit.n_tok, i);
    if (hit.n_tok)
        assert_true(w.ckpts[hit.ckpt] == digest(t, hit.n_tok));
    return hit.n_tok;
}

/* As the engine begins: full pages are shared, the last one that is not is copied. */
static int reader_begin(struct reader *r, const struct text *t)
{
    int32_t pages[PAGES_MAX];

    *r = (struct reader){.alive = true, .text = *t};
    r->n_read = look_up(t, t->n - 1, pages);
    for (; r->n_pages < r->n_read / KERN_PAGE_TOK; r->n_pages++) {
        r->pages[r->n_pages] = pages[r->n_pages];
        pages_hold(&w.pool, pages[r->n_pages]);
    }
    if (r->n_read % KERN_PAGE_TOK) {
        const int32_t page = pages_take(&w.pool);

        memcpy(w.kv[page], w.kv[pages[r->n_pages]], sizeof(w.kv[page]));
        r->pages[r->n_pages++] = page;
    }
    return r->n_read;
}

static void reader_read(struct reader *r, int n)
{
    for (; n && r->n_read < r->text.n; n--) {
        if (r->n_read == r->n_pages * KERN_PAGE_TOK)
            r->pages[r->n_pages++] = pages_take(&w.pool);
        w.kv[r->pages[r->n_read / KERN_PAGE_TOK]][r->n_read % KERN_PAGE_TOK] =
            digest(&r->text, r->n_read + 1);
        r->n_read++;
    }
}

static int reader_keep(struct reader *r)
{
    int ckpt, result = prefix_add(w.prefix, r->text.uid, r->text.ids, r->n_read, r->pages, &ckpt);

    if (result == PREFIX_OK) {
        w.known[ckpt] = r->text;
        w.known[ckpt].n = r->n_read;
        w.ckpts[ckpt] = digest(&r->text, r->n_read);
    }
    return result;
}

static void reader_end(struct reader *r)
{
    for (int i = 0; i < r->n_pages; i++)
        pages_drop(&w.pool, r->pages[i]);
    *r = (struct reader){};
}

/* Who holds what adds up, and nobody holds more than there is. */
static void check_books(void)
{
    const struct prefix *p = w.prefix;
    int n_ckpts = 0, n_pages = 0;

    for (int page = 0; page < w.pool.n; page++) {
        int n = p->held[page] > 0;

        n_pages += n;
        for (int i = 0; i < SEQS; i++)
            for (int k = 0; k < w.readers[i].n_pages; k++)
                n += w.readers[i].pages[k] == page;
        assert_int_equal(w.pool.refs[page], n);
    }
    assert_int_equal(n_pages, p->size.n_pages - p->n_free_pages);
    for (int i = 0; i < p->size.n_ckpts; i++) {
        n_ckpts += p->scopes[i].n_ckpts;
        n_pages -= p->scopes[i].n_pages;
        assert_true(!p->scopes[i].root == !p->scopes[i].n_ckpts);
    }
    assert_int_equal(n_pages, p->n_public_pages);
    assert_int_equal(n_ckpts, p->size.n_ckpts - p->n_free_ckpts);
    assert_int_equal(prefix_used_bytes(p),
                     n_ckpts * CKPT_BYTES + (p->size.n_pages - p->n_free_pages) * PAGE_BYTES);
}

/* Reads a whole text, keeping its state at the end; returns what prefix_add() said. */
static int keep(uint64_t uid, int32_t first, int n)
{
    struct reader *r = &w.readers[0];
    struct text t = {.uid = uid, .n = n};
    int result;

    for (int i = 0; i < n; i++)
        t.ids[i] = first + i;
    reader_begin(r, &t);
    reader_read(r, n);
    result = reader_keep(r);
    reader_end(r);
    check_books();
    return result;
}

static int find(uint64_t uid, int32_t first, int n)
{
    struct text t = {.uid = uid, .n = n};
    int32_t pages[PAGES_MAX];

    for (int i = 0; i < n; i++)
        t.ids[i] = first + i;
    return look_up(&t, n, pages);
}

static int scope_bytes(uint64_t uid)
{
    for (int i = 0; i < w.prefix->size.n_ckpts; i++)
        if (w.prefix->scopes[i].root && w.prefix->scopes[i].owner == uid)
            return w.prefix->scopes[i].n_ckpts * CKPT_BYTES + w.prefix->scopes[i].n_pages * PAGE_BYTES;
    return 0;
}

static void test_prefix_gives_the_longest_beginning_with_a_checkpoint(void **state)
{
    world_open(4, 16);
    assert_int_equal(find(1, 0, 100), 0);
    assert_int_equal(keep(1, 0, 70), PREFIX_OK);
    assert_int_equal(keep(1, 0, 200), PREFIX_OK);
    assert_int_equal(find(1, 0, 69), 0);
    assert_int_equal(find(1, 0, 70), 70);
    assert_int_equal(find(1, 0, 199), 70);
    assert_int_equal(find(1, 0, 200), 200);
    assert_int_equal(find(1, 0, 300), 200);
    assert_int_equal(find(1, 1, 300), 0);
    assert_int_equal(keep(1, 0, 200), PREFIX_E_HAVE);
    assert_int_equal(w.prefix->size.n_ckpts - w.prefix->n_free_ckpts, 2);
    world_close();
}

/* At every place of a page: one other token, and only what lies before it counts. */
static void test_prefix_compares_every_token(void **state)
{
    struct text t = {.uid = 1, .n = 200};
    int32_t pages[PAGES_MAX];
    struct prefix_hit hit;

    world_open(4, 16);
    keep(1, 0, 64);
    keep(1, 0, 190);
    for (int at = 0; at < 200; at++) {
        for (int i = 0; i < t.n; i++)
            t.ids[i] = i;
        t.ids[at] = 7777;
        look_up(&t, t.n, pages);
        prefix_find(w.prefix, 1, t.ids, t.n, pages, &hit);
        assert_int_equal(hit.n_tok, at < 64 ? 0 : at < 190 ? 64 : 190);
        assert_int_equal(hit.n_known, MIN(at, 190));
    }
    world_close();
}

static void test_prefix_never_crosses_uids(void **state)
{
    world_open(4, 16);
    keep(1, 0, 100);
    assert_int_equal(find(2, 0, 100), 0);
    keep(2, 0, 80);
    assert_int_equal(find(1, 0, 100), 100);
    assert_int_equal(find(2, 0, 100), 80);
    world_close();
}

static void test_prefix_keeps_where_two_texts_part(void **state)
{
    struct text b = {.uid = 1, .n = 300};
    struct reader *r = &w.readers[1];

    world_open(4, 32);
    for (int i = 0; i < 300; i++)
        b.ids[i] = i < 150 ? i : 1000 + i;
    keep(1, 0, 300);
    assert_int_equal(reader_begin(r, &b), 0);
    reader_read(r, 150);
    assert_int_equal(reader_keep(r), PREFIX_OK); /* the branch point, in the middle of a page */
    reader_read(r, 150);
    assert_int_equal(reader_keep(r), PREFIX_OK);
    reader_end(r);
    check_books();
    b.ids[200] = 5;
    assert_int_equal(reader_begin(r, &b), 150);
    reader_end(r);
    assert_int_equal(find(1, 0, 300), 300);
    world_close();
}

/* Where the node ends; its tokens and pages are those of the text that was kept there. */
static int unsaved(uint64_t max_owner, int min_tok)
{
    const int node = prefix_find_unsaved(w.prefix, max_owner, min_tok);
    const struct prefix_node *n = &w.prefix->nodes[node];
    int32_t ids[LEN_MAX], pages[PAGES_MAX];

    if (!node)
        return 0;
    prefix_copy_path(w.prefix, node, ids, pages);
    assert_memory_equal(ids, w.known[n->ckpt].ids, sizeof(*ids) * (size_t)n->pos);
    for (int i = 0; i < n->pos; i++)
        assert_true(w.kv[pages[i / KERN_PAGE_TOK]][i % KERN_PAGE_TOK] == digest(&w.known[n->ckpt], i + 1));
    return n->pos;
}

static void save(int min_tok)
{
    const int node = prefix_find_unsaved(w.prefix, UINT32_MAX, min_tok);

    assert_true(node);
    prefix_set_file(w.prefix, w.prefix->nodes[node].ckpt, 5);
    assert_int_equal(w.prefix->nodes[node].file, 5);
}

/* What lies above goes first; many short pieces add up; what was saved is not offered again, unless it is
 * new. */
static void test_prefix_offers_what_no_file_has(void **state)
{
    world_open(8, 32);
    assert_int_equal(unsaved(UINT32_MAX, 1), 0);
    keep(1, 0, 70);
    keep(1, 0, 140);
    keep(1, 0, 300);
    assert_int_equal(unsaved(0, 32), 0); /* nobody's whose number is above */
    assert_int_equal(unsaved(UINT32_MAX, 301), 0);
    assert_int_equal(unsaved(UINT32_MAX, 200), 300); /* of which the short ones are a part */
    assert_int_equal(unsaved(UINT32_MAX, 100), 140);
    assert_int_equal(unsaved(UINT32_MAX, 32), 70);
    save(100);
    assert_int_equal(unsaved(UINT32_MAX, 161), 0);
    assert_int_equal(unsaved(UINT32_MAX, 160), 300);
    save(160);
    assert_int_equal(unsaved(UINT32_MAX, 32), 70);
    save(32);
    assert_int_equal(unsaved(UINT32_MAX, 1), 0);
    keep(2, 0, 100);
    assert_int_equal(unsaved(1, 1), 0);
    assert_int_equal(unsaved(2, 1), 100);
    world_close();
}

static void test_prefix_finds_a_public_beginning_for_everybody(void **state)
{
    one_digest = true;
    world_open(8, 32);
    keep(1, 0, 70);
    keep(PREFIX_PUBLIC, 0, 130); /* not from what a user had read */
    assert_int_equal(w.prefix->n_public_pages, 3);
    assert_int_equal(find(1, 0, 300), 130); /* longer than his own */
    assert_int_equal(find(2, 0, 300), 130);
    assert_int_equal(find(2, 0, 129), 0);
    assert_int_equal(find(1, 0, 129), 70);
    assert_int_equal(find(PREFIX_PUBLIC + 1, 0, 300), 0);
    keep(1, 0, 200);
    assert_int_equal(find(1, 0, 300), 200);
    assert_int_equal(find(2, 0, 300), 130); /* nothing of his */
    assert_int_equal(find(PREFIX_PUBLIC, 0, 300), 130);
    assert_int_equal(scope_bytes(1),
                     2 * CKPT_BYTES + 4 * PAGE_BYTES); /* 0-70 of his own; full public ones are not his */
    prefix_drop_public(w.prefix, PREFIX_PUBLIC);
    check_books();
    assert_int_equal(find(2, 0, 300), 0);
    assert_int_equal(find(1, 0, 300), 70); /* what he had behind it went with it */
    assert_int_equal(w.prefix->n_public_pages, 0);
    one_digest = false;
    world_close();
}

/* A cache that users have filled, and that they fill again. */
static void test_prefix_gives_no_public_one_up(void **state)
{
    one_digest = true;
    world_open(6, 16);
    for (int i = 0; i < 6; i++)
        keep(1 + (uint64_t)i % 2, 1000 * i, 200);
    assert_int_equal(keep(PREFIX_PUBLIC, 9000, 448), PREFIX_OK);
    assert_int_equal(keep(PREFIX_PUBLIC + 1, 8000, 448), PREFIX_OK);
    assert_int_equal(w.prefix->n_public_pages, 14);
    for (int i = 0; i < 40; i++)
        keep(1 + (uint64_t)i % 5, 100 * i, 60 + i);
    assert_int_equal(keep(PREFIX_PUBLIC + 2, 7000, 448), PREFIX_E_FULL);
    assert_int_equal(keep(9, 7000, 448), PREFIX_E_FULL);
    for (uint64_t uid = 1; uid <= 5; uid++) /* who have less than he would */
        prefix_keep_only(w.prefix, uid, 0);
    assert_int_equal(keep(9, 9000, 500), PREFIX_OK); /* of which only the end is new */
    assert_int_equal(find(3, 9000, 500), 448);
    assert_int_equal(find(3, 8000, 500), 448);
    prefix_drop_public(w.prefix, PREFIX_PUBLIC);
    check_books();
    assert_int_equal(find(9, 9000, 500), 0);
    assert_int_equal(find(9, 8000, 500), 448);
    assert_int_equal(w.prefix->n_public_pages, 7);
    one_digest = false;
    world_close();
}

/* Each of many users goes on behind it: the list of edges' pages is as long as it needs to be, or room is
 * made. */
static void test_prefix_lets_many_go_on_behind_a_public_one(void **state)
{
    one_digest = true;
    world_open(CKPTS_MAX, 20);
    assert_int_equal(keep(PREFIX_PUBLIC, 0, 448), PREFIX_OK);
    for (uint64_t uid = 1; uid < 60; uid++) {
        keep(uid, 0, 449 + (int)uid % 40);
        assert_true(w.prefix->n_free_refs >= 0);
        assert_true(find(uid, 0, 500) >= 448);
    }
    one_digest = false;
    world_close();
}

static void test_prefix_evicts_what_saves_least(void **state)
{
    world_open(3, 32);
    keep(1, 0, 256);
    keep(1, 1000, 64);
    keep(1, 2000, 256);
    keep(1, 3000, 128);
    assert_int_equal(find(1, 1000, 64), 0);
    assert_int_equal(find(1, 0, 256), 256);
    assert_int_equal(find(1, 2000, 256), 256);
    assert_int_equal(w.prefix->n_evicted, 1);
    world_close();
}

/* The checkpoint at 64 saves the fewest tokens, but its page stays as long as there is one behind it. */
static void test_prefix_evicts_by_what_a_byte_saves(void **state)
{
    world_open(3, 32);
    keep(1, 0, 64);
    keep(1, 0, 320);
    keep(1, 1000, 128);
    for (int i = 0; i < 100; i++) /* all are about as old */
        find(1, 9000, 64);
    keep(1, 2000, 128);
    assert_int_equal(find(1, 0, 64), 64);
    assert_int_equal(find(1, 0, 320), 320);
    assert_int_equal(find(1, 1000, 128), 0);
    world_close();
}

static void test_prefix_evicts_what_was_used_longest_ago(void **state)
{
    world_open(2, 32);
    keep(1, 0, 128);
    keep(1, 1000, 128);
    for (int i = 0; i < 4; i++)
        find(1, 0, 128);
    keep(1, 2000, 128);
    assert_int_equal(find(1, 0, 128), 128);
    assert_int_equal(find(1, 1000, 128), 0);
    world_close();
}

/* A chat's turns: each adds little to the one before, so the first border outlives those in the middle. */
static void test_prefix_evicts_turns_in_the_middle_first(void **state)
{
    world_open(3, 32);
    keep(1, 0, 200);
    for (int n = 240; n <= 400; n += 40)
        keep(1, 0, n);
    assert_int_equal(find(1, 0, 200), 200);
    assert_int_equal(find(1, 0, 400), 400);
    world_close();
}

static void test_prefix_refuses_what_never_fits_and_keeps_the_rest(void **state)
{
    world_open(4, 4);
    keep(1, 0, 100);
    assert_int_equal(keep(1, 1000, 257), PREFIX_E_FULL);
    assert_int_equal(find(1, 0, 100), 100);
    assert_int_equal(keep(1, 1000, 256), PREFIX_OK); /* this fits, alone */
    assert_int_equal(find(1, 0, 100), 0);
    assert_int_equal(w.prefix->n_free_pages, 0);
    world_close();
}

/* Alone, a uid has everything; who comes later gets as much, and takes it only from those who hold more. */
static void test_prefix_who_holds_most_gives_way(void **state)
{
    enum { ALL = 12 * (CKPT_BYTES + PAGE_BYTES) };

    world_open(12, 12);
    for (int i = 0; i < 20; i++)
        keep(1, 1000 * i, 64);
    assert_int_equal(scope_bytes(1), ALL);
    for (int i = 0; i < 20; i++)
        keep(2, 1000 * i, 64);
    assert_int_equal(scope_bytes(1), ALL / 2);
    assert_int_equal(scope_bytes(2), ALL / 2);
    for (int i = 0; i < 20; i++)
        keep(3, 1000 * i, 64);
    for (uint32_t uid = 1; uid <= 3; uid++)
        assert_int_equal(scope_bytes(uid), ALL / 3);
    for (uint32_t uid = 4; uid <= 12; uid++)
        for (int i = 0; i < 20; i++)
            keep(uid, 1000 * i, 64);
    for (uint32_t uid = 1; uid <= 12; uid++)
        assert_int_equal(scope_bytes(uid), ALL / 12);
    assert_int_equal(keep(13, 0, 64), PREFIX_E_FULL); /* each has one, and one more uid takes nobody's last */
    for (uint32_t uid = 1; uid <= 12; uid++)
        assert_int_equal(scope_bytes(uid), ALL / 12);
    world_close();
}

static void test_prefix_one_that_would_hold_most_takes_nothing(void **state)
{
    world_open(4, 8);
    for (uint32_t uid = 1; uid <= 3; uid++)
        keep(uid, 0, 64);
    assert_int_equal(keep(4, 0, 6 * 64), PREFIX_E_FULL);
    assert_int_equal(keep(4, 0, 5 * 64), PREFIX_OK);
    assert_int_equal(w.prefix->n_evicted, 0);
    world_close();
    world_open(6, 8);
    keep(1, 0, 64);
    keep(2, 0, 3 * 64);
    assert_int_equal(keep(1, 1000, 6 * 64), PREFIX_E_FULL); /* nor does it give up its own for nothing */
    assert_int_equal(find(1, 0, 64), 64);
    assert_int_equal(keep(1, 1000, 5 * 64), PREFIX_OK);
    assert_int_equal(find(1, 0, 64), 0);
    world_close();
}

static void test_prefix_forgets_a_text_and_nothing_else(void **state)
{
    struct text t = {.uid = 1, .n = 250};

    world_open(6, 32);
    for (int i = 0; i < t.n; i++)
        t.ids[i] = i;
    keep(1, 0, 70);
    keep(1, 0, 200);
    keep(1, 1000, 64);
    keep(2, 0, 70);
    prefix_forget(w.prefix, 1, t.ids, t.n);
    check_books();
    assert_int_equal(find(1, 0, 250), 0);
    assert_int_equal(find(1, 1000, 64), 64);
    assert_int_equal(find(2, 0, 70), 70);
    prefix_forget(w.prefix, 3, t.ids, t.n);
    prefix_forget(w.prefix, 2, t.ids, t.n); /* the scope goes with its last one */
    check_books();
    assert_int_equal(find(2, 0, 70), 0);
    world_close();
}

/* A random model test against the naive list */

static uint64_t random_state;

static int random_below(int n)
{
    random_state = random_state * 6364136223846793005 + 1442695040888963407;
    return (int)((random_state >> 33) % (uint64_t)n);
}

/* Mostly something that begins as an earlier text does. */
static struct text random_text(const struct text *earlier, int n_earlier)
{
    struct text t = {.uid = (uint32_t)random_below(3), .n = 0};

    if (n_earlier && random_below(8)) {
        const struct text *from = &earlier[random_below(n_earlier)];

        t.n = random_below(4) ? from->n : random_below(from->n);
        t.n = MIN(t.n, LEN_MAX - 1);
        memcpy(t.ids, from->ids, sizeof(t.ids));
    }
    for (int more = 1 + random_below(random_below(4) ? 40 : LEN_MAX / 2); more && t.n < LEN_MAX; more--)
        t.ids[t.n++] = random_below(3);
    return t;
}

static void random_reader_turn(struct reader *r)
{
    reader_read(r, 1 + random_below(90));
    if (random_below(2))
        assert_in_range(reader_keep(r), 0, PREFIX_E_FULL);
    if (r->n_read == r->text.n || random_below(12) == 0)
        reader_end(r);
}

static void check_random(int n_ckpts, int n_pages, int n_turns, uint64_t seed)
{
    static struct text earlier[32];
    int n_earlier = 0;

    random_state = seed;
    world_open(n_ckpts, n_pages);
    for (int turn = 0; turn < n_turns; turn++) {
        struct reader *r = &w.readers[random_below(SEQS)];

        if (r->alive) {
            random_reader_turn(r);
        } else {
            const struct text t = random_text(earlier, MIN(n_earlier, 32));

            earlier[n_earlier++ % 32] = t;
            reader_begin(r, &t);
        }
        check_books();
    }
    assert_true(w.prefix->n_evicted > 10);
    for (int i = 0; i < SEQS; i++)
        reader_end(&w.readers[i]);
    check_books();
    world_close();
}

static void test_prefix_equals_a_naive_list(void **state)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        check_random(1, 3, 400, seed);
        check_random(6, 12, 600, seed);
        check_random(16, 40, 800, seed);
        check_random(16, 9, 600, seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prefix_gives_the_longest_beginning_with_a_checkpoint),
        cmocka_unit_test(test_prefix_compares_every_token),
        cmocka_unit_test(test_prefix_never_crosses_uids),
        cmocka_unit_test(test_prefix_keeps_where_two_texts_part),
        cmocka_unit_test(test_prefix_offers_what_no_file_has),
        cmocka_unit_test(test_prefix_finds_a_public_beginning_for_everybody),
        cmocka_unit_test(test_prefix_gives_no_public_one_up),
        cmocka_unit_test(test_prefix_lets_many_go_on_behind_a_public_one),
        cmocka_unit_test(test_prefix_evicts_what_saves_least),
        cmocka_unit_test(test_prefix_evicts_by_what_a_byte_saves),
        cmocka_unit_test(test_prefix_evicts_what_was_used_longest_ago),
        cmocka_unit_test(test_prefix_evicts_turns_in_the_middle_first),
        cmocka_unit_test(test_prefix_refuses_what_never_fits_and_keeps_the_rest),
        cmocka_unit_test(test_prefix_who_holds_most_gives_way),
        cmocka_unit_test(test_prefix_one_that_would_hold_most_takes_nothing),
        cmocka_unit_test(test_prefix_forgets_a_text_and_nothing_else),
        cmocka_unit_test(test_prefix_equals_a_naive_list),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
