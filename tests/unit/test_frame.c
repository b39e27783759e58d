/* test_frame.c - framing: known bytes, every partial arrival, every refusal. */
#include "proto/frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const uint8_t known_frame[] = {3, 0, 0, 0, 0x05, 0x04, 0x03, 0x02, 100, 0, 1, 0, 'a', 'b', 'c'};

static void test_put_writes_the_published_bytes(void **state)
{
    struct buf buf = BUF_INIT(64);

    assert_int_equal(frame_put(&buf, 0x02030405, MSG_GENERATE, FRAME_END_STREAM, "abc", 3), 0);
    assert_int_equal(buf_size(&buf), sizeof(known_frame));
    assert_memory_equal(buf_head(&buf), known_frame, sizeof(known_frame));
    buf_deinit(&buf);
}

static void test_next_reads_what_put_wrote(void **state)
{
    struct buf buf = BUF_INIT(64);
    struct frame frame;

    assert_int_equal(frame_put(&buf, 7, MSG_DELTA, FRAME_MORE | FRAME_HAS_FD, "xyz", 3), 0);
    assert_int_equal(frame_put(&buf, UINT32_MAX, UINT16_MAX, 0, NULL, 0), 0);
    assert_int_equal(frame_next(&buf, 3, &frame), FRAME_OK);
    assert_int_equal(frame.stream, 7);
    assert_int_equal(frame.type, MSG_DELTA);
    assert_int_equal(frame.flags, FRAME_MORE | FRAME_HAS_FD);
    assert_int_equal(frame.length, 3);
    assert_memory_equal(frame.body, "xyz", 3);
    frame_consume(&buf, &frame);
    assert_int_equal(frame_next(&buf, 0, &frame), FRAME_OK);
    assert_int_equal(frame.stream, UINT32_MAX);
    assert_int_equal(frame.type, UINT16_MAX);
    assert_int_equal(frame.length, 0);
    frame_consume(&buf, &frame);
    assert_int_equal(buf_size(&buf), 0);
    buf_deinit(&buf);
}

static void test_next_waits_for_every_byte(void **state)
{
    struct buf buf = BUF_INIT(64);
    struct frame frame;

    for (size_t i = 0; i < sizeof(known_frame); i++) {
        assert_int_equal(frame_next(&buf, 1024, &frame), FRAME_E_AGAIN);
        assert_int_equal(buf_append(&buf, &known_frame[i], 1), 0);
    }
    assert_int_equal(frame_next(&buf, 1024, &frame), FRAME_OK);
    buf_deinit(&buf);
}

/* As soon as the header is there: nobody may make us wait for, or hold, a body that is refused anyway. */
static void test_next_refuses_a_length_before_the_body_comes(void **state)
{
    static const uint8_t header[] = {0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0, 1, 0, 0, 0};
    struct buf buf = BUF_INIT(64);
    struct frame frame = {0};

    assert_int_equal(buf_append(&buf, header, sizeof(header)), 0);
    assert_int_equal(frame_next(&buf, FRAME_MAX_BYTES, &frame), FRAME_E_TOO_BIG);
    assert_int_equal(frame.length, UINT32_MAX);
    assert_int_equal(frame.stream, 1);
    buf_deinit(&buf);
}

static void test_next_takes_exactly_max_bytes(void **state)
{
    struct buf buf = BUF_INIT(64);
    struct frame frame;

    assert_int_equal(buf_append(&buf, known_frame, sizeof(known_frame)), 0);
    assert_int_equal(frame_next(&buf, 3, &frame), FRAME_OK);
    assert_int_equal(frame_next(&buf, 2, &frame), FRAME_E_TOO_BIG);
    buf_deinit(&buf);
}

static void test_next_refuses_every_unknown_flag(void **state)
{
    for (int bit = 0; bit < 16; bit++) {
        struct buf buf = BUF_INIT(64);
        struct frame frame;

        assert_int_equal(frame_put(&buf, 1, MSG_PING, (uint16_t)(1 << bit), NULL, 0), 0);
        assert_int_equal(frame_next(&buf, 64, &frame), bit < 3 ? FRAME_OK : FRAME_E_FLAGS);
        buf_deinit(&buf);
    }
}

static void test_put_into_a_full_buffer_appends_nothing(void **state)
{
    struct buf buf = BUF_INIT(20);

    assert_int_equal(frame_put(&buf, 1, MSG_PING, 0, "12345678", 8), 0);
    assert_int_equal(frame_put(&buf, 1, MSG_PING, 0, NULL, 0), BUF_E_FULL);
    assert_int_equal(buf_size(&buf), 20);
    assert_int_equal(frame_put(&buf, 1, MSG_PING, 0, "", (size_t)UINT32_MAX + 1), BUF_E_FULL);
    buf_deinit(&buf);
}

static void test_preface_is_these_eight_bytes(void **state)
{
    struct buf buf = BUF_INIT(64);

    assert_int_equal(frame_preface_put(&buf), 0);
    assert_int_equal(buf_size(&buf), 8);
    assert_memory_equal(buf_head(&buf), "QWP1\r\n\0\0", 8);
    assert_int_equal(frame_preface_next(&buf), FRAME_OK);
    assert_int_equal(buf_size(&buf), 0);
    buf_deinit(&buf);
}

static void test_preface_waits_and_refuses_at_the_first_wrong_byte(void **state)
{
    for (size_t wrong = 0; wrong < FRAME_PREFACE_BYTES; wrong++) {
        struct buf buf = BUF_INIT(64);

        for (size_t i = 0; i < wrong; i++) {
            assert_int_equal(frame_preface_next(&buf), FRAME_E_AGAIN);
            assert_int_equal(buf_append(&buf, &FRAME_PREFACE[i], 1), 0);
        }
        assert_int_equal(buf_append(&buf, "?", 1), 0);
        assert_int_equal(frame_preface_next(&buf), FRAME_E_PREFACE);
        buf_deinit(&buf);
    }
}

static void test_preface_leaves_the_first_frame(void **state)
{
    struct buf buf = BUF_INIT(64);
    struct frame frame;

    assert_int_equal(frame_preface_put(&buf), 0);
    assert_int_equal(buf_append(&buf, known_frame, sizeof(known_frame)), 0);
    assert_int_equal(frame_preface_next(&buf), FRAME_OK);
    assert_int_equal(frame_next(&buf, 64, &frame), FRAME_OK);
    assert_int_equal(frame.type, MSG_GENERATE);
    buf_deinit(&buf);
}

static void test_type_name_of_unknown_types_is_a_question_mark(void **state)
{
    assert_string_equal(msg_type_name(MSG_HELLO), "Hello");
    assert_string_equal(msg_type_name(0), "?");
    assert_string_equal(msg_type_name(0x8000 | MSG_HELLO), "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_put_writes_the_published_bytes),
        cmocka_unit_test(test_next_reads_what_put_wrote),
        cmocka_unit_test(test_next_waits_for_every_byte),
        cmocka_unit_test(test_next_refuses_a_length_before_the_body_comes),
        cmocka_unit_test(test_next_takes_exactly_max_bytes),
        cmocka_unit_test(test_next_refuses_every_unknown_flag),
        cmocka_unit_test(test_put_into_a_full_buffer_appends_nothing),
        cmocka_unit_test(test_preface_is_these_eight_bytes),
        cmocka_unit_test(test_preface_waits_and_refuses_at_the_first_wrong_byte),
        cmocka_unit_test(test_preface_leaves_the_first_frame),
        cmocka_unit_test(test_type_name_of_unknown_types_is_a_question_mark),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
