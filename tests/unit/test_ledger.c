/* test_ledger.c - the journal's file: what was written is read again, wherever its writer or its memory
 * failed. */
#include "daemon/broker/ledger.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

enum { CAP = 4 << 20, KEYS = 5, RECORDS = 15 };

static void put(struct ledger *ledger, uint32_t key, uint16_t type, size_t n)
{
    uint8_t payload[256];

    memset(payload, (int)(key * 7 + n), sizeof(payload));
    assert_int_equal(ledger_put(ledger, key, type, payload, n), LEDGER_OK);
}

/* Record i of every test: key, type and length follow from i. */
static void put_some(struct ledger *ledger, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++)
        put(ledger, 1 + i % KEYS, (uint16_t)(i % 3), i * 5 % 97);
}

/* Reads all: n records, as put_some() made them. */
static void check_some(const struct ledger *ledger, uint32_t n)
{
    struct ledger_record record;
    size_t at = 0;
    uint32_t i = 0;

    for (; ledger_next(ledger, &at, &record); i++) {
        assert_int_equal(record.key, 1 + i % KEYS);
        assert_int_equal(record.type, i % 3);
        assert_int_equal(record.n_bytes, i * 5 % 97);
        for (uint32_t k = 0; k < record.n_bytes; k++)
            assert_int_equal(record.payload[k], (uint8_t)(record.key * 7 + record.n_bytes));
    }
    assert_int_equal(i, n);
}

/* The first n bytes of its file, as another process finds them. */
static int copy_of(const struct ledger *ledger, size_t n)
{
    int fd = memfd_create("copy", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, ledger->map, n), n);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
    return fd;
}

static struct ledger start(void)
{
    struct ledger ledger;

    assert_int_equal(ledger_new(CAP, 3, &ledger), LEDGER_OK);
    return ledger;
}

static void test_ledger_gives_back_what_was_put(void **state)
{
    struct ledger ledger = start(), other;
    int fd = fcntl(ledger.fd, F_DUPFD_CLOEXEC, 0);

    put_some(&ledger, 0, RECORDS);
    check_some(&ledger, RECORDS);
    assert_int_equal(ledger_adopt(&fd, &other, NULL), LEDGER_OK);
    assert_int_equal(fd, -1);
    check_some(&other, RECORDS);
    assert_int_equal(other.generation, 3);
    assert_int_equal(other.used_bytes, ledger.used_bytes);
    assert_int_equal(other.live_bytes, ledger.live_bytes);
    put_some(&other, RECORDS, 2 * RECORDS); /* and it goes on there */
    check_some(&other, 2 * RECORDS);
    ledger_deinit(&ledger);
    ledger_deinit(&other);
    ledger_deinit(&other);
}

/* A writer that is killed between any two stores has written everything but the length, or that as well. */
static void test_ledger_of_a_killed_writer_ends_before_the_record(void **state)
{
    struct ledger ledger = start(), other;
    uint8_t *payload;
    int fd;

    put_some(&ledger, 0, RECORDS);
    assert_int_equal(ledger_begin(&ledger, 100, &payload), LEDGER_OK);
    memset(payload - 12, 0xee, 112); /* all but the length, and not in the end */
    fd = copy_of(&ledger, ledger.size_bytes);
    assert_int_equal(ledger_adopt(&fd, &other, NULL), LEDGER_OK);
    check_some(&other, RECORDS);
    put_some(&other, RECORDS, RECORDS + 3);
    check_some(&other, RECORDS + 3);
    fd = copy_of(&other,
                 other.size_bytes); /* what was torn does not come back behind what was written since */
    ledger_deinit(&other);
    assert_int_equal(ledger_adopt(&fd, &other, NULL), LEDGER_OK);
    check_some(&other, RECORDS + 3);
    ledger_deinit(&other);
    ledger_deinit(&ledger);
}

static void test_ledger_cut_at_every_byte_keeps_whole_records(void **state)
{
    struct ledger ledger = start(), other;
    struct ledger_record record;
    size_t at = 0, end = LEDGER_FILE_HEAD_BYTES;
    uint32_t n_whole = 0;

    put_some(&ledger, 0, RECORDS);
    for (size_t n = LEDGER_FILE_HEAD_BYTES; n <= ledger.used_bytes; n++) {
        struct fault fault = {};
        int r, fd = copy_of(&ledger, n);

        if (n > LEDGER_FILE_HEAD_BYTES && n == at)
            n_whole++;
        if (n == end && ledger_next(&ledger, &at, &record))
            end = at;
        r = ledger_adopt(&fd, &other, &fault);
        /* less than a head is nothing; more of a record than that, and it says what is missing */
        assert_int_equal(r, n - other.used_bytes >= LEDGER_HEAD_BYTES ? LEDGER_E_DAMAGED : LEDGER_OK);
        assert_true(!r || strstr(fault.text, "cut off"));
        check_some(&other, n_whole);
        put_some(&other, n_whole, n_whole + 2);
        check_some(&other, n_whole + 2);
        ledger_deinit(&other);
    }
    assert_int_equal(n_whole, RECORDS);
    ledger_deinit(&ledger);
}

