/* prefix.c - which beginnings of prompts were read before.  See prefix.h. */
#include "prefix.h"

#include <assert.h>
#include <string.h>

static struct prefix_node *prefix_at(const struct prefix *p, int node)
{
    return &p->nodes[node];
}

static int prefix_parent_pos(const struct prefix *p, int node)
{
    return prefix_at(p, prefix_at(p, node)->parent)->pos;
}

static int32_t *prefix_page_ids(const struct prefix *p, int32_t page)
{
    return p->ids + (size_t)page * KERN_PAGE_TOK;
}

/* nodes, refs and scopes come from free lists */

static int prefix_node_new(struct prefix *p, int scope, int parent, int pos)
{
    const int node = p->free_node;

    assert(node);
    p->free_node = prefix_at(p, node)->next;
    *prefix_at(p, node) =
        (struct prefix_node){.parent = parent, .scope = scope, .pos = pos, .ckpt = -1, .last_used = p->tick};
    return node;
}

static void prefix_node_free(struct prefix *p, int node)
{
    *prefix_at(p, node) = (struct prefix_node){.next = p->free_node};
    p->free_node = node;
}

static int prefix_ref_new(struct prefix *p, int32_t page)
{
    const int ref = p->free_ref;

    assert(ref);
    p->free_ref = p->refs[ref].next;
    p->n_free_refs--;
    p->refs[ref] = (struct prefix_ref){.page = page};
    return ref;
}

static int prefix_find_scope(const struct prefix *p, uint64_t owner)
{
    for (int i = 0; i < p->size.n_ckpts; i++)
        if (p->scopes[i].root && p->scopes[i].owner == owner)
            return i;
    return -1;
}

static bool prefix_is_public(const struct prefix *p, int scope)
{
    return p->scopes[scope].root && p->scopes[scope].owner >= PREFIX_PUBLIC;
}

/* Only called while a checkpoint is free, and no scope is kept without one: there is a place. */
static int prefix_scope_new(struct prefix *p, uint64_t owner)
{
    int i = 0;

    while (p->scopes[i].root)
        i++;
    assert(i < p->size.n_ckpts);
    p->scopes[i] = (struct prefix_scope){.owner = owner, .root = prefix_node_new(p, i, 0, 0)};
    return i;
}

/* pages of edges */

static void prefix_hold(struct prefix *p, int scope, int32_t page)
{
    if (p->held[page]++)
        return;
    assert(p->n_free_pages > 0);
    pages_hold(p->pages, page);
    p->n_free_pages--;
    p->lender[page] = (int16_t)(prefix_is_public(p, scope) ? scope + 1 : 0);
    if (p->lender[page])
        p->n_public_pages++;
    else
        p->scopes[scope].n_pages++;
}

/* Frees the ref; returns the one behind it. */
static int prefix_drop_ref(struct prefix *p, int scope, int ref)
{
    const int32_t page = p->refs[ref].page;
    const int next = p->refs[ref].next;

    p->refs[ref] = (struct prefix_ref){.next = p->free_ref};
    p->free_ref = ref;
    p->n_free_refs++;
    if (--p->held[page] == 0) {
        pages_drop(p->pages, page);
        p->n_free_pages++;
        if (p->lender[page])
            p->n_public_pages--;
        else
            p->scopes[scope].n_pages--;
        p->lender[page] = 0;
    }
    return next;
}

/* The n-th ref of an edge, counted from 0. */
static int prefix_nth_ref(const struct prefix *p, int node, int n)
{
    int ref = prefix_at(p, node)->first_ref;

    while (n--)
        ref = p->refs[ref].next;
    return ref;
}

/* walking */

struct prefix_walk {
    int node;   /* the last one reached */
    int edge;   /* the child into whose edge the walk went without reaching it; 0: none */
    int n_same; /* tokens that are equal, all in all */
    int hit;    /* the last one reached that has a checkpoint; 0: none */
};

static int prefix_find_child(const struct prefix *p, int node, int32_t id)
{
    const int offset = prefix_at(p, node)->pos % KERN_PAGE_TOK;
    int child = prefix_at(p, node)->child;

    while (child && prefix_page_ids(p, p->refs[prefix_at(p, child)->first_ref].page)[offset] != id)
        child = prefix_at(p, child)->next;
    return child;
}

