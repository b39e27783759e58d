/* test_history.c - what is kept of a request's Deltas, and who pays for it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/broker/history.h"
#include "proto/wire.h"

enum { UID = 1000, OTHER = 1001 };

static struct quota quota;

static void start(uint64_t max_bytes)
{
    const uint64_t max[QUOTA_SLOT_N] = {[QUOTA_BYTES] = max_bytes};

    quota_init(&quota, max);
}

static int put(struct history *h, uint64_t seq, size_t n_text, bool keep)
{
    static uint8_t text[64 << 10];
    Qwp__Delta delta = QWP__DELTA__INIT;

    memset(text, (int)('a' + seq % 26), sizeof(text));
    delta.has_seq = delta.has_text = true;
    delta.seq = seq;
    delta.text = (ProtobufCBinaryData){.data = text, .len = n_text};
    return history_put(h, &quota, UID, &delta, keep);
}

static void check_next(struct history *h, uint64_t seq, size_t n_text)
{
    Qwp__Delta *delta = NULL;

    assert_int_equal(history_peek(h, &delta), 0);
    assert_int_equal(delta->seq, seq);
    assert_int_equal(delta->text.len, n_text);
    if (n_text)
        assert_int_equal(delta->text.data[n_text - 1], 'a' + seq % 26);
    wire_free(&delta->base);
    history_advance(h);
}

static void test_history_gives_back_what_was_put(void **state)
{
    struct history h = HISTORY_INIT;
    Qwp__Delta *delta;

    start(64 << 20);
    for (uint64_t seq = 0; seq < 100; seq++)
        assert_int_equal(put(&h, seq, seq, false), HISTORY_OK);
    assert_int_equal(history_peek(&h, &delta), HISTORY_E_END); /* the reader had each when it came */
    assert_true(history_seek(&h, 40, 100));
    for (uint64_t seq = 40; seq < 100; seq++)
        check_next(&h, seq, seq);
    assert_true(history_is_sent(&h));
    assert_true(history_seek(&h, 100, 100));
    assert_false(history_seek(&h, 101, 100));
    assert_true(history_seek(&h, 99, 100));
    assert_int_equal(put(&h, 100, 5, true), HISTORY_OK); /* behind what the reader still misses */
    check_next(&h, 99, 99);
    check_next(&h, 100, 5);
    history_deinit(&h);
    assert_int_equal(quota_used(&quota, UID, QUOTA_BYTES), 0);
}

static void test_history_drops_the_oldest_or_is_full(void **state)
{
    struct history h = HISTORY_INIT;
    uint64_t seq = 0;

    start(64 << 20);
    while (!put(&h, seq, 60000, true))
        seq++;
    assert_in_range(seq, 16, 17);
    assert_true(history_seek(&h, 0, seq));
    check_next(&h, 0, 60000);
    assert_int_equal(put(&h, seq, 60000, false), HISTORY_OK);
    assert_int_equal(h.first_seq, 1);
    check_next(&h, 1, 60000); /* where the reader was */
    assert_false(history_seek(&h, 0, seq + 1));
    assert_true(quota_used(&quota, UID, QUOTA_BYTES) <= HISTORY_BYTES_MAX);
    history_deinit(&h);
}

static void test_history_holds_no_more_than_its_user_may(void **state)
{
    struct history h = HISTORY_INIT;
    struct quota_charge charge = {0};
    uint64_t seq = 0;

    start(256 << 10); /* 128 KiB for one who is alone */
    while (!put(&h, seq, 1000, true))
        seq++;
    assert_in_range(seq, 100, 130);
    assert_true(quota_used(&quota, UID, QUOTA_BYTES) <= 128 << 10);
    assert_int_equal(put(&h, seq, 1000, false), HISTORY_OK); /* all of it rather than a hole */
    assert_int_equal(h.first_seq, seq + 1);
    assert_int_equal(quota_used(&quota, UID, QUOTA_BYTES), 0);
    assert_int_equal(put(&h, seq + 1, 10, false), HISTORY_OK);
    assert_true(history_seek(&h, seq + 1, seq + 2));
    check_next(&h, seq + 1, 10);
    assert_int_equal(quota_charge(&quota, OTHER, QUOTA_BYTES, 1, &charge), QUOTA_OK);
    quota_release(&charge);
    history_deinit(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_history_gives_back_what_was_put),
        cmocka_unit_test(test_history_drops_the_oldest_or_is_full),
        cmocka_unit_test(test_history_holds_no_more_than_its_user_may),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
