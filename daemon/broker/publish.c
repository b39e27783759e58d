/* publish.c - public beginnings, from their files to the engine.  See publish.h. */
#include "publish.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "broker.h"
#include "daemon/util/log.h"
#include "proto/frame.h"

enum { PUBLISH_SEALS = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE, PUBLISH_CHUNK = 16 << 10 };

static const struct conf_key publish_keys[] = {
    CONF_KEY("public", struct publish_item, path, "file", CONF_STRING),
};

void publish_table(struct publish_item *defaults, struct conf_table *ret_table)
{
    *defaults = (struct publish_item){.fd = -1};
    *ret_table = (struct conf_table){publish_keys, ARRAY_SIZE(publish_keys), defaults};
}

static void publish_item_deinit(struct publish_item *item)
{
    freep(&item->path);
    closep(&item->fd);
}

struct publish *publish_free(struct publish *publish)
{
    if (!publish)
        return NULL;
    for (size_t i = 0; i < publish->n; i++)
        publish_item_deinit(&publish->items[i]);
    free(publish);
    return NULL;
}

static struct publish_item *publish_find(struct publish *publish, const char *name)
{
    for (size_t i = 0; i < publish->n; i++)
        if (!strcmp(publish->items[i].name, name))
            return &publish->items[i];
    return NULL;
}

/* sections */

struct publish_reader {
    struct publish *publish;
    int seen[PUBLISH_MAX]; /* lines of this file */
};

static bool publish_is_name(const char *name)
{
    const size_t n = strlen(name);

    return n && n < PUBLISH_NAME_BYTES &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == n;
}

static int publish_open_section(struct publish *publish, const struct conf_place *place,
                                struct publish_item **ret_item, struct fault *fault)
{
    const char *name = place->section + strlen("public ");

    if (!publish_is_name(name))
        return fault_set(
            fault, PUBLISH_E_INVALID,
            "%s:%d: the public prefix is called '%.64s', should be 1 to %d letters, digits, '_', '-'",
            place->path, place->line, name, PUBLISH_NAME_BYTES - 1);
    *ret_item = publish_find(publish, name);
    if (*ret_item)
        return PUBLISH_OK;
    if (publish->n == PUBLISH_MAX)
        return fault_set(fault, PUBLISH_E_INVALID, "%s:%d: more than %d public prefixes", place->path,
                         place->line, PUBLISH_MAX);
    *ret_item = &publish->items[publish->n++];
    **ret_item = (struct publish_item){.fd = -1};
    memcpy((*ret_item)->name, name, strlen(name));
    return PUBLISH_OK;
}

static int publish_take(void *arg, const struct conf_place *place, const char *value, struct fault *fault)
{
    const struct conf_place of_public = {place->path, place->line, "public", place->name};
    struct publish_reader *reader = arg;
    struct publish_item *item;
    char where[300];
    int *seen, r;

    if (strncmp(place->section, "public ", strlen("public "))) /* options.c's, policy_read.c's */
        return PUBLISH_OK;
    r = publish_open_section(reader->publish, place, &item, fault);
    if (r)
        return r;
    if (!conf_find(publish_keys, ARRAY_SIZE(publish_keys), "public", place->name))
        return conf_refuse_key(publish_keys, ARRAY_SIZE(publish_keys), &of_public, fault);
    seen = &reader->seen[item - reader->publish->items];
    if (*seen)
        return fault_set(fault, PUBLISH_E_INVALID, "%s:%d: 'file' was already set in line %d", place->path,
                         place->line, *seen);
    *seen = place->line;
    snprintf(where, sizeof(where), "%s:%d", place->path, place->line);
    return conf_set(&publish_keys[0], value, where, item, fault);
}

int publish_read_stream(struct publish *publish, FILE *file, const char *path, struct fault *fault)
{
    struct publish_reader reader = {.publish = publish};
    const int r = conf_walk(file, path, publish_take, &reader, fault);

    return r > 0 ? PUBLISH_E_INVALID : r;
}

/* files */

static int publish_refuse(const struct publish_item *item, const char *why, struct fault *fault)
{
    return fault_set(fault, PUBLISH_E_INVALID, "[public %s] file %.200s: %s", item->name, item->path, why);
}

