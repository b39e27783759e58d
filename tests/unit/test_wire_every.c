/* test_wire_every.c - the wire check on every type and form of protobuf, and without memory.
 *
 * Linked with --wrap: wire_caps_of() so that the test's own message has caps, malloc() and realloc() so that
 * they fail when told to. */
#include "proto/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "every.pb-c.h"
#include "proto/buf.h"
#include "proto/wire_caps.h"
#include "qwend.pb-c.h"
#include "tests/fuzz/gen.h"

const struct wire_cap *__real_wire_caps_of(const ProtobufCMessageDescriptor *type);
const struct wire_cap *__wrap_wire_caps_of(const ProtobufCMessageDescriptor *type);
void *__real_malloc(size_t n);
void *__wrap_malloc(size_t n);
void *__real_realloc(void *p, size_t n);
void *__wrap_realloc(void *p, size_t n);

static bool no_memory;

void *__wrap_malloc(size_t n)
{
    return no_memory ? NULL : __real_malloc(n);
}

void *__wrap_realloc(void *p, size_t n)
{
    return no_memory ? NULL : __real_realloc(p, n);
}

const struct wire_cap *__wrap_wire_caps_of(const ProtobufCMessageDescriptor *type)
{
    static const struct wire_cap inner[] = {{"text", 0, 40}, {}};
    static const struct wire_cap all[] = {
        {"string", 0, 40},
        {"bytes", 0, 40},
        {"int32s", 10, 0},
        {"sint64s", 10, 0},
        {"fixed32s", 10, 0},
        {"doubles", 10, 0},
        {"bools", 10, 0},
        {"signs", 10, 0},
        {"strings", 10, 40},
        {"bytess", 10, 40},
        {"inners", 10, 0},
        {"p_int64s", 10, 0},
        {"p_sint32s", 10, 0},
        {"p_sfixed32s", 10, 0},
        {"p_fixed64s", 10, 0},
        {"p_floats", 10, 0},
        {"p_bools", 10, 0},
        {"p_signs", 10, 0},
        {},
    };

    if (type == &every__every__descriptor)
        return all;
    return type == &every__inner__descriptor ? inner : __real_wire_caps_of(type);
}

static void test_every_type_round_trips(void **state)
{
    struct gen gen = {99};

    for (int round = 0; round < 2000; round++) {
        struct buf body = BUF_INIT(1 << 20);
        ProtobufCMessage *message = NULL;
        struct fault fault = {0};
        uint8_t packed[1 << 14];

        gen_message(&gen, &every__every__descriptor, &body);
        if (wire_unpack(&every__every__descriptor, buf_head(&body), buf_size(&body), &fault, &message))
            fail_msg("%s", fault.text);
        assert_in_range(protobuf_c_message_get_packed_size(message), 0, sizeof(packed));
        assert_int_equal(protobuf_c_message_pack(message, packed), buf_size(&body));
        if (buf_size(&body))
            assert_memory_equal(packed, buf_head(&body), buf_size(&body));
        wire_free(message);
        buf_deinit(&body);
    }
}

static void test_every_damage_is_refused_or_unpacks(void **state)
{
    struct gen gen = {100};
    size_t n_taken = 0, n_refused = 0;

    for (int round = 0; round < 10000; round++) {
        struct buf body = BUF_INIT(1 << 20);
        ProtobufCMessage *message = NULL;
        size_t n;
        int r;

        gen_message(&gen, &every__every__descriptor, &body);
        gen_hostile_field(&gen, &every__every__descriptor, &body);
        n = buf_size(&body);
        if (gen_below(&gen, 2))
            gen_damage(&gen, buf_head(&body), &n);
        r = wire_check(&every__every__descriptor, buf_head(&body), n, NULL);
        assert_int_equal(wire_unpack(&every__every__descriptor, buf_head(&body), n, NULL, &message), r);
        n_taken += !r;
        n_refused += !!r;
        wire_free(message);
        buf_deinit(&body);
    }
    assert_in_range(n_taken, 500, SIZE_MAX);
    assert_in_range(n_refused, 500, SIZE_MAX);
}

