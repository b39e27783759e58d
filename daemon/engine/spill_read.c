/* spill_read.c - a checkpoint from its file, and those that it goes on behind, into a sequence.  See spill.h.
 */
#include "spill_folder.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#include "daemon/util/log.h"

void spill_read_begin(struct spill *s, uint64_t id, const int32_t *ids, int slot, const int32_t *pages)
{
    const struct spill_entry *entry = spill_index_find(s->index, id);
    struct spill_in *in = &s->in;

    *in = (struct spill_in){.fd = -1, .ids = ids, .slot = slot, .pages = pages, .n_chain = entry->depth};
    for (int i = entry->depth; i-- > 0; entry = spill_index_find(s->index, entry->parent)) {
        in->chain[i] = entry->id;
        if (!i)
            break;
    }
}

void spill_read_ahead(struct spill *s, uint64_t id, const int32_t *ids, int slot, const int32_t *pages)
{
    if (pages)
        spill_read_begin(s, id, ids, slot, pages);
    else
        s->in = (struct spill_in){.fd = -1, .ids = ids, .slot = slot, .n_chain = 1, .chain = {id}};
    s->in.is_ahead = true;
}

static int spill_read_ids(struct spill *s, struct fault *fault)
{
    struct spill_in *in = &s->in;
    const uint64_t n = (uint64_t)in->header.n_tok * sizeof(*in->ids);

    for (uint64_t at = 0; at < n;) {
        const size_t k = (size_t)MIN(n - at, (uint64_t)s->n_host);
        const ssize_t have = spill_pread(in->fd, s->host, k, SPILL_HEADER_BYTES + at);

        if (have != (ssize_t)k)
            return fault_set(fault, SPILL_E_BAD, "%s", have < 0 ? strerror((int)-have) : "it became shorter");
        if (memcmp(s->host, (const uint8_t *)in->ids + at, k))
            return fault_set(fault, SPILL_E_BAD, "its tokens are not those that its header names");
        at += k;
    }
    return SPILL_OK;
}

static bool spill_reads_pages(const struct spill_in *in)
{
    return in->pages != NULL;
}

static int spill_read_open(struct spill *s, struct fault *fault)
{
    struct spill_in *in = &s->in;
    const struct spill_entry *entry = spill_index_find(s->index, in->chain[in->i_chain]);
    int r = spill_open_entry(s, entry, &in->header, &in->fd, fault);

    if (r)
        return r;
    in->part = spill_first_page(&in->header);
    in->offset = spill_pages_at(&in->header);
    if (!spill_reads_pages(in)) {
        in->offset += (uint64_t)(CEIL_DIV(in->header.n_tok, KERN_PAGE_TOK) - in->part) * s->shape.page_bytes;
        in->part = CEIL_DIV(in->header.n_tok, KERN_PAGE_TOK);
    }
    xxh64_init(&in->sum);
    return spill_read_ids(s, fault);
}

static int spill_read_part(struct spill *s, size_t n, struct fault *fault)
{
    struct spill_in *in = &s->in;
    const ssize_t have = spill_pread(in->fd, s->host, n, in->offset);

    if (have != (ssize_t)n)
        return fault_set(fault, SPILL_E_BAD, "%s", have < 0 ? strerror((int)-have) : "it became shorter");
    xxh64_put(&in->sum, s->host, n);
    in->offset += n;
    in->part++;
    return SPILL_OK;
}

static int spill_read_page(struct spill *s, struct fault *fault)
{
    struct spill_in *in = &s->in;
    const int page = in->part;
    int r = spill_read_part(s, (size_t)s->shape.page_bytes, fault);

    if (!r)
        r = state_put_page(s->state, in->pages[page], s->host);
    if (r || in->part < CEIL_DIV(in->header.n_tok, KERN_PAGE_TOK))
        return r;
    if (xxh64_sum(&in->sum) != in->header.pages_sum)
        return fault_set(fault, SPILL_E_BAD, "the checksum of its keys and values does not fit");
    xxh64_init(&in->sum);
    return SPILL_OK;
}

static int spill_read_state(struct spill *s, struct fault *fault)
{
    struct spill_in *in = &s->in;
    const int part = in->part - CEIL_DIV(in->header.n_tok, KERN_PAGE_TOK);
    int r = spill_read_part(s, state_slot_part_bytes(s->state), fault);

    if (!r)
        r = state_put_slot_part(s->state, in->slot, part, s->host);
    if (r || part + 1 < state_n_slot_parts(s->state))
        return r;
    if (xxh64_sum(&in->sum) != in->header.state_sum)
        return fault_set(fault, SPILL_E_BAD, "the checksum of its state does not fit");
    return SPILL_OK;
}

/* Of a file that another goes on behind only the pages are needed. */
static bool spill_read_is_done(const struct spill *s)
{
    const struct spill_in *in = &s->in;
    const bool is_last = in->i_chain == in->n_chain - 1;

    return in->part ==
           CEIL_DIV(in->header.n_tok, KERN_PAGE_TOK) + (is_last ? state_n_slot_parts(s->state) : 0);
}

static int spill_read_slice(struct spill *s, struct fault *fault)
{
    struct spill_in *in = &s->in;
    int r = SPILL_OK;

    for (uint64_t n = 0; n < SPILL_SLICE_BYTES && !r; n += s->n_host) {
        if (in->fd < 0) {
            r = spill_read_open(s, fault);
        } else if (spill_read_is_done(s)) {
            closep(&in->fd);
            if (++in->i_chain == in->n_chain)
                return SPILL_OK;
        } else if (in->part < CEIL_DIV(in->header.n_tok, KERN_PAGE_TOK)) {
            r = spill_read_page(s, fault);
        } else {
            r = spill_read_state(s, fault);
        }
    }
    return r ? r : SPILL_E_AGAIN;
}

static void spill_touch(struct spill *s)
{
    char name[SPILL_NAME_BYTES];

    for (int i = 0; i < s->in.n_chain; i++) {
        struct spill_entry *entry = spill_index_find(s->index, s->in.chain[i]);

        entry->used_ns = spill_now_ns();
        spill_name_put(entry->uid, entry->id, name);
        (void)utimensat(s->dir_fd, name, NULL, AT_SYMLINK_NOFOLLOW);
    }
}

int spill_read_more(struct spill *s)
{
    struct fault fault = {0};
    int r = SPILL_E_BAD;

    if (spill_index_find(s->index, s->in.chain[s->in.n_chain - 1])) { /* else spill_forget() was meanwhile */
        r = spill_read_slice(s, &fault);
        if (r == SPILL_E_AGAIN)
            return r;
        if (!r && !s->in.is_ahead)
            spill_touch(s);
        else if (r > 0)
            r = spill_refuse(s, spill_index_find(s->index, s->in.chain[s->in.i_chain]), &fault);
    }
    spill_read_drop(s);
    return r;
}

void spill_read_drop(struct spill *s)
{
    closep(&s->in.fd);
    s->in.n_chain = 0;
}