static void test_ledger_with_a_changed_byte_ends_there_and_says_so(void **state)
{
    struct ledger ledger = start(), other;
    struct ledger_record record;
    size_t at = 0, end;
    uint32_t n = 0;

    put_some(&ledger, 0, RECORDS);
    end = ledger.used_bytes;
    ledger_next(&ledger, &at, &record);
    for (size_t byte = LEDGER_FILE_HEAD_BYTES; byte < end; byte++) {
        struct fault fault = {};
        int r, fd = copy_of(&ledger, end + 64);
        uint8_t was;

        assert_int_equal(pread(fd, &was, 1, (off_t)byte), 1);
        was ^= 0x55;
        assert_int_equal(pwrite(fd, &was, 1, (off_t)byte), 1);
        if (byte == at) {
            n++;
            ledger_next(&ledger, &at, &record);
        }
        r = ledger_adopt(&fd, &other, &fault);
        if (r == LEDGER_OK) { /* what only fills up is not read */
            check_some(&other, RECORDS);
        } else {
            assert_int_equal(r, LEDGER_E_DAMAGED);
            assert_true(strstr(fault.text, "record at byte"));
            check_some(&other, n);
            put_some(&other, n, RECORDS);
            check_some(&other, RECORDS);
        }
        ledger_deinit(&other);
    }
    ledger_deinit(&ledger);
}

static void test_ledger_counts_what_lives(void **state)
{
    struct ledger ledger = start(), other;
    size_t sum = 0;
    int fd;

    put_some(&ledger, 0, RECORDS);
    for (uint32_t key = 1; key <= KEYS; key++) {
        assert_true(ledger_has(&ledger, key));
        sum += ledger_key_bytes(&ledger, key);
    }
    assert_int_equal(sum, ledger.live_bytes);
    assert_int_equal(sum + LEDGER_FILE_HEAD_BYTES, ledger.used_bytes);
    sum -= ledger_key_bytes(&ledger, 2) + ledger_key_bytes(&ledger, 4);
    assert_int_equal(ledger_close_key(&ledger, 2), LEDGER_OK);
    assert_int_equal(ledger_close_key(&ledger, 4), LEDGER_OK);
    assert_int_equal(ledger_close_key(&ledger, 4), LEDGER_OK);
    assert_int_equal(ledger_close_key(&ledger, 77), LEDGER_OK);
    fd = fcntl(ledger.fd, F_DUPFD_CLOEXEC, 0);
    assert_int_equal(ledger_adopt(&fd, &other, NULL), LEDGER_OK);
    for (int i = 0; i < 2; i++) {
        const struct ledger *one = i ? &other : &ledger;

        assert_int_equal(one->live_bytes, sum);
        assert_int_equal(one->n_keys, KEYS - 2);
        assert_false(ledger_has(one, 2) || ledger_has(one, 4));
        assert_int_equal(ledger_key_bytes(one, 2), 0);
        assert_int_equal(ledger_last_key(one), KEYS);
    }
    ledger_deinit(&other);
    ledger_deinit(&ledger);
}

static void test_ledger_finds_each_of_many_keys(void **state)
{
    struct ledger ledger = start();

    for (uint32_t key = 1; key <= 2000; key++)
        put(&ledger, key * 64, 0, key % 50);
    for (uint32_t key = 1; key <= 2000; key += 3)
        assert_int_equal(ledger_close_key(&ledger, key * 64), LEDGER_OK);
    for (uint32_t key = 1; key <= 2000; key++) {
        assert_int_equal(ledger_has(&ledger, key * 64), key % 3 != 1);
        assert_int_equal(ledger_key_bytes(&ledger, key * 64),
                         key % 3 == 1 ? 0 : ledger_record_bytes(key % 50));
    }
    ledger_deinit(&ledger);
}