/* How far ids are equal to the tokens that lead to the node, given that they lead to its parent. */
static int prefix_match_edge(const struct prefix *p, int node, const int32_t *ids, int n_ids)
{
    const int end = MIN(prefix_at(p, node)->pos, n_ids);
    int pos = prefix_parent_pos(p, node), ref = prefix_at(p, node)->first_ref;

    for (; pos < end; ref = p->refs[ref].next) {
        const int32_t *own = prefix_page_ids(p, p->refs[ref].page);
        const int page_end = MIN(ROUND_UP(pos + 1, KERN_PAGE_TOK), end);

        for (; pos < page_end; pos++)
            if (own[pos % KERN_PAGE_TOK] != ids[pos])
                return pos;
    }
    return pos;
}

static struct prefix_walk prefix_walk(const struct prefix *p, int scope, const int32_t *ids, int n_ids)
{
    struct prefix_walk w = {.node = p->scopes[scope].root};

    while (w.n_same < n_ids) {
        const int child = prefix_find_child(p, w.node, ids[w.n_same]);

        if (!child)
            break;
        w.n_same = prefix_match_edge(p, child, ids, n_ids);
        if (w.n_same < prefix_at(p, child)->pos) {
            w.edge = child;
            break;
        }
        w.node = child;
        if (prefix_at(p, child)->ckpt >= 0)
            w.hit = child;
    }
    return w;
}

/* The pages that lead to the node; of a page that two edges have, the deeper one's. */
static void prefix_list_pages(const struct prefix *p, int node, int32_t *pages)
{
    int end = CEIL_DIV(prefix_at(p, node)->pos, KERN_PAGE_TOK);

    for (; prefix_at(p, node)->parent; node = prefix_at(p, node)->parent) {
        const int first = prefix_parent_pos(p, node) / KERN_PAGE_TOK;
        int ref = prefix_at(p, node)->first_ref;

        for (int i = first; i < end; i++, ref = p->refs[ref].next)
            pages[i] = p->refs[ref].page;
        end = MIN(end, first);
    }
}

/* The node of the longest beginning with a checkpoint: the owner's, or a longer public one.  0: none. */
static int prefix_find_hit(const struct prefix *p, uint64_t owner, const int32_t *ids, int n_ids,
                           int *ret_n_known)
{
    const int own = prefix_find_scope(p, owner);
    const struct prefix_walk w = own < 0 ? (struct prefix_walk){} : prefix_walk(p, own, ids, n_ids);
    int hit = w.hit;

    *ret_n_known = w.n_same;
    for (int i = 0; owner < PREFIX_PUBLIC && i < p->size.n_ckpts; i++) {
        const int other = prefix_is_public(p, i) ? prefix_walk(p, i, ids, n_ids).hit : 0;

        if (other && (!hit || prefix_at(p, other)->pos > prefix_at(p, hit)->pos))
            hit = other;
    }
    return hit;
}

void prefix_find(struct prefix *p, uint64_t owner, const int32_t *ids, int n_ids, int32_t *pages,
                 struct prefix_hit *ret_hit)
{
    struct prefix_node *node;
    int hit, n_known;

    *ret_hit = (struct prefix_hit){.ckpt = -1};
    p->tick++;
    hit = prefix_find_hit(p, owner, ids, n_ids, &n_known);
    node = prefix_at(p, hit);
    ret_hit->n_known = MAX(n_known, hit ? node->pos : 0);
    if (!hit)
        return;
    node->last_used = p->tick;
    ret_hit->n_tok = node->pos;
    ret_hit->ckpt = node->ckpt;
    ret_hit->owner = p->scopes[node->scope].owner;
    prefix_list_pages(p, hit, pages);
}

/* the shape of the tree */

/* The link that leads to the node. */
static int *prefix_link_to(struct prefix *p, int node)
{
    int *link = &prefix_at(p, prefix_at(p, node)->parent)->child;

    while (*link != node)
        link = &prefix_at(p, *link)->next;
    return link;
}

