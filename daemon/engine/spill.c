/* spill.c - the folder of spilled checkpoints: what is there at the start, and what has to go.  See spill.h.
 */
#include "spill_folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>

#include "daemon/util/log.h"

/* files */

uint64_t spill_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now); /* as the files' times are */
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

ssize_t spill_pread(int fd, void *data, size_t n, uint64_t offset)
{
    size_t have = 0;

    while (have < n) {
        const ssize_t k = pread(fd, (uint8_t *)data + have, n - have, (off_t)(offset + have));

        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            return -errno;
        if (!k)
            break;
        have += (size_t)k;
    }
    return (ssize_t)have;
}

static void spill_remove(struct spill *s, uint64_t id)
{
    const struct spill_entry *entry = spill_index_find(s->index, id);
    char name[SPILL_NAME_BYTES];

    spill_name_put(entry->uid, id, name);
    (void)unlinkat(s->dir_fd, name, 0);
    spill_index_remove(s->index, id);
}

void spill_remove_all(struct spill *s, uint64_t id)
{
    const struct spill_entry *entry;

    while ((entry = spill_index_last_behind(s->index, id)))
        spill_remove(s, entry->id);
}

static int spill_read_header(const struct spill *s, int fd, struct spill_header *ret_header,
                             struct stat *ret_st, struct fault *fault)
{
    uint8_t data[SPILL_HEADER_BYTES];
    ssize_t n;

    if (fstat(fd, ret_st) < 0)
        return fault_set(fault, SPILL_E_BAD, "%s", strerror(errno));
    if (!S_ISREG(ret_st->st_mode))
        return fault_set(fault, SPILL_E_BAD, "it is no regular file");
    n = spill_pread(fd, data, sizeof(data), 0);
    if (n < 0)
        return fault_set(fault, SPILL_E_BAD, "%s", strerror((int)-n));
    return spill_header_read(&s->shape, data, (size_t)n, (uint64_t)ret_st->st_size, ret_header, fault);
}

int spill_open_file(const struct spill *s, const char *name, struct spill_header *ret_header,
                    struct stat *ret_st, int *ret_fd, struct fault *fault)
{
    _cleanup_(closep) int fd = openat(s->dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    int r;

    if (fd < 0)
        return fault_set(fault, SPILL_E_BAD, "%s", strerror(errno));
    r = spill_read_header(s, fd, ret_header, ret_st, fault);
    if (!r)
        *ret_fd = steal_fd(&fd);
    return r;
}

int spill_open_entry(const struct spill *s, const struct spill_entry *entry, struct spill_header *ret_header,
                     int *ret_fd, struct fault *fault)
{
    _cleanup_(closep) int fd = -1;
    char name[SPILL_NAME_BYTES];
    struct stat st;
    int r;

    spill_name_put(entry->uid, entry->id, name);
    r = spill_open_file(s, name, ret_header, &st, &fd, fault);
    if (r)
        return r;
    if (ret_header->id != entry->id || ret_header->parent != entry->parent || ret_header->uid != entry->uid ||
        ret_header->n_base != entry->n_base || ret_header->n_tok != entry->n_tok ||
        ret_header->ids_sum != entry->ids_sum)
        return fault_set(fault, SPILL_E_BAD, "it was exchanged since the start");
    *ret_fd = steal_fd(&fd);
    return SPILL_OK;
}

int spill_refuse(struct spill *s, const struct spill_entry *entry, const struct fault *fault)
{
    log_warn("cache file %s/%u-%" PRIu64 ": %s; removed, with all that go on behind it", s->folder,
             entry->uid, entry->id, fault->text);
    spill_remove_all(s, entry->id);
    return SPILL_E_BAD;
}

/* The one that was used longest ago. */
static void spill_drop_foreign(struct spill *s)
{
    char name[SPILL_NAME_BYTES];
    int oldest = 0;

    for (int i = 1; i < s->n_foreign; i++)
        if (s->foreign[i].used_ns < s->foreign[oldest].used_ns)
            oldest = i;
    spill_name_put(s->foreign[oldest].uid, s->foreign[oldest].id, name);
    (void)unlinkat(s->dir_fd, name, 0);
    s->foreign_bytes -= s->foreign[oldest].bytes;
    s->foreign[oldest] = s->foreign[--s->n_foreign];
}

bool spill_make_room(struct spill *s, uint32_t uid, uint64_t bytes, uint64_t spare, uint64_t keep_from)
{
    const struct spill_entry *victim;
    bool fits;

    while ((victim = spill_index_victim(s->index, uid, bytes, spill_now_ns(), spare, keep_from, &fits)))
        spill_remove(s, victim->id);
    while (fits && s->n_foreign && s->index->bytes + s->foreign_bytes + bytes > s->index->max_bytes)
        spill_drop_foreign(s);
    return fits;
}

int spill_find(struct spill *s, uint32_t uid, const int32_t *ids, int n_ids, uint64_t *ret_id)
{
    const struct spill_entry *entry = spill_index_match(s->index, uid, ids, n_ids);

    if (!entry)
        return 0;
    *ret_id = entry->id;
    return entry->n_tok;
}

static int spill_load_ids(const struct spill *s, const struct spill_entry *entry, int32_t *ret_ids,
                          struct fault *fault)
{
    _cleanup_(closep) int fd = -1;
    const size_t n = (size_t)entry->n_tok * sizeof(*ret_ids);
    struct spill_header header;
    struct xxh64 sum;
    ssize_t have;
    int r = spill_open_entry(s, entry, &header, &fd, fault);

