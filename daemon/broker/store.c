/* store.c - the journal's file and the weights in the FD store.  See store.h. */
#include "store.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "broker.h"
#include "daemon/util/log.h"
#include "daemon/util/memfd.h"
#include "daemon/util/sd.h"
#include "proto/wire.h"

#define STORE_JOURNAL SD_STORED "journal-"
#define STORE_WEIGHTS SD_STORED "weights"
enum {
    STORE_COMPACT_BYTES = 4 << 20,  /* less is not worth a system call */
    STORE_COMPACT_SHARE = 4,        /* at most this part of the file may live: then little is copied */
    STORE_PATIENT_BYTES = 16 << 20, /* a manager that hangs holds us up for a second each time */
    STORE_ABOUT_BYTES_MAX = 64 << 10,
    STORE_WEIGHTS_MAX = 3, /* memory, its part in main memory, what they are */
};

uint64_t store_limit_bytes(uint32_t mib)
{
    return ((uint64_t)mib << 20) / 2;
}

/* the journal's file */
static void store_name(const struct ledger *ledger, char ret_name[SD_NAME_BYTES])
{
    snprintf(ret_name, SD_NAME_BYTES, STORE_JOURNAL "%llu", (unsigned long long)ledger->generation);
}

/* The new one is kept before the old one is not: whoever starts in between takes the higher number. */
static int store_swap(struct store *store, struct ledger *next)
{
    char name[SD_NAME_BYTES];
    int r = 0;

    if (sd_has_store()) {
        store_name(next, name);
        r = sd_store_put(name, &next->fd, 1);
    }
    if (r)
        return r;
    if (store->stored) {
        store_name(&store->ledger, name);
        sd_store_remove(name);
    }
    ledger_deinit(&store->ledger);
    store->ledger = *next;
    store->stored = sd_has_store();
    store->patient_bytes = 0;
    return 0;
}

static int store_compact(struct store *store, size_t cap_bytes)
{
    struct ledger next;
    int r = store->frozen ? LEDGER_E_FULL : ledger_compact(&store->ledger, cap_bytes, &next);

    if (r)
        return r;
    r = store_swap(store, &next);
    if (r) {
        log_errno(r, "the journal stays where it is: %zu of its %zu bytes are dead",
                  store->ledger.used_bytes - store->ledger.live_bytes, store->ledger.used_bytes);
        ledger_deinit(&next);
        store->patient_bytes = store->ledger.used_bytes + STORE_PATIENT_BYTES;
    }
    return r;
}

int store_begin(struct store *store, size_t n, uint8_t **ret_payload)
{
    int r = ledger_begin(&store->ledger, n, ret_payload);

    if (r != LEDGER_E_FULL)
        return r;
    r = store_compact(store, store->ledger.cap_bytes);
    return r ? r : ledger_begin(&store->ledger, n, ret_payload);
}

int store_put(struct store *store, uint32_t key, uint16_t type, const void *payload, size_t n)
{
    uint8_t *at;
    int r = store_begin(store, n, &at);

    if (r)
        return r;
    if (n)
        memcpy(at, payload, n);
    return ledger_commit(&store->ledger, key, type, n);
}

void store_close_key(struct store *store, uint32_t key)
{
    const struct ledger *ledger = &store->ledger;
    int r = ledger_close_key(&store->ledger, key);

    if (r == LEDGER_E_FULL) {
        r = store_compact(store, ledger->cap_bytes);
        r = r ? r : ledger_close_key(&store->ledger, key);
    }
    if (r)
        log_warn("the journal has no room to say that a request has ended: it would come back");
    if (ledger->used_bytes > MAX((size_t)STORE_COMPACT_BYTES, store->patient_bytes) &&
        ledger->live_bytes < ledger->used_bytes / STORE_COMPACT_SHARE)
        (void)store_compact(store, ledger->cap_bytes); /* it has said so, and can wait */
}

/* the start */
/* Of those that are kept the one with the highest number; the others are from a broker that died while it
 * changed over, or are no journals. */
static void store_find(struct store *store)
{
    char name[SD_NAME_BYTES];
    int fd;

    while ((fd = sd_take_stored(STORE_JOURNAL, name)) >= 0) {
        struct fault fault = {};
        struct ledger found;
        int r = ledger_adopt(&fd, &found, &fault);

        closep(&fd);
        if (r == LEDGER_E_DAMAGED)
            log_warn("the journal is damaged, what comes behind is lost: %s", fault.text);
        else if (r)
            log_warn("%s cannot be used: %s", name, r > 0 ? fault.text : strerror(-r));
        if (r < 0 || r == LEDGER_E_BAD || found.generation < store->ledger.generation) {
            sd_store_remove(name);
            if (!r || r == LEDGER_E_DAMAGED)
                ledger_deinit(&found);
            continue;
        }
        if (store->stored) {
            store_name(&store->ledger, name);
            sd_store_remove(name);
        }
        ledger_deinit(&store->ledger);
        store->ledger = found;
        store->stored = sd_has_store();
    }
}

static int store_new(struct store *store, size_t cap_bytes, uint64_t generation)
{
    struct ledger fresh;
    int r = ledger_new(cap_bytes, generation, &fresh);

    if (r)
        return r;
    r = store_swap(store, &fresh);
    if (r) { /* a manager that cannot be reached is no reason not to serve */
        log_errno(r, "the journal is not kept: a broker that is started again begins anew");
        store->ledger = fresh;
        store->stored = false;
    }
    return 0;
}