/* A node at pos in the middle of the edge that leads to this one.  A page that both halves lie in belongs to
 * both. */
static int prefix_split(struct prefix *p, int node, int pos)
{
    struct prefix_node *lower = prefix_at(p, node), *upper;
    const int n = CEIL_DIV(pos, KERN_PAGE_TOK) - prefix_parent_pos(p, node) / KERN_PAGE_TOK;
    const int last = prefix_nth_ref(p, node, n - 1), rest = p->refs[last].next;
    int *link = prefix_link_to(p, node);
    const int made = prefix_node_new(p, lower->scope, lower->parent, pos);

    upper = prefix_at(p, made);
    upper->child = node;
    upper->next = lower->next;
    upper->first_ref = lower->first_ref;
    *link = made;
    p->refs[last].next = 0;
    lower->parent = made;
    lower->next = 0;
    lower->first_ref = rest;
    if (pos % KERN_PAGE_TOK) {
        lower->first_ref = prefix_ref_new(p, p->refs[last].page);
        p->refs[lower->first_ref].next = rest;
        prefix_hold(p, lower->scope, p->refs[last].page);
    }
    return made;
}

/* The node goes, its only child takes its place. */
static void prefix_merge(struct prefix *p, int node)
{
    struct prefix_node *upper = prefix_at(p, node), *lower = prefix_at(p, upper->child);
    const int first = prefix_parent_pos(p, node) / KERN_PAGE_TOK;
    int *link = prefix_link_to(p, node), *tail = &upper->first_ref;

    for (int i = first; i < upper->pos / KERN_PAGE_TOK; i++)
        tail = &p->refs[*tail].next;
    if (*tail) /* its last page was not full: the child has it, or a copy */
        prefix_drop_ref(p, upper->scope, *tail);
    *tail = lower->first_ref;
    lower->first_ref = upper->first_ref;
    lower->parent = upper->parent;
    lower->next = upper->next;
    *link = upper->child;
    prefix_node_free(p, node);
}

static void prefix_remove_leaf(struct prefix *p, int node)
{
    struct prefix_node *leaf = prefix_at(p, node);

    for (int ref = leaf->first_ref; ref;)
        ref = prefix_drop_ref(p, leaf->scope, ref);
    *prefix_link_to(p, node) = leaf->next;
    prefix_node_free(p, node);
}

/* After a checkpoint is gone: without one, a node is only kept where edges part. */
static void prefix_tidy(struct prefix *p, int node)
{
    struct prefix_scope *scope = &p->scopes[prefix_at(p, node)->scope];

    while (node != scope->root && prefix_at(p, node)->ckpt < 0) {
        const int child = prefix_at(p, node)->child, parent = prefix_at(p, node)->parent;

        if (child && prefix_at(p, child)->next)
            return;
        if (child) {
            prefix_merge(p, node);
            return;
        }
        prefix_remove_leaf(p, node);
        node = parent;
    }
    if (node != scope->root || prefix_at(p, node)->child)
        return;
    prefix_node_free(p, node);
    *scope = (struct prefix_scope){};
}

static int prefix_add_leaf(struct prefix *p, int parent, const int32_t *ids, int n_ids, const int32_t *pages)
{
    const int scope = prefix_at(p, parent)->scope, node = prefix_node_new(p, scope, parent, n_ids);
    int *tail = &prefix_at(p, node)->first_ref;

    for (int pos = prefix_at(p, parent)->pos / KERN_PAGE_TOK * KERN_PAGE_TOK; pos < n_ids;
         pos += KERN_PAGE_TOK) {
        const int32_t page = pages[pos / KERN_PAGE_TOK];

        memcpy(prefix_page_ids(p, page), ids + pos, (size_t)MIN(KERN_PAGE_TOK, n_ids - pos) * sizeof(*ids));
        prefix_hold(p, scope, page);
        *tail = prefix_ref_new(p, page);
        tail = &p->refs[*tail].next;
    }
    prefix_at(p, node)->next = prefix_at(p, parent)->child;
    prefix_at(p, parent)->child = node;
    return node;
}

