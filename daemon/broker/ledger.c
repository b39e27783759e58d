/* ledger.c - records in a mapped memfd.  See ledger.h. */
#include "ledger.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "daemon/util/crc32c.h"

#define LEDGER_MAGIC "QWLEDG1\n"
enum { LEDGER_SLOTS_MIN = 64 };

struct ledger_file {
    char magic[8];
    uint64_t generation, cap_bytes;
};

struct ledger_head {
    uint32_t n_all; /* of the record, its head and what rounds it up included; 0: here the file ends */
    uint32_t crc;   /* of what follows, payload included */
    uint32_t key;
    uint16_t type;
    uint16_t n_pad; /* n_all less these is the head and the payload */
};
_Static_assert(sizeof(struct ledger_head) == LEDGER_HEAD_BYTES, "the file's format");

struct ledger_key {
    uint32_t key;
    bool used;
    size_t n_bytes, from; /* from: where its first record stands; what is before that was closed */
};

/* keys: open addressing, linear probing, at most half full */
static size_t ledger_slot(const struct ledger *ledger, uint32_t key)
{
    size_t i = (key * 2654435761u) & (ledger->n_slots - 1);

    while (ledger->keys[i].used && ledger->keys[i].key != key)
        i = (i + 1) & (ledger->n_slots - 1);
    return i;
}

static struct ledger_key *ledger_find(const struct ledger *ledger, uint32_t key)
{
    struct ledger_key *slot = ledger->n_slots ? &ledger->keys[ledger_slot(ledger, key)] : NULL;

    return slot && slot->used ? slot : NULL;
}

static int ledger_grow_keys(struct ledger *ledger)
{
    struct ledger bigger = {.n_slots = MAX(2 * ledger->n_slots, (size_t)LEDGER_SLOTS_MIN)};

    bigger.keys = calloc(bigger.n_slots, sizeof(*bigger.keys));
    if (!bigger.keys)
        return err_origin(-ENOMEM);
    for (size_t i = 0; i < ledger->n_slots; i++)
        if (ledger->keys[i].used)
            bigger.keys[ledger_slot(&bigger, ledger->keys[i].key)] = ledger->keys[i];
    free(ledger->keys);
    ledger->keys = bigger.keys;
    ledger->n_slots = bigger.n_slots;
    return 0;
}

static int ledger_get_key(struct ledger *ledger, uint32_t key, struct ledger_key **ret_key)
{
    struct ledger_key *found = ledger_find(ledger, key);
    int r;

    if (!found) {
        r = 2 * (ledger->n_keys + 1) > ledger->n_slots ? ledger_grow_keys(ledger) : 0;
        if (r)
            return r;
        found = &ledger->keys[ledger_slot(ledger, key)];
        *found = (struct ledger_key){.key = key, .used = true, .from = ledger->used_bytes};
        ledger->n_keys++;
    }
    *ret_key = found;
    return 0;
}

/* Those behind it that probing would not find any more move up. */
static void ledger_remove_key(struct ledger *ledger, struct ledger_key *gone)
{
    const size_t mask = ledger->n_slots - 1;
    size_t i = (size_t)(gone - ledger->keys);

    ledger->keys[i].used = false;
    ledger->n_keys--;
    for (i = (i + 1) & mask; ledger->keys[i].used; i = (i + 1) & mask) {
        const struct ledger_key moved = ledger->keys[i];

        ledger->keys[i].used = false;
        ledger->keys[ledger_slot(ledger, moved.key)] = moved;
    }
}

static int ledger_count(struct ledger *ledger, uint32_t key, uint16_t type, size_t n_all)
{
    struct ledger_key *entry;
    int r;

    if (type == LEDGER_CLOSE) {
        entry = ledger_find(ledger, key);
        if (!entry)
            return 0;
        ledger->live_bytes -= entry->n_bytes;
        ledger_remove_key(ledger, entry);
        return 0;
    }
    r = ledger_get_key(ledger, key, &entry);
    if (r)
        return r;
    entry->n_bytes += n_all;
    ledger->live_bytes += n_all;
    return 0;
}

bool ledger_has(const struct ledger *ledger, uint32_t key)
{
    return ledger_find(ledger, key);
}

bool ledger_is_live(const struct ledger *ledger, const struct ledger_record *record)
{
    const struct ledger_key *entry = ledger_find(ledger, record->key);

    return entry && record->payload >= ledger->map + entry->from;
}

size_t ledger_key_bytes(const struct ledger *ledger, uint32_t key)
{
    const struct ledger_key *entry = ledger_find(ledger, key);

    return entry ? entry->n_bytes : 0;
}

/* the file */
static int ledger_map(struct ledger *ledger)
{
    void *map = mmap(NULL, ledger->cap_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, ledger->fd, 0);

    if (map == MAP_FAILED)
        return err_errno();
    ledger->map = map;
    (void)madvise(map, ledger->cap_bytes, MADV_DONTDUMP); /* prompts are in it */
    return 0;
}