static void test_ledger_compacted_has_what_lives(void **state)
{
    struct ledger ledger = start(), other;
    struct ledger_record record;
    uint32_t i = 0;
    size_t at = 0;

    put_some(&ledger, 0, RECORDS);
    assert_int_equal(ledger_close_key(&ledger, 3), LEDGER_OK);
    assert_int_equal(ledger_compact(&ledger, CAP / 2, &other), LEDGER_OK);
    assert_int_equal(other.generation, 4);
    assert_int_equal(other.live_bytes, ledger.live_bytes);
    assert_int_equal(other.used_bytes, ledger.live_bytes + LEDGER_FILE_HEAD_BYTES);
    for (; i < RECORDS; i++) {
        if (i % KEYS == 2)
            continue;
        assert_true(ledger_next(&other, &at, &record));
        assert_int_equal(record.key, 1 + i % KEYS);
        assert_int_equal(record.n_bytes, i * 5 % 97);
    }
    assert_false(ledger_next(&other, &at, &record));
    ledger_deinit(&other);
    ledger_deinit(&ledger);
}

static void test_ledger_that_is_full_says_so_and_stays_whole(void **state)
{
    static uint8_t payload[100 << 10];
    struct ledger ledger = start(), other;
    uint32_t n = 0;
    int r, fd;

    while (!(r = ledger_put(&ledger, 1 + n % 2, 0, payload, sizeof(payload))))
        n++;
    assert_int_equal(r, LEDGER_E_FULL);
    assert_int_equal(n, (CAP - LEDGER_FILE_HEAD_BYTES) / ledger_record_bytes(sizeof(payload)));
    assert_int_equal(ledger.size_bytes, CAP);
    assert_int_equal(ledger_put(&ledger, 1, 0, NULL, LEDGER_PAYLOAD_BYTES_MAX + 1), LEDGER_E_FULL);
    assert_int_equal(ledger_close_key(&ledger, 1), LEDGER_OK);
    assert_int_equal(ledger_compact(&ledger, LEDGER_GROW_BYTES, &other), LEDGER_E_FULL);
    assert_int_equal(ledger_compact(&ledger, CAP, &other), LEDGER_OK);
    assert_int_equal(ledger_put(&other, 3, 0, payload, sizeof(payload)), LEDGER_OK);
    ledger_deinit(&other);
    fd = fcntl(ledger.fd, F_DUPFD_CLOEXEC, 0);
    assert_int_equal(ledger_adopt(&fd, &other, NULL), LEDGER_OK);
    assert_int_equal(other.live_bytes, ledger.live_bytes);
    ledger_deinit(&other);
    ledger_deinit(&ledger);
}

static void refuse(int fd, const char *why)
{
    struct fault fault = {};
    struct ledger ledger;
    const int before = fd;

    assert_int_equal(ledger_adopt(&fd, &ledger, &fault), LEDGER_E_BAD);
    assert_int_equal(fd, before);
    if (!strstr(fault.text, why))
        fail_msg("\"%s\" does not say \"%s\"", fault.text, why);
    close(fd);
}

static void test_ledger_refuses_what_is_none(void **state)
{
    struct ledger ledger = start();
    const uint64_t cap = CAP - 1;
    int fd = memfd_create("open", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    assert_int_equal(write(fd, ledger.map, 4096), 4096);
    refuse(fd, "only grow");
    refuse(copy_of(&ledger, LEDGER_FILE_HEAD_BYTES - 1), "too few");
    fd = copy_of(&ledger, 4096);
    assert_int_equal(pwrite(fd, "Q", 1, 1), 1);
    refuse(fd, "does not begin");
    fd = copy_of(&ledger, 4096);
    assert_int_equal(pwrite(fd, &cap, sizeof(cap), 16), sizeof(cap));
    refuse(fd, "says that it may have");
    ledger_deinit(&ledger);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ledger_gives_back_what_was_put),
        cmocka_unit_test(test_ledger_of_a_killed_writer_ends_before_the_record),
        cmocka_unit_test(test_ledger_cut_at_every_byte_keeps_whole_records),
        cmocka_unit_test(test_ledger_with_a_changed_byte_ends_there_and_says_so),
        cmocka_unit_test(test_ledger_counts_what_lives),
        cmocka_unit_test(test_ledger_finds_each_of_many_keys),
        cmocka_unit_test(test_ledger_compacted_has_what_lives),
        cmocka_unit_test(test_ledger_that_is_full_says_so_and_stays_whole),
        cmocka_unit_test(test_ledger_refuses_what_is_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