static int publish_copy(const struct publish_item *item, int from, int to, struct fault *fault)
{
    char chunk[PUBLISH_CHUNK];
    uint64_t n_bytes = 0;
    ssize_t n;

    while ((n = read(from, chunk, sizeof(chunk))) > 0) {
        n_bytes += (uint64_t)n;
        if (n_bytes > PUBLISH_BYTES_MAX)
            return publish_refuse(item, "it grows beyond 1 MiB while it is read", fault);
        if (write(to, chunk, (size_t)n) != n) /* memory: all or nothing */
            return err_errno();
    }
    return n < 0 ? publish_refuse(item, strerror(errno), fault) : PUBLISH_OK;
}

static int publish_check(const struct publish_item *item, int fd, struct fault *fault)
{
    struct stat st;
    char why[100];

    if (fd < 0 || fstat(fd, &st) < 0)
        return publish_refuse(item, strerror(errno), fault);
    if (!S_ISREG(st.st_mode))
        return publish_refuse(item, "it is no regular file", fault);
    if (st.st_size > 0 && st.st_size <= PUBLISH_BYTES_MAX)
        return PUBLISH_OK;
    snprintf(why, sizeof(why), "it has %lld bytes, should be 1 to %d", (long long)st.st_size,
             PUBLISH_BYTES_MAX);
    return publish_refuse(item, why, fault);
}