/* making room */

static uint64_t prefix_bytes(const struct prefix *p, int n_ckpts, int n_pages)
{
    return (uint64_t)n_ckpts * p->size.ckpt_bytes + (uint64_t)n_pages * p->size.page_bytes;
}

static uint64_t prefix_scope_bytes(const struct prefix *p, int scope)
{
    return scope < 0 ? 0 : prefix_bytes(p, p->scopes[scope].n_ckpts, p->scopes[scope].n_pages);
}

/* What would be free again without the node's checkpoint. */
static uint64_t prefix_freed_bytes(const struct prefix *p, int node)
{
    int n_pages = 0;

    if (!prefix_at(p, node)->child)
        for (int ref = prefix_at(p, node)->first_ref; ref; ref = p->refs[ref].next)
            n_pages += p->held[p->refs[ref].page] == 1;
    return prefix_bytes(p, 1, n_pages);
}

static int prefix_saved_tok(const struct prefix *p, int node)
{
    int above = prefix_at(p, node)->parent;

    while (prefix_at(p, above)->parent && prefix_at(p, above)->ckpt < 0)
        above = prefix_at(p, above)->parent;
    return prefix_at(p, node)->pos - prefix_at(p, above)->pos;
}

static double prefix_value(const struct prefix *p, int node)
{
    const uint64_t age = p->tick - prefix_at(p, node)->last_used + 1;

    return (double)prefix_saved_tok(p, node) / (double)prefix_freed_bytes(p, node) / (double)age;
}

/* What the scope would miss least; leaf: only what frees pages.  0: it has nothing. */
static int prefix_find_least(const struct prefix *p, int scope, bool leaf)
{
    const int n_nodes = 3 * p->size.n_ckpts + 1;
    double least = 0;
    int found = 0;

    for (int i = 1; i < n_nodes; i++) {
        const struct prefix_node *node = prefix_at(p, i);
        double value;

        if (!node->parent || node->scope != scope || node->ckpt < 0 || (leaf && node->child))
            continue;
        value = prefix_value(p, i);
        if (found && value >= least)
            continue;
        least = value;
        found = i;
    }
    return found;
}

static void prefix_evict(struct prefix *p, int node)
{
    struct prefix_node *n = prefix_at(p, node);

    p->ckpts[p->n_free_ckpts++] = n->ckpt;
    n->ckpt = -1;
    p->scopes[n->scope].n_ckpts--;
    p->n_evicted++;
    prefix_tidy(p, node);
}

struct prefix_need {
    uint64_t owner;
    int n_ckpts, n_pages;
};

/* The scope that would hold the most once the need is met; the asking one if it is a draw.  -1: the asking
 * one, which holds nothing yet, or nobody.  For a public one all others give way. */
static int prefix_find_largest(const struct prefix *p, const struct prefix_need *need)
{
    const bool is_public = need->owner >= PREFIX_PUBLIC;
    int largest = is_public ? -1 : prefix_find_scope(p, need->owner);
    uint64_t bytes =
        is_public ? 0 : prefix_scope_bytes(p, largest) + prefix_bytes(p, need->n_ckpts, need->n_pages);

    for (int i = 0; i < p->size.n_ckpts; i++) {
        if (!p->scopes[i].root || prefix_is_public(p, i) || p->scopes[i].owner == need->owner ||
            prefix_scope_bytes(p, i) <= bytes)
            continue;
        bytes = prefix_scope_bytes(p, i);
        largest = i;
    }
    return largest;
}

int prefix_n_public_ckpts(const struct prefix *p)
{
    int n = 0;

    for (int i = 0; i < p->size.n_ckpts; i++)
        if (prefix_is_public(p, i))
            n += p->scopes[i].n_ckpts;
    return n;
}

/* Pages on the way that are not the service's. */
static int prefix_n_own_pages(const struct prefix *p, const int32_t *pages, int n_ids)
{
    int n = 0;

    for (int i = 0; i < CEIL_DIV(n_ids, KERN_PAGE_TOK); i++)
        n += !p->lender[pages[i]];
    return n;
}