    if (r)
        return r;
    have = spill_pread(fd, ret_ids, n, SPILL_HEADER_BYTES);
    if (have != (ssize_t)n)
        return fault_set(fault, SPILL_E_BAD, "%s", have < 0 ? strerror((int)-have) : "it became shorter");
    xxh64_init(&sum);
    xxh64_put(&sum, ret_ids, n);
    if (xxh64_sum(&sum) != header.ids_sum)
        return fault_set(fault, SPILL_E_BAD, "its tokens are not those that its header names");
    return SPILL_OK;
}

int spill_next_leaf(struct spill *s, struct spill_leaf *leaf, int max_tok, int32_t *ret_ids)
{
    const struct spill_entry *entry;
    struct fault fault = {0};
    int r;

    do {
        entry = spill_index_leaf_before(s->index, leaf->used_ns, leaf->id);
        if (!entry)
            return SPILL_E_OFF;
        *leaf = (struct spill_leaf){
            .used_ns = entry->used_ns, .id = entry->id, .uid = entry->uid, .n_tok = entry->n_tok};
    } while (entry->n_tok > max_tok);
    r = spill_load_ids(s, entry, ret_ids, &fault);
    return r ? spill_refuse(s, entry, &fault) : SPILL_OK;
}

bool spill_parent(struct spill *s, uint64_t id, uint64_t *ret_id, int *ret_n_tok)
{
    const struct spill_entry *entry = spill_index_find(s->index, id);
    const struct spill_entry *parent =
        entry && entry->parent ? spill_index_find(s->index, entry->parent) : NULL;

    if (!parent)
        return false;
    *ret_id = parent->id;
    *ret_n_tok = parent->n_tok;
    return true;
}

void spill_forget(struct spill *s, uint32_t uid, const int32_t *ids, int n_ids)
{
    const struct spill_entry *entry;

    while ((entry = spill_index_match(s->index, uid, ids, n_ids)))
        spill_remove_all(s, entry->id);
}

/* opening */

struct spill_list {
    struct spill_entry entries[SPILL_FILES_MAX];
    int n, n_lost;
};

static uint64_t spill_used_ns(const struct stat *st)
{
    return (uint64_t)MAX(st->st_mtim.tv_sec, 0) * 1000000000u + (uint64_t)st->st_mtim.tv_nsec;
}

static int spill_list_check(const struct spill *s, const char *name, struct spill_entry *ret_entry,
                            struct fault *fault)
{
    _cleanup_(closep) int fd = -1;
    struct spill_header header;
    struct stat st;
    uint32_t uid;
    uint64_t id;
    int r = spill_open_file(s, name, &header, &st, &fd, fault);

