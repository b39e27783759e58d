/* spill_write.c - a checkpoint into a file of its own.  See spill.h. */
#include "spill_folder.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "daemon/util/log.h"

static int spill_pwrite(int fd, const void *data, size_t n, uint64_t offset)
{
    while (n) {
        const ssize_t k = pwrite(fd, data, n, (off_t)offset);

        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return k ? -errno : -EIO;
        data = (const uint8_t *)data + k;
        n -= (size_t)k;
        offset += (uint64_t)k;
    }
    return 0;
}

static int spill_give_up(struct spill *s, int r)
{
    log_warn("cache folder %s: %s; nothing more is written to it until the engine is started again",
             s->folder, strerror(-r));
    s->writes = false;
    spill_write_drop(s);
    return SPILL_E_OFF;
}

static int spill_write_open(struct spill *s, const int32_t *ids)
{
    struct spill_out *out = &s->out;
    const size_t n = (size_t)out->header.n_tok * sizeof(*ids);

    out->fd = openat(s->dir_fd, SPILL_NEW, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (out->fd < 0)
        return -errno;
    xxh64_init(&out->sum);
    xxh64_put(&out->sum, ids, n);
    out->header.ids_sum = xxh64_sum(&out->sum);
    xxh64_init(&out->sum);
    return spill_pwrite(out->fd, ids, n, SPILL_HEADER_BYTES);
}

int spill_write_begin(struct spill *s, uint32_t uid, const int32_t *ids, int n_ids, uint64_t keep_from,
                      uint64_t *ret_id)
{
    const struct spill_entry *parent = spill_index_match(s->index, uid, ids, n_ids);
    struct spill_out *out = &s->out;
    int r;

    if (!s->writes)
        return SPILL_E_OFF;
    if (parent && parent->n_tok == n_ids) {
        *ret_id = parent->id;
        return SPILL_E_HAVE;
    }
    if (parent && parent->depth == SPILL_DEPTH_MAX)
        parent = NULL; /* whole, so that what is behind it can be short again */
    *out = (struct spill_out){.fd = -1, .header = {.id = s->next_id, .uid = uid, .n_tok = n_ids}};
    if (parent) {
        out->header.parent = parent->id;
        out->header.n_base = parent->n_tok;
    }
    if (!spill_make_room(s, uid, spill_file_bytes(&s->shape, &out->header), out->header.parent, keep_from))
        return SPILL_E_FULL;
    out->part = spill_first_page(&out->header);
    out->offset = spill_pages_at(&out->header);
    r = spill_write_open(s, ids);
    if (r)
        return spill_give_up(s, r);
    *ret_id = s->next_id++;
    return SPILL_OK;
}

static int spill_write_part(struct spill *s, size_t n)
{
    struct spill_out *out = &s->out;
    int r = spill_pwrite(out->fd, s->host, n, out->offset);

    if (r)
        return spill_give_up(s, r);
    xxh64_put(&out->sum, s->host, n);
    out->offset += n;
    out->part++;
    return SPILL_OK;
}

static int spill_write_page(struct spill *s, const int32_t *pages)
{
    struct spill_out *out = &s->out;
    int r = state_get_page(s->state, pages[out->part], s->host);

    if (!r)
        r = spill_write_part(s, (size_t)s->shape.page_bytes);
    if (r || out->part < CEIL_DIV(out->header.n_tok, KERN_PAGE_TOK))
        return r;
    out->header.pages_sum = xxh64_sum(&out->sum);
    xxh64_init(&out->sum);
    return SPILL_OK;
}

static int spill_write_state(struct spill *s, int ckpt, int part)
{
    int r = state_get_ckpt_part(s->state, ckpt, part, s->host);

    if (!r)
        r = spill_write_part(s, state_slot_part_bytes(s->state));
    s->out.header.state_sum = xxh64_sum(&s->out.sum);
    return r;
}

/* Only now it has a header and a name of its own. */
static int spill_write_end(struct spill *s)
{
    struct spill_out *out = &s->out;
    const struct spill_header *h = &out->header;
    const struct spill_entry entry = {.id = h->id,
                                      .parent = h->parent,
                                      .ids_sum = h->ids_sum,
                                      .bytes = spill_file_bytes(&s->shape, h),
                                      .used_ns = spill_now_ns(),
                                      .uid = h->uid,
                                      .n_base = h->n_base,
                                      .n_tok = h->n_tok};
    uint8_t header[SPILL_HEADER_BYTES];
    char name[SPILL_NAME_BYTES];
    int r;

    spill_header_put(&s->shape, h, header);
    spill_name_put(h->uid, h->id, name);
    r = spill_pwrite(out->fd, header, sizeof(header), 0);
    if (!r && renameat(s->dir_fd, SPILL_NEW, s->dir_fd, name) < 0)
        r = -errno;
    if (r)
        return spill_give_up(s, r);
    closep(&out->fd);
    r = spill_index_add(s->index, &entry); /* its parent may have been found bad meanwhile */
    if (r)
        (void)unlinkat(s->dir_fd, name, 0);
    return SPILL_OK;
}

int spill_write_more(struct spill *s, int ckpt, const int32_t *pages)
{
    struct spill_out *out = &s->out;
    const int n_pages = CEIL_DIV(out->header.n_tok, KERN_PAGE_TOK);
    const int n_parts = n_pages + state_n_slot_parts(s->state);
    int r = SPILL_OK;

    for (uint64_t n = 0; n < SPILL_SLICE_BYTES && !r && out->part < n_parts; n += s->n_host)
        r = out->part < n_pages ? spill_write_page(s, pages)
                                : spill_write_state(s, ckpt, out->part - n_pages);
    if (r)
        return r;
    return out->part == n_parts ? spill_write_end(s) : SPILL_E_AGAIN;
}

void spill_write_drop(struct spill *s)
{
    if (s->out.fd >= 0)
        (void)unlinkat(s->dir_fd, SPILL_NEW, 0);
    closep(&s->out.fd);
}