int store_begin_anew(struct store *store)
{
    const size_t cap_bytes = store->ledger.cap_bytes;
    const uint64_t generation = store->ledger.generation;

    freep(&store->serving);
    store_close(store, true);
    return store_new(store, cap_bytes, generation + 1);
}

int store_open(struct store *store, struct broker *broker, uint32_t mib)
{
    const size_t cap_bytes = (size_t)mib << 20;

    *store = (struct store){.broker = broker, .ledger = LEDGER_NULL, .last_key = STORE_KEY};
    store_find(store);
    if (!mib) {
        store_close(store, true);
        return 0;
    }
    if (store_is_on(store)) {
        store->last_key = MAX(store->last_key, ledger_last_key(&store->ledger));
        if (store->ledger.cap_bytes != cap_bytes && store_compact(store, cap_bytes))
            log_warn("the journal has room for %zu MiB as before: what is in it does not fit into %u",
                     store->ledger.cap_bytes >> 20, mib);
        return 0;
    }
    return store_new(store, cap_bytes, 1);
}

void store_close(struct store *store, bool forget)
{
    char name[SD_NAME_BYTES];

    if (forget && store->stored) {
        store_name(&store->ledger, name);
        sd_store_remove(name);
    }
    ledger_deinit(&store->ledger);
    freep(&store->serving);
    store->stored = false;
}

/* weights */
static int store_about_put(const Qwe__Weights *msg, int *ret_fd)
{
    const size_t n = qwe__weights__get_packed_size(msg);
    _cleanup_(freep) uint8_t *body = malloc(n + 1);

    if (!body)
        return err_origin(-ENOMEM);
    qwe__weights__pack(msg, body);
    return memfd_sealed("qwend-weights-about", body, n, ret_fd);
}

/* NULL: it is no description. */
static Qwe__Weights *store_about_read(int fd)
{
    uint8_t body[STORE_ABOUT_BYTES_MAX];
    ProtobufCMessage *msg;
    struct stat st;

    if (fstat(fd, &st) < 0 || st.st_size > (off_t)sizeof(body) ||
        pread(fd, body, (size_t)st.st_size, 0) != st.st_size ||
        wire_unpack(&qwe__weights__descriptor, body, (size_t)st.st_size, NULL, &msg))
        return NULL;
    return (Qwe__Weights *)msg;
}

/* Whether the fd describes the others: they came in any order, so each is tried as what it may be. */
static bool store_match_about(int fds[STORE_WEIGHTS_MAX], int about, struct kept *kept)
{
    Qwe__Weights *msg = store_about_read(fds[about]);
    int *memory = &fds[(about + 1) % STORE_WEIGHTS_MAX], *host = &fds[(about + 2) % STORE_WEIGHTS_MAX];
    int r = KEPT_E_BAD;

    if (msg && *memory >= 0)
        r = kept_put_whole(kept, memory, host, &msg);
    if (msg && r && *host >= 0)
        r = kept_put_whole(kept, host, memory, &msg);
    wire_free((ProtobufCMessage *)msg);
    return !r;
}

/* All have one name, so that there never are some of them alone. */
void store_take_weights(struct kept *kept)
{
    int fds[STORE_WEIGHTS_MAX] = {-1, -1, -1}, n = 0;
    char name[SD_NAME_BYTES];
    bool found = false;

    while (n < STORE_WEIGHTS_MAX && (fds[n] = sd_take_stored(STORE_WEIGHTS, name)) >= 0)
        n++;
    for (int i = 0; i < n && !found; i++)
        found = store_match_about(fds, i, kept);
    for (int i = 0; i < n; i++)
        closep(&fds[i]);
    if (!n || found)
        return;
    log_warn("the weights that were kept cannot be used: the model is loaded from its file");
    sd_store_remove(STORE_WEIGHTS);
}

void store_drop_weights(void)
{
    if (sd_has_store())
        sd_store_remove(STORE_WEIGHTS);
}

void store_put_weights(const struct kept *kept)
{
    _cleanup_(closep) int about = -1;
    int r;

    if (!sd_has_store())
        return;
    store_drop_weights();
    r = store_about_put(kept->msg, &about);
    if (!r)
        r = sd_store_put(STORE_WEIGHTS, (const int[]){kept->fd, about, kept->host_fd},
                         2 + (kept->host_fd >= 0));
    if (r)
        log_errno(r,
                  "the weights are not kept: a broker that is started again loads the model from its file");
}

/* for whom we become */
size_t store_pass(const struct store *store, const struct kept *kept, struct store_passed *ret_passed)
{
    struct store_passed *passed = ret_passed;
    size_t n = 0;

    *passed = (struct store_passed){.about = -1};
    store_name(&store->ledger, passed->journal);
    passed->pass[n++] = (struct sd_pass){.name = passed->journal, .fd = store->ledger.fd};
    if (kept->fd < 0 || store_about_put(kept->msg, &passed->about))
        return n; /* the next engine reads the file */
    passed->pass[n++] = (struct sd_pass){.name = STORE_WEIGHTS, .fd = kept->fd};
    passed->pass[n++] = (struct sd_pass){.name = STORE_WEIGHTS, .fd = passed->about};
    if (kept->host_fd >= 0)
        passed->pass[n++] = (struct sd_pass){.name = STORE_WEIGHTS, .fd = kept->host_fd};
    return n;
}

void store_unpass(struct store_passed *passed)
{
    closep(&passed->about);
}