/* Whether the whole path to n_ids could ever be had beside those who hold no more than it takes: else nothing
 * is given up in vain. */
static bool prefix_may_fit(const struct prefix *p, uint64_t owner, int n_ids, const int32_t *pages)
{
    const int n_pages = prefix_n_own_pages(p, pages, n_ids);
    int free_pages = p->size.n_pages - p->n_public_pages,
        free_ckpts = p->size.n_ckpts - prefix_n_public_ckpts(p);

    for (int i = 0; i < p->size.n_ckpts && owner < PREFIX_PUBLIC; i++) {
        const struct prefix_scope *scope = &p->scopes[i];

        if (!scope->root || prefix_is_public(p, i) || scope->owner == owner ||
            prefix_scope_bytes(p, i) > prefix_bytes(p, 1, n_pages))
            continue;
        free_pages -= scope->n_pages;
        free_ckpts -= scope->n_ckpts;
    }
    return n_pages <= free_pages && free_ckpts > 0;
}

/* adding */

struct prefix_place {
    struct prefix_walk walk;
    bool have;
    int n_new_pages, n_new_refs;
};

static struct prefix_place prefix_find_place(const struct prefix *p, uint64_t owner, const int32_t *ids,
                                             int n_ids, const int32_t *pages)
{
    const int scope = prefix_find_scope(p, owner);
    struct prefix_place place = {};

    if (scope >= 0)
        place.walk = prefix_walk(p, scope, ids, n_ids);
    place.have = place.walk.n_same == n_ids && !place.walk.edge && prefix_at(p, place.walk.node)->ckpt >= 0;
    if (place.walk.n_same < n_ids)
        for (int i = place.walk.n_same / KERN_PAGE_TOK; i < CEIL_DIV(n_ids, KERN_PAGE_TOK); i++)
            place.n_new_pages += p->held[pages[i]] == 0;
    place.n_new_refs =
        CEIL_DIV(n_ids, KERN_PAGE_TOK) - place.walk.n_same / KERN_PAGE_TOK + 1; /* 1: a split */
    return place;
}

/* Evicts until the place can be taken; each eviction may change it. */
static int prefix_make_room(struct prefix *p, uint64_t owner, const int32_t *ids, int n_ids,
                            const int32_t *pages, struct prefix_place *ret_place)
{
    if (!prefix_may_fit(p, owner, n_ids, pages))
        return PREFIX_E_FULL;
    for (;;) {
        struct prefix_place place = prefix_find_place(p, owner, ids, n_ids, pages);
        const struct prefix_need need = {owner, 1, place.n_new_pages};
        const bool short_of_pages = place.n_new_pages > p->n_free_pages || place.n_new_refs > p->n_free_refs;
        int largest, least;

        if (p->n_free_ckpts && !short_of_pages) {
            *ret_place = place;
            return 0;
        }
        largest = prefix_find_largest(p, &need);
        least = largest < 0 ? 0 : prefix_find_least(p, largest, short_of_pages);
        if (!least)
            return PREFIX_E_FULL;
        prefix_evict(p, least);
    }
}

static int prefix_make_node(struct prefix *p, uint64_t owner, const int32_t *ids, int n_ids,
                            const int32_t *pages, const struct prefix_walk *walk)
{
    int node = walk->node;

    if (!node)
        node = p->scopes[prefix_scope_new(p, owner)].root;
    if (walk->edge)
        node = prefix_split(p, walk->edge, walk->n_same);
    if (walk->n_same < n_ids)
        node = prefix_add_leaf(p, node, ids, n_ids, pages);
    return node;
}

int prefix_add(struct prefix *p, uint64_t owner, const int32_t *ids, int n_ids, const int32_t *pages,
               int *ret_ckpt)
{
    struct prefix_place place = prefix_find_place(p, owner, ids, n_ids, pages);
    struct prefix_node *node;
    int r;

    assert(n_ids > 0);
    p->tick++;
    if (place.have) {
        prefix_at(p, place.walk.node)->last_used = p->tick;
        return PREFIX_E_HAVE;
    }
    r = prefix_make_room(p, owner, ids, n_ids, pages, &place);
    if (r)
        return r;
    node = prefix_at(p, prefix_make_node(p, owner, ids, n_ids, pages, &place.walk));
    node->ckpt = p->ckpts[--p->n_free_ckpts];
    node->last_used = node->made = p->tick;
    node->file = 0;
    p->scopes[node->scope].n_ckpts++;
    *ret_ckpt = node->ckpt;
    return PREFIX_OK;
}