    if (r)
        return r;
    (void)spill_name_read(name, &uid, &id); /* the caller has seen that it can be */
    if (uid != header.uid || id != header.id)
        return fault_set(fault, SPILL_E_BAD, "it is number %" PRIu64 " of uid %u", header.id, header.uid);
    *ret_entry = (struct spill_entry){
        .id = id,
        .parent = header.parent,
        .ids_sum = header.ids_sum,
        .bytes = (uint64_t)st.st_size,
        .used_ns = spill_used_ns(&st),
        .uid = uid,
        .n_base = header.n_base,
        .n_tok = header.n_tok,
    };
    return SPILL_OK;
}

/* False: there is no room for so many. */
static bool spill_list_foreign(struct spill *s, const char *name, uint32_t uid, uint64_t id)
{
    struct stat st;

    if (s->n_foreign == SPILL_FILES_MAX || fstatat(s->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return false;
    s->foreign[s->n_foreign++] = (struct spill_foreign){
        .id = id, .bytes = (uint64_t)st.st_size, .used_ns = spill_used_ns(&st), .uid = uid};
    s->foreign_bytes += (uint64_t)st.st_size;
    s->next_id = MAX(s->next_id, id + 1);
    return true;
}

static void spill_list_file(struct spill *s, const char *name, struct spill_list *list)
{
    struct fault fault = {0};
    uint32_t uid;
    uint64_t id;
    int r = SPILL_E_OTHER;
    bool is_gone;

    if (!strcmp(name, SPILL_NEW)) {
        (void)unlinkat(s->dir_fd, name, 0); /* an engine died over it */
        return;
    }
    if (!spill_name_read(name, &uid, &id)) {
        log_warn("cache folder %s: %.64s is no file of this service; left alone", s->folder, name);
        return;
    }
    if (list->n < SPILL_FILES_MAX)
        r = spill_list_check(s, name, &list->entries[list->n], &fault);
    list->n += !r;
    if (!r || (r == SPILL_E_OTHER && list->n < SPILL_FILES_MAX && spill_list_foreign(s, name, uid, id)))
        return;
    is_gone = unlinkat(s->dir_fd, name, 0) == 0;
    if (r != SPILL_E_OTHER)
        log_warn("cache file %s/%s: %s; %s", s->folder, name, fault.text, is_gone ? "removed" : "left alone");
}

static int spill_list_compare(const void *a, const void *b)
{
    const struct spill_entry *x = a, *y = b;

    return (x->id > y->id) - (x->id < y->id);
}

/* Parents have the lower ids. */
static void spill_list_take(struct spill *s, struct spill_list *list)
{
    char name[SPILL_NAME_BYTES];

    qsort(list->entries, (size_t)list->n, sizeof(*list->entries), spill_list_compare);
    for (int i = 0; i < list->n; i++) {
        const struct spill_entry *entry = &list->entries[i];

        s->next_id = MAX(s->next_id, entry->id + 1);
        if (!spill_index_add(s->index, entry))
            continue;
        list->n_lost++;
        spill_name_put(entry->uid, entry->id, name);
        (void)unlinkat(s->dir_fd, name, 0);
    }
}

static int spill_list_read(struct spill *s, struct spill_list *list, struct fault *fault)
{
    const int fd = openat(s->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *entry;

    if (!dir) {
        fault_set(fault, SPILL_E_OFF, "%s: %s", s->folder, strerror(errno));
        if (fd >= 0)
            close(fd);
        return SPILL_E_OFF;
    }
    while ((entry = readdir(dir)))
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
            spill_list_file(s, entry->d_name, list);
    closedir(dir);
    return SPILL_OK;
}

static int spill_list_all(struct spill *s, struct fault *fault)
{
    _cleanup_(freep) struct spill_list *list = calloc(1, sizeof(*list));
    int r;

    if (!list)
        return err_origin(-ENOMEM);
    r = spill_list_read(s, list, fault);
    if (r)
        return r;
    spill_list_take(s, list);
    (void)spill_make_room(s, 0, 0, 0, UINT64_MAX);
    log_info("cache folder %s: %d files with %" PRIu64 " of %" PRIu64 " MiB, %d with %" PRIu64
             " MiB of other models or engines; removed %d that went on behind one that is gone",
             s->folder, s->index->n, s->index->bytes >> 20, s->index->max_bytes >> 20, s->n_foreign,
             s->foreign_bytes >> 20, list->n_lost);
    return SPILL_OK;
}

/* An engine that was killed with its broker may still be giving its memory back. */
static int spill_lock(const struct spill *s)
{
    enum { WAIT_MS = 50, WAITS = 40 };

    for (int i = 0; flock(s->dir_fd, LOCK_EX | LOCK_NB) < 0; i++) {
        if (errno != EWOULDBLOCK || i == WAITS)
            return -errno;
        (void)poll(NULL, 0, WAIT_MS);
    }
    return 0;
}

/* Prompts lie in it: it must be ours and nobody else's. */
static int spill_open_folder(struct spill *s, struct fault *fault)
{
    struct stat st;
    int r;

    if (mkdir(s->folder, 0700) < 0 && errno != EEXIST)
        return fault_set(fault, SPILL_E_OFF, "%s cannot be made: %s", s->folder, strerror(errno));
    s->dir_fd = open(s->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->dir_fd < 0 || fstat(s->dir_fd, &st) < 0)
        return fault_set(fault, SPILL_E_OFF, "%s: %s", s->folder, strerror(errno));
    if (st.st_uid != geteuid() || (st.st_mode & 077))
        return fault_set(fault, SPILL_E_OFF, "%s is uid %u's with mode %03o, should be uid %u's with 700",
                         s->folder, st.st_uid, st.st_mode & 0777u, geteuid());
    r = spill_lock(s);
    if (r)
        return fault_set(fault, SPILL_E_OFF, "%s: %s", s->folder,
                         r == -EWOULDBLOCK ? "another engine uses it" : strerror(-r));
    return SPILL_OK;
}

int spill_open(const struct spill_config *config, struct fault *fault, struct spill **ret_spill)
{
    _cleanup_(spill_freep) struct spill *s = calloc(1, sizeof(*s));
    const size_t n_page = state_page_part_bytes(config->state), n_part = state_slot_part_bytes(config->state);
    int r;

    if (!s)
        return err_origin(-ENOMEM);
    *s = (struct spill){.dir_fd = -1, .state = config->state, .next_id = 1, .writes = true};
    s->out.fd = s->in.fd = -1;
    memcpy(s->shape.key, config->key, sizeof(s->shape.key));
    s->shape.page_bytes = n_page;
    s->shape.state_bytes = n_part * (uint64_t)state_n_slot_parts(config->state);
    s->n_host = MAX(MAX(n_page, n_part), (size_t)64 << 10);
    s->host = malloc(s->n_host);
    s->foreign = calloc(SPILL_FILES_MAX, sizeof(*s->foreign));
    s->folder = strdup(config->folder);
    if (!s->host || !s->folder || !s->foreign)
        return err_origin(-ENOMEM);
    r = spill_index_new(config->max_bytes, &s->index);
    if (!r)
        r = spill_open_folder(s, fault);
    if (!r)
        r = spill_list_all(s, fault);
    if (!r)
        *ret_spill = steal(&s);
    return r;
}

struct spill *spill_free(struct spill *s)
{
    if (!s)
        return NULL;
    spill_write_drop(s);
    spill_read_drop(s);
    closep(&s->dir_fd);
    free(s->folder);
    free(s->index);
    free(s->foreign);
    free(s->host);
    free(s);
    return NULL;
}

uint64_t spill_used_bytes(const struct spill *s)
{
    return s->index->bytes + s->foreign_bytes;
}

uint64_t spill_max_bytes(const struct spill *s)
{
    return s->index->max_bytes;
}

bool spill_writes(const struct spill *s)
{
    return s->writes;
}

uint64_t spill_next_id(const struct spill *s)
{
    return s->next_id;
}