/* Its pages are there before they are written to: a mapping that finds no memory would be a SIGBUS. */
static int ledger_grow(struct ledger *ledger, size_t n_bytes)
{
    const size_t want = MIN(ROUND_UP(n_bytes, (size_t)LEDGER_GROW_BYTES), ledger->cap_bytes);
    int r;

    if (want <= ledger->size_bytes)
        return 0;
    do
        r = fallocate(ledger->fd, 0, (off_t)ledger->size_bytes, (off_t)(want - ledger->size_bytes));
    while (r < 0 && errno == EINTR);
    if (r < 0)
        return err_errno();
    ledger->size_bytes = want;
    return 0;
}

void ledger_deinit(struct ledger *ledger)
{
    if (ledger->map)
        munmap(ledger->map, ledger->cap_bytes);
    free(ledger->keys);
    closep(&ledger->fd);
    *ledger = LEDGER_NULL;
}

int ledger_new(size_t cap_bytes, uint64_t generation, struct ledger *ret_ledger)
{
    struct ledger ledger = {.cap_bytes = cap_bytes, .generation = generation};
    struct ledger_file file = {.generation = generation, .cap_bytes = cap_bytes};
    int r;

    assert(cap_bytes % LEDGER_GROW_BYTES == 0);
    ledger.fd = memfd_create("qwend-journal", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (ledger.fd < 0)
        return err_errno();
    /* whoever maps it next must not lose pages under its feet */
    r = fcntl(ledger.fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_SEAL) < 0 ? err_errno() : 0;
    if (!r)
        r = ledger_map(&ledger);
    if (!r)
        r = ledger_grow(&ledger, LEDGER_GROW_BYTES);
    if (r) {
        ledger_deinit(&ledger);
        return r;
    }
    memcpy(file.magic, LEDGER_MAGIC, sizeof(file.magic));
    memcpy(ledger.map, &file, sizeof(file));
    ledger.used_bytes = LEDGER_FILE_HEAD_BYTES;
    *ret_ledger = ledger;
    return LEDGER_OK;
}

static struct ledger_head *ledger_head_at(const struct ledger *ledger, size_t at)
{
    return (struct ledger_head *)(void *)(ledger->map + at);
}

/* writing */
/* Room behind it for the next one's length, which says that there is none. */
int ledger_begin(struct ledger *ledger, size_t n, uint8_t **ret_payload)
{
    const size_t end = ledger->used_bytes + ledger_record_bytes(n) + LEDGER_HEAD_BYTES;
    int r;

    if (n > LEDGER_PAYLOAD_BYTES_MAX || end > ledger->cap_bytes)
        return LEDGER_E_FULL;
    r = ledger_grow(ledger, end);
    if (r)
        return r;
    *ret_payload = ledger->map + ledger->used_bytes + LEDGER_HEAD_BYTES;
    return LEDGER_OK;
}

static uint32_t ledger_crc(const struct ledger_head *head, const uint8_t *payload, size_t n)
{
    const size_t from = offsetof(struct ledger_head, key);

    return crc32c(crc32c(0, (const uint8_t *)head + from, sizeof(*head) - from), payload, n);
}

int ledger_commit(struct ledger *ledger, uint32_t key, uint16_t type, size_t n)
{
    const size_t n_all = ledger_record_bytes(n);
    struct ledger_head *head = ledger_head_at(ledger, ledger->used_bytes);
    int r = ledger_count(ledger, key, type, n_all);

    if (r)
        return r;
    head->key = key;
    head->type = type;
    head->n_pad = (uint16_t)(n_all - LEDGER_HEAD_BYTES - n);
    head->crc = ledger_crc(head, (uint8_t *)(head + 1), n);
    ledger_head_at(ledger, ledger->used_bytes + n_all)->n_all = 0;
    __atomic_store_n(&head->n_all, (uint32_t)n_all, __ATOMIC_RELEASE);
    ledger->used_bytes += n_all;
    return 0;
}

int ledger_put(struct ledger *ledger, uint32_t key, uint16_t type, const void *payload, size_t n)
{
    uint8_t *at;
    int r = ledger_begin(ledger, n, &at);

    if (r)
        return r;
    if (n)
        memcpy(at, payload, n);
    return ledger_commit(ledger, key, type, n);
}

int ledger_close_key(struct ledger *ledger, uint32_t key)
{
    return ledger_has(ledger, key) ? ledger_put(ledger, key, LEDGER_CLOSE, NULL, 0) : 0;
}

/* reading */
bool ledger_next(const struct ledger *ledger, size_t *at, struct ledger_record *ret_record)
{
    const struct ledger_head *head;

    *at = MAX(*at, (size_t)LEDGER_FILE_HEAD_BYTES);
    if (*at >= ledger->used_bytes)
        return false;
    head = ledger_head_at(ledger, *at);
    *ret_record = (struct ledger_record){.key = head->key,
                                         .type = head->type,
                                         .n_bytes = head->n_all - LEDGER_HEAD_BYTES - head->n_pad,
                                         .payload = (const uint8_t *)(head + 1)};
    *at += head->n_all;
    return true;
}

uint32_t ledger_last_key(const struct ledger *ledger)
{
    struct ledger_record record;
    uint32_t last = 0;
    size_t at = 0;

    while (ledger_next(ledger, &at, &record))
        last = MAX(last, record.key);
    return last;
}

/* One record behind used_bytes: DAMAGED if what is there is none; OK without a step: there is nothing. */
static int ledger_read_one(struct ledger *ledger, struct fault *fault)
{
    const size_t at = ledger->used_bytes, left = ledger->size_bytes - at;
    const struct ledger_head *head = ledger_head_at(ledger, at);
    size_t n_all;
    uint32_t crc;
    int r;

    if (left < LEDGER_HEAD_BYTES || !(n_all = head->n_all))
        return LEDGER_OK;
    if (n_all > left)
        return fault_set(fault, LEDGER_E_DAMAGED,
                         "the record at byte %zu has %zu bytes where %zu are left: it is cut off", at, n_all,
                         left);
    if (n_all < LEDGER_HEAD_BYTES || n_all % LEDGER_ALIGN || head->n_pad >= LEDGER_ALIGN ||
        n_all - LEDGER_HEAD_BYTES < head->n_pad)
        return fault_set(fault, LEDGER_E_DAMAGED,
                         "the record at byte %zu of %zu cannot have %zu bytes, %u of them to fill up", at,
                         ledger->size_bytes, n_all, head->n_pad);
    crc = ledger_crc(head, (const uint8_t *)(head + 1), n_all - LEDGER_HEAD_BYTES - head->n_pad);
    if (crc != head->crc)
        return fault_set(fault, LEDGER_E_DAMAGED,
                         "the record at byte %zu of %zu has CRC %08x where %08x is right", at,
                         ledger->size_bytes, head->crc, crc);
    r = ledger_count(ledger, head->key, head->type, n_all);
    if (!r)
        ledger->used_bytes += n_all;
    return r;
}

static int ledger_read(struct ledger *ledger, struct fault *fault)
{
    size_t before;
    int r;

    ledger->used_bytes = LEDGER_FILE_HEAD_BYTES;
    do {
        before = ledger->used_bytes;
        r = ledger_read_one(ledger, fault);
    } while (!r && ledger->used_bytes != before);
    /* what is written next must not be followed by what this one could not read */
    if (r == LEDGER_E_DAMAGED && ledger->size_bytes - ledger->used_bytes >= LEDGER_HEAD_BYTES)
        ledger_head_at(ledger, ledger->used_bytes)->n_all = 0;
    return r;
}

static int ledger_check_file(int fd, struct ledger *ledger, struct fault *fault)
{
    struct ledger_file file;
    struct stat st;

    if (fstat(fd, &st) < 0)
        return err_errno();
    if (fcntl(fd, F_GET_SEALS) < 0 || !(fcntl(fd, F_GET_SEALS) & F_SEAL_SHRINK))
        return fault_set(fault, LEDGER_E_BAD, "it is no memory of a size that can only grow");
    if (st.st_size < LEDGER_FILE_HEAD_BYTES || pread(fd, &file, sizeof(file), 0) != sizeof(file))
        return fault_set(fault, LEDGER_E_BAD, "%lld bytes are too few", (long long)st.st_size);
    if (memcmp(file.magic, LEDGER_MAGIC, sizeof(file.magic)))
        return fault_set(fault, LEDGER_E_BAD, "it does not begin as a journal of this version does");
    if (file.cap_bytes % LEDGER_GROW_BYTES || file.cap_bytes < (uint64_t)st.st_size ||
        file.cap_bytes > (uint64_t)1 << 40)
        return fault_set(fault, LEDGER_E_BAD, "it has %lld bytes and says that it may have %llu",
                         (long long)st.st_size, (unsigned long long)file.cap_bytes);
    *ledger = (struct ledger){.fd = fd,
                              .generation = file.generation,
                              .cap_bytes = (size_t)file.cap_bytes,
                              .size_bytes = (size_t)st.st_size};
    return 0;
}

int ledger_adopt(int *fd, struct ledger *ret_ledger, struct fault *fault)
{
    struct ledger ledger;
    int r = ledger_check_file(*fd, &ledger, fault);

    if (r)
        return r;
    r = ledger_map(&ledger);
    if (!r)
        r = ledger_read(&ledger, fault);
    if (r < 0) {
        ledger.fd = -1; /* it stays the caller's */
        ledger_deinit(&ledger);
        return r;
    }
    *fd = -1;
    *ret_ledger = ledger;
    return r;
}

int ledger_compact(const struct ledger *ledger, size_t cap_bytes, struct ledger *ret_ledger)
{
    struct ledger_record record;
    struct ledger to;
    size_t at = 0;
    int r = ledger_new(cap_bytes, ledger->generation + 1, &to);

    if (r)
        return r;
    while (!r && ledger_next(ledger, &at, &record))
        if (ledger_is_live(ledger, &record))
            r = ledger_put(&to, record.key, record.type, record.payload, record.n_bytes);
    if (r) {
        ledger_deinit(&to);
        return r;
    }
    *ret_ledger = to;
    return LEDGER_OK;
}