void prefix_forget(struct prefix *p, uint64_t owner, const int32_t *ids, int n_ids)
{
    int scope;

    while ((scope = prefix_find_scope(p, owner)) >= 0) {
        const int hit = prefix_walk(p, scope, ids, n_ids).hit;

        if (!hit)
            return;
        prefix_evict(p, hit);
    }
}

bool prefix_has_owner(const struct prefix *p, uint64_t owner)
{
    return prefix_find_scope(p, owner) >= 0;
}

void prefix_keep_only(struct prefix *p, uint64_t owner, int n_tok)
{
    const int n_nodes = 3 * p->size.n_ckpts + 1, scope = prefix_find_scope(p, owner);

    for (int i = 1; i < n_nodes && scope >= 0; i++) {
        const struct prefix_node *node = prefix_at(p, i);

        if (node->parent && node->scope == scope && node->ckpt >= 0 && node->pos != n_tok)
            prefix_evict(p, i);
    }
}

/* Whether some of the pages on the way to the node are the public scope's. */
static bool prefix_is_lent(const struct prefix *p, int node, int scope)
{
    for (; node; node = prefix_at(p, node)->parent)
        for (int ref = prefix_at(p, node)->first_ref; ref; ref = p->refs[ref].next)
            if (p->lender[p->refs[ref].page] == scope + 1)
                return true;
    return false;
}

void prefix_drop_public(struct prefix *p, uint64_t owner)
{
    const int n_nodes = 3 * p->size.n_ckpts + 1, scope = prefix_find_scope(p, owner);

    for (int i = 1; i < n_nodes && scope >= 0; i++)
        if (prefix_at(p, i)->parent && prefix_at(p, i)->ckpt >= 0 && prefix_is_lent(p, i, scope))
            prefix_evict(p, i);
}

uint64_t prefix_used_bytes(const struct prefix *p)
{
    return prefix_bytes(p, p->size.n_ckpts - p->n_free_ckpts, p->size.n_pages - p->n_free_pages);
}

/* copying elsewhere */

/* Tokens behind the last one on the way that a file has. */
static int prefix_unsaved_tok(const struct prefix *p, int node)
{
    int above = prefix_at(p, node)->parent;

    while (prefix_at(p, above)->parent && (prefix_at(p, above)->ckpt < 0 || !prefix_at(p, above)->file))
        above = prefix_at(p, above)->parent;
    return prefix_at(p, node)->pos - prefix_at(p, above)->pos;
}

static bool prefix_is_unsaved(const struct prefix *p, int node, uint64_t max_owner, int min_tok)
{
    const struct prefix_node *n = prefix_at(p, node);

    return n->parent && n->ckpt >= 0 && !n->file && p->scopes[n->scope].owner <= max_owner &&
           prefix_unsaved_tok(p, node) >= min_tok;
}

static double prefix_unsaved_value(const struct prefix *p, int node)
{
    const int n_tok = prefix_unsaved_tok(p, node);
    const uint64_t bytes = prefix_bytes(p, 1, CEIL_DIV(n_tok, KERN_PAGE_TOK));

    return (double)n_tok / (double)bytes / (double)(p->tick - prefix_at(p, node)->last_used + 1);
}

int prefix_find_unsaved(const struct prefix *p, uint64_t max_owner, int min_tok)
{
    const int n_nodes = 3 * p->size.n_ckpts + 1;
    double most = 0;
    int found = 0;

    for (int i = 1; i < n_nodes; i++) {
        if (!prefix_is_unsaved(p, i, max_owner, min_tok) || (found && prefix_unsaved_value(p, i) <= most))
            continue;
        most = prefix_unsaved_value(p, i);
        found = i;
    }
    for (int i = found; i; i = prefix_at(p, i)->parent)
        if (prefix_is_unsaved(p, i, max_owner, min_tok))
            found = i;
    return found;
}