static int publish_load(struct publish_item *item, struct fault *fault)
{
    _cleanup_(closep) int fd = -1, memfd = -1;
    int r;

    if (!item->path)
        return fault_set(fault, PUBLISH_E_INVALID, "[public %s] has no file", item->name);
    fd = open(item->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    r = publish_check(item, fd, fault);
    if (r)
        return r;
    memfd = memfd_create("qwend-public", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (memfd < 0)
        return err_errno();
    r = publish_copy(item, fd, memfd, fault);
    if (!r && fcntl(memfd, F_ADD_SEALS, PUBLISH_SEALS) < 0)
        r = err_errno();
    if (!r)
        item->fd = steal_fd(&memfd);
    return r;
}

static int publish_read_file(struct publish *publish, const char *path, struct fault *fault)
{
    _cleanup_(conf_fclosep) FILE *file = fopen(path, "re");

    if (!file)
        return fault_set(fault, PUBLISH_E_INVALID, "%s: %s", path, strerror(errno));
    return publish_read_stream(publish, file, path, fault);
}

int publish_read(const struct conf_files *files, struct publish **ret_publish, struct fault *fault)
{
    _cleanup_(publish_freep) struct publish *publish = calloc(1, sizeof(*publish));
    int r = PUBLISH_OK;

    if (!publish)
        return err_origin(-ENOMEM);
    for (size_t i = 0; i < files->n && !r; i++)
        r = publish_read_file(publish, files->paths[i], fault);
    for (size_t i = 0; i < publish->n && !r; i++)
        r = publish_load(&publish->items[i], fault);
    if (!r)
        *ret_publish = steal(&publish);
    return r;
}

/* a reload */

static bool publish_is_same(const struct publish_item *a, const struct publish_item *b)
{
    char x[PUBLISH_CHUNK], y[PUBLISH_CHUNK];
    off_t at = 0;
    ssize_t n;

    do {
        n = pread(a->fd, x, sizeof(x), at);
        if (n < 0 || pread(b->fd, y, sizeof(y), at) != n || memcmp(x, y, (size_t)n) != 0)
            return false;
        at += n;
    } while (n);
    return true;
}

static void publish_carry_over(const struct publish_item *old, struct publish_item *item)
{
    item->state = old->state;
    item->handle = old->handle;
    item->tokens = old->tokens;
    item->n_deaths = old->n_deaths;
}

void publish_replace(struct broker *broker, struct publish **publish)
{
    struct publish *old = broker->publish, *now = steal(publish);

    /* The engine has PUBLISH_MAX at most: it gets no new one before it has forgotten these. */
    memcpy(now->gone, old->gone, sizeof(now->gone));
    now->n_gone = old->n_gone;
    for (size_t i = 0; i < old->n; i++) {
        struct publish_item *was = &old->items[i], *item = publish_find(now, was->name);

        if (item && was->state != PUBLISH_REFUSED && publish_is_same(was, item))
            publish_carry_over(was, item);
        else if (was->state == PUBLISH_SENT || was->state == PUBLISH_READY)
            now->gone[now->n_gone++] = was->handle;
    }
    publish_free(old);
    broker->publish = now;
    broker_kick(broker);
}

/* the engine */

/* What engines may die of is not given to a third one: the next reload tries it again. */
static void publish_begin_again(struct publish_item *item)
{
    item->n_deaths += item->state == PUBLISH_SENT;
    item->handle = 0;
    item->state = item->n_deaths < PUBLISH_DEATHS_MAX ? PUBLISH_WAITING : PUBLISH_REFUSED;
    if (item->state != PUBLISH_REFUSED)
        return;
    snprintf(item->text, sizeof(item->text), "%u engines died before they had read it", item->n_deaths);
    log_warn("public prefix %s is left out: %s", item->name, item->text);
}

void publish_on_switch(struct publish *publish)
{
    for (size_t i = 0; i < publish->n; i++)
        if (publish->items[i].state == PUBLISH_SENT)
            publish->items[i].state = PUBLISH_WAITING;
}

void publish_on_ready(struct broker *broker)
{
    struct publish *publish = broker->publish;

    publish->n_gone = 0;
    for (size_t i = 0; i < publish->n; i++)
        publish_begin_again(&publish->items[i]);
}

static int publish_send(struct broker *broker, struct publish_item *item)
{
    const uint32_t handle = broker_new_handle(broker);
    Qwe__Publish msg = QWE__PUBLISH__INIT;
    int r;

    msg.name = item->name;
    r = link_put_fd(&broker->link, handle, MSG_E_PUBLISH, &msg.base, item->fd);
    if (r)
        return r;
    item->handle = handle;
    item->state = PUBLISH_SENT;
    return 0;
}

size_t publish_handles(const struct publish *publish, uint32_t ret_handles[2 * PUBLISH_MAX])
{
    size_t n = MIN(publish->n_gone, (size_t)PUBLISH_MAX);

    memcpy(ret_handles, publish->gone, n * sizeof(*ret_handles));
    for (size_t i = 0; i < publish->n; i++)
        if (publish->items[i].handle)
            ret_handles[n++] = publish->items[i].handle;
    return n;
}

void publish_forget(struct publish *publish, const uint32_t *handles, size_t n)
{
    for (size_t i = 0; i < n && publish->n_gone < ARRAY_SIZE(publish->gone); i++)
        publish->gone[publish->n_gone++] = handles[i];
}

/* Only while nothing else waits to be written: an fd without its frame must not be sent. */
void publish_pump(struct broker *broker)
{
    const Qwe__Unpublish unpublish = QWE__UNPUBLISH__INIT;
    struct publish *publish = broker->publish;
    struct publish_item *next = NULL;

    for (; publish->n_gone; publish->n_gone--)
        if (link_put(&broker->link, publish->gone[publish->n_gone - 1], MSG_E_UNPUBLISH, &unpublish.base))
            return;
    for (size_t i = publish->n; i-- > 0;) {
        if (publish->items[i].state == PUBLISH_SENT)
            return;
        if (publish->items[i].state == PUBLISH_WAITING)
            next = &publish->items[i];
    }
    if (next && !broker->link.sock.n_out_fds && buf_size(&broker->link.sock.out) < FRAME_MAX_BYTES)
        (void)publish_send(broker, next); /* or at the next pump */
}

int publish_on_published(struct broker *broker, uint32_t handle, const Qwe__Published *published)
{
    struct publish *publish = broker->publish;

    for (size_t i = 0; i < publish->n; i++) {
        struct publish_item *item = &publish->items[i];

        if (item->handle != handle || (item->state != PUBLISH_SENT && item->state != PUBLISH_READY))
            continue;
        item->state = published->has_code ? PUBLISH_REFUSED : PUBLISH_READY;
        item->n_deaths = 0;
        item->tokens = published->tokens;
        snprintf(item->text, sizeof(item->text), "%s", published->text ? published->text : "");
        broker_kick(broker);
    }
    return 0; /* or it is of one that was taken back meanwhile */
}