#define BYTES(text) text, sizeof(text) - 1
static const struct {
    const char *what, *bytes;
    size_t n;
    int code;
} every_cases[] = {
    {"sint32 of 33 bits", BYTES("\x28\x80\x80\x80\x80\x10"), WIRE_E_MALFORMED},
    {"sint32 of 32 bits", BYTES("\x28\xff\xff\xff\xff\x0f"), WIRE_OK},
    {"enum -1", BYTES("\x70\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), WIRE_OK},
    {"enum 2, not declared", BYTES("\x70\x02"), WIRE_E_MALFORMED},
    {"sfixed32 as fixed64", BYTES("\x49\x01\x02\x03\x04\x05\x06\x07\x08"), WIRE_E_MALFORMED},
    {"packed into unpacked doubles", BYTES("\xc2\x01\x08\x00\x00\x00\x00\x00\x00\xf0\x3f"), WIRE_OK},
    {"packed doubles, 7 bytes", BYTES("\xc2\x01\x07\x00\x00\x00\x00\x00\x00\xf0"), WIRE_E_MALFORMED},
    {"packed sfixed32, 6 bytes", BYTES("\x8a\x02\x06\x01\x02\x03\x04\x05\x06"), WIRE_E_MALFORMED},
    {"unpacked into packed floats", BYTES("\x9d\x02\x00\x00\x80\x3f"), WIRE_OK},
    {"varint for packed floats", BYTES("\x98\x02\x01"), WIRE_E_MALFORMED},
    {"10 packed bools", BYTES("\xa2\x02\x0a\x01\x01\x01\x01\x01\x01\x01\x01\x01\x00"), WIRE_OK},
    {"11 packed bools", BYTES("\xa2\x02\x0b\x01\x01\x01\x01\x01\x01\x01\x01\x01\x00\x00"), WIRE_E_TOO_MANY},
    {"packed bool in 2 bytes", BYTES("\xa2\x02\x02\x81\x00"), WIRE_OK},
    {"packed bool 2", BYTES("\xa2\x02\x01\x02"), WIRE_E_MALFORMED},
    {"packed enum, not declared", BYTES("\xaa\x02\x02\x01\x05"), WIRE_E_MALFORMED},
    {"3 packed fixed64",
     BYTES("\x92\x02\x18"
           "abcdefghabcdefghabcdefgh"),
     WIRE_OK},
};

static void test_every_form_is_taken_or_refused(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(every_cases); i++) {
        ProtobufCMessage *message = NULL;
        struct fault fault = {0};
        int r = wire_unpack(&every__every__descriptor, (const uint8_t *)every_cases[i].bytes,
                            every_cases[i].n, &fault, &message);

        if (r != every_cases[i].code)
            fail_msg("%s: %d (%s), expected %d", every_cases[i].what, r, fault.text, every_cases[i].code);
        wire_free(message);
    }
}

static void test_unpack_without_memory_forwards_enomem(void **state)
{
    ProtobufCMessage *message = NULL;
    int r;

    no_memory = true;
    r = wire_unpack(&qwp__status__descriptor, NULL, 0, NULL, &message);
    no_memory = false;
    assert_int_equal(r, -ENOMEM);
    assert_null(message);
    assert_non_null(strstr(err_place(), "wire_unpack.c:"));
}

static void test_buf_without_memory_keeps_what_it_has(void **state)
{
    struct buf buf = BUF_INIT(1 << 20);
    uint8_t *tail;
    int r;

    assert_int_equal(buf_append(&buf, "abc", 3), 0);
    no_memory = true;
    r = buf_reserve(&buf, 1 << 16, &tail);
    no_memory = false;
    assert_int_equal(r, -ENOMEM);
    assert_int_equal(buf_size(&buf), 3);
    assert_memory_equal(buf_head(&buf), "abc", 3);
    buf_deinit(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_type_round_trips),
        cmocka_unit_test(test_every_damage_is_refused_or_unpacks),
        cmocka_unit_test(test_every_form_is_taken_or_refused),
        cmocka_unit_test(test_unpack_without_memory_forwards_enomem),
        cmocka_unit_test(test_buf_without_memory_keeps_what_it_has),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