void prefix_copy_path(const struct prefix *p, int node, int32_t *ids, int32_t *pages)
{
    const int n = prefix_at(p, node)->pos;

    prefix_list_pages(p, node, pages);
    for (int pos = 0; pos < n; pos += KERN_PAGE_TOK)
        memcpy(ids + pos, prefix_page_ids(p, pages[pos / KERN_PAGE_TOK]),
               (size_t)MIN(KERN_PAGE_TOK, n - pos) * sizeof(*ids));
}

/* The node that has the checkpoint; 0: none. */
static int prefix_find_ckpt(const struct prefix *p, int ckpt)
{
    const int n_nodes = 3 * p->size.n_ckpts + 1;

    for (int i = 1; i < n_nodes; i++)
        if (prefix_at(p, i)->parent && prefix_at(p, i)->ckpt == ckpt)
            return i;
    return 0;
}

void prefix_set_file(struct prefix *p, int ckpt, uint64_t file)
{
    prefix_at(p, prefix_find_ckpt(p, ckpt))->file = file;
}

void prefix_set_old(struct prefix *p, int ckpt, uint64_t n)
{
    prefix_at(p, prefix_find_ckpt(p, ckpt))->last_used = 0 - n;
}

/* making */

/* A checkpoint's node, a node where edges part for all but one of them, a root; and the one that is never
 * used. */
static int prefix_n_nodes(const struct prefix_size *size)
{
    return 3 * size->n_ckpts + 1;
}

/* Pages that lie in one edge, one that an edge shares with its parent's; and as many again, since each user's
 * edges may begin with the pages of public ones.  Where these do not do, room is made. */
static int prefix_n_refs(const struct prefix_size *size)
{
    return 2 * size->n_pages + 2 * size->n_ckpts + 1;
}

static void prefix_fill(struct prefix *p)
{
    for (int i = prefix_n_nodes(&p->size) - 1; i > 0; i--)
        prefix_node_free(p, i);
    for (int i = prefix_n_refs(&p->size) - 1; i > 0; i--) {
        p->refs[i].next = p->free_ref;
        p->free_ref = i;
        p->n_free_refs++;
    }
    for (int i = 0; i < p->size.n_ckpts; i++)
        p->ckpts[i] = p->size.n_ckpts - 1 - i;
    p->n_free_ckpts = p->size.n_ckpts;
    p->n_free_pages = p->size.n_pages;
}

int prefix_new(struct pages *pages, const struct prefix_size *size, struct prefix **ret_prefix)
{
    _cleanup_(prefix_freep) struct prefix *p = calloc(1, sizeof(*p));

    if (!p)
        return err_origin(-ENOMEM);
    assert(size->n_ckpts >= 1 && size->n_pages >= 1);
    p->size = *size;
    p->pages = pages;
    p->nodes = calloc((size_t)prefix_n_nodes(size), sizeof(*p->nodes));
    p->refs = calloc((size_t)prefix_n_refs(size), sizeof(*p->refs));
    p->scopes = calloc((size_t)size->n_ckpts, sizeof(*p->scopes));
    p->ckpts = calloc((size_t)size->n_ckpts, sizeof(*p->ckpts));
    p->held = calloc((size_t)pages->n, sizeof(*p->held));
    p->ids = calloc((size_t)pages->n * KERN_PAGE_TOK, sizeof(*p->ids));
    p->lender = calloc((size_t)pages->n, sizeof(*p->lender));
    if (!p->nodes || !p->refs || !p->scopes || !p->ckpts || !p->held || !p->ids || !p->lender)
        return err_origin(-ENOMEM);
    prefix_fill(p);
    *ret_prefix = steal(&p);
    return 0;
}

struct prefix *prefix_free(struct prefix *p)
{
    if (!p)
        return NULL;
    free(p->nodes);
    free(p->refs);
    free(p->scopes);
    free(p->ckpts);
    free(p->held);
    free(p->ids);
    free(p->lender);
    free(p);
    return NULL;
}
