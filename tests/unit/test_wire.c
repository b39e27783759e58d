/* test_wire.c - the check before protobuf-c: every refusal, every cap reached, and that what passes unpacks.
 */
#include "proto/wire.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "engine.pb-c.h"
#include "proto/frame.h"
#include "qwend.pb-c.h"
#include "tests/fuzz/gen.h"

/* known bytes */

static void test_unpack_hello_gives_its_fields(void **state)
{
    static const uint8_t body[] = "\x08\x01\x10\x02\x1a\x03"
                                  "abc"
                                  "\x22\x05"
                                  "memfd";
    ProtobufCMessage *message = NULL;
    Qwp__Hello *hello;

    assert_int_equal(wire_unpack(&qwp__hello__descriptor, body, sizeof(body) - 1, NULL, &message), 0);
    hello = (Qwp__Hello *)message;
    assert_int_equal(hello->version_min, 1);
    assert_int_equal(hello->version_max, 2);
    assert_string_equal(hello->client, "abc");
    assert_int_equal(hello->n_capabilities, 1);
    assert_string_equal(hello->capabilities[0], "memfd");
    wire_free(message);
}

static void test_unpack_empty_body_gives_empty_message(void **state)
{
    for (size_t i = 0; i < GEN_N_TYPES; i++) {
        ProtobufCMessage *message = NULL;

        assert_int_equal(wire_unpack(wire_message_type(gen_types[i]), NULL, 0, NULL, &message), 0);
        assert_ptr_equal(message->descriptor, wire_message_type(gen_types[i]));
        wire_free(message);
    }
    wire_free(NULL);
}

static void test_unpack_numbers_packed_or_not_are_equal(void **state)
{
    static const uint8_t packed[] = "\x0a\x04\x05\xac\x02\x07", unpacked[] = "\x08\x05\x08\xac\x02\x08\x07",
                         mixed[] = "\x08\x05\x0a\x03\xac\x02\x07\x0a\x00";
    static const struct {
        const uint8_t *body;
        size_t n;
    } forms[] = {{packed, 6}, {unpacked, 7}, {mixed, 9}};

    for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
        ProtobufCMessage *message = NULL;
        Qwp__TokenIds *ids;

        assert_int_equal(wire_unpack(&qwp__token_ids__descriptor, forms[i].body, forms[i].n, NULL, &message),
                         0);
        ids = (Qwp__TokenIds *)message;
        assert_int_equal(ids->n_id, 3);
        assert_int_equal(ids->id[0], 5);
        assert_int_equal(ids->id[1], 300);
        assert_int_equal(ids->id[2], 7);
        wire_free(message);
    }
}

static void test_unpack_scalar_twice_takes_the_last(void **state)
{
    ProtobufCMessage *message = NULL;

    assert_int_equal(wire_unpack(&qwp__hello__descriptor,
                                 (const uint8_t *)"\x08\x01\x1a\x01x\x08\x02\x1a\x01y", 10, NULL, &message),
                     0);
    assert_int_equal(((Qwp__Hello *)message)->version_min, 2);
    assert_string_equal(((Qwp__Hello *)message)->client, "y");
    wire_free(message);
}

static void test_unpack_keeps_up_to_16_unknown_fields(void **state)
{
    struct buf body = BUF_INIT(1024);
    ProtobufCMessage *message = NULL;

    for (int i = 0; i < WIRE_UNKNOWN_MAX; i++)
        gen_fill(&body, 1000 + (uint32_t)i, 3);
    assert_int_equal(wire_unpack(&qwp__hello__descriptor, buf_head(&body), buf_size(&body), NULL, &message),
                     0);
    assert_int_equal(message->n_unknown_fields, WIRE_UNKNOWN_MAX);
    wire_free(message);
    gen_fill(&body, 2000, 0);
    assert_int_equal(wire_check(&qwp__hello__descriptor, buf_head(&body), buf_size(&body), NULL),
                     WIRE_E_TOO_MANY);
    buf_deinit(&body);
}

/* refusals */

#define BYTES(text) text, sizeof(text) - 1
static const struct refusal {
    const char *what;
    const ProtobufCMessageDescriptor *type;
    const char *bytes;
    size_t n;
    int code;
} refusals[] = {
    {"tag cut off", &qwp__hello__descriptor, BYTES("\x88"), WIRE_E_MALFORMED},
    {"field 0", &qwp__hello__descriptor, BYTES("\x00\x01"), WIRE_E_MALFORMED},
    {"field 0 in two bytes", &qwp__hello__descriptor, BYTES("\x80\x00\x01"), WIRE_E_MALFORMED},
    {"field 2^29", &qwp__hello__descriptor, BYTES("\x80\x80\x80\x80\x10\x01"), WIRE_E_MALFORMED},
    {"tag of 6 bytes", &qwp__hello__descriptor, BYTES("\x88\x80\x80\x80\x80\x00\x01"), WIRE_E_MALFORMED},
    {"group", &qwp__hello__descriptor, BYTES("\x0b\x0c"), WIRE_E_MALFORMED},
    {"group end", &qwp__hello__descriptor, BYTES("\x0c"), WIRE_E_MALFORMED},
    {"unknown group", &qwp__hello__descriptor, BYTES("\xa3\x06\xa4\x06"), WIRE_E_MALFORMED},
    {"wire type 6", &qwp__hello__descriptor, BYTES("\x0e\x01"), WIRE_E_MALFORMED},
    {"wire type 7", &qwp__hello__descriptor, BYTES("\x0f\x01"), WIRE_E_MALFORMED},
    {"value missing", &qwp__hello__descriptor, BYTES("\x08"), WIRE_E_MALFORMED},
    {"varint cut off", &qwp__hello__descriptor, BYTES("\x08\x80\x80"), WIRE_E_MALFORMED},
    {"varint of 11 bytes", &qwp__welcome__descriptor,
     BYTES("\x10\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00"), WIRE_E_MALFORMED},
    {"varint of 65 bits", &qwp__welcome__descriptor, BYTES("\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"),
     WIRE_E_MALFORMED},
    {"fixed64 cut off", &qwp__ping__descriptor, BYTES("\x09\x01\x02\x03\x04\x05\x06\x07"), WIRE_E_MALFORMED},
    {"float cut off", &qwp__sampling__descriptor, BYTES("\x0d\x01\x02\x03"), WIRE_E_MALFORMED},
    {"length missing", &qwp__hello__descriptor, BYTES("\x1a"), WIRE_E_MALFORMED},
    {"length beyond the end", &qwp__hello__descriptor,
     BYTES("\x1a\x02"
           "a"),
     WIRE_E_MALFORMED},
    {"length of 4 GiB", &qwp__hello__descriptor,
     BYTES("\x1a\xff\xff\xff\xff\x0f"
           "a"),
     WIRE_E_MALFORMED},
    {"length of 6 bytes", &qwp__hello__descriptor,
     BYTES("\x1a\x81\x80\x80\x80\x80\x00"
           "a"),
     WIRE_E_MALFORMED},
    {"submessage beyond its parent", &qwp__welcome__descriptor,
     BYTES("\x2a\x03\x08\x01\x1a\x04"
           "cpu1"),
     WIRE_E_MALFORMED},
    {"uint32 as bytes", &qwp__hello__descriptor, BYTES("\x0a\x01\x01"), WIRE_E_MALFORMED},
    {"uint32 as fixed32", &qwp__hello__descriptor, BYTES("\x0d\x01\x00\x00\x00"), WIRE_E_MALFORMED},
    {"string as varint", &qwp__hello__descriptor, BYTES("\x18\x01"), WIRE_E_MALFORMED},
    {"submessage as varint", &qwp__welcome__descriptor, BYTES("\x28\x01"), WIRE_E_MALFORMED},
    {"bool as fixed32", &qwp__cancel__descriptor, BYTES("\x15\x01\x00\x00\x00"), WIRE_E_MALFORMED},
    {"float as varint", &qwp__sampling__descriptor, BYTES("\x08\x01"), WIRE_E_MALFORMED},
    {"double as fixed32", &qwp__usage__descriptor, BYTES("\x2d\x01\x00\x00\x00"), WIRE_E_MALFORMED},
    {"strings as packed", &qwp__hello__descriptor, BYTES("\x20\x01"), WIRE_E_MALFORMED},
    {"bool 2", &qwp__cancel__descriptor, BYTES("\x10\x02"), WIRE_E_MALFORMED},
    {"uint32 of 33 bits", &qwp__hello__descriptor, BYTES("\x08\x80\x80\x80\x80\x10"), WIRE_E_MALFORMED},
    {"int32 2^31", &qwp__sampling__descriptor, BYTES("\x40\x80\x80\x80\x80\x08"), WIRE_E_MALFORMED},
    {"int32 below -2^31", &qwp__sampling__descriptor, BYTES("\x40\xff\xff\xff\xff\xf7\xff\xff\xff\xff\x01"),
     WIRE_E_MALFORMED},
    {"enum 0, not declared", &qwp__generate__descriptor, BYTES("\x30\x00"), WIRE_E_MALFORMED},
    {"enum 9, not declared", &qwp__generate__descriptor, BYTES("\x30\x09"), WIRE_E_MALFORMED},
    {"enum 2^32 + 1", &qwp__generate__descriptor, BYTES("\x30\x81\x80\x80\x80\x10"), WIRE_E_MALFORMED},
    {"packed number cut off", &qwp__token_ids__descriptor, BYTES("\x0a\x02\x01\x80"), WIRE_E_MALFORMED},
    {"packed id of 33 bits", &qwp__token_ids__descriptor, BYTES("\x0a\x05\x80\x80\x80\x80\x10"),
     WIRE_E_MALFORMED},
    {"submessage twice", &qwp__generate__descriptor, BYTES("\x1a\x00\x1a\x00"), WIRE_E_TOO_MANY},
    {"NUL in a string", &qwp__hello__descriptor,
     BYTES("\x1a\x03"
           "a\0b"),
     WIRE_E_TEXT},
    {"lone continuation", &qwp__hello__descriptor, BYTES("\x1a\x01\x80"), WIRE_E_TEXT},
    {"overlong in 2 bytes", &qwp__hello__descriptor, BYTES("\x1a\x02\xc1\xbf"), WIRE_E_TEXT},
    {"overlong in 3 bytes", &qwp__hello__descriptor, BYTES("\x1a\x03\xe0\x9f\xbf"), WIRE_E_TEXT},
    {"overlong in 4 bytes", &qwp__hello__descriptor, BYTES("\x1a\x04\xf0\x8f\xbf\xbf"), WIRE_E_TEXT},
    {"surrogate", &qwp__hello__descriptor, BYTES("\x1a\x03\xed\xa0\x80"), WIRE_E_TEXT},
    {"above U+10FFFF", &qwp__hello__descriptor, BYTES("\x1a\x04\xf4\x90\x80\x80"), WIRE_E_TEXT},
    {"first byte 0xf5", &qwp__hello__descriptor, BYTES("\x1a\x04\xf5\x80\x80\x80"), WIRE_E_TEXT},
    {"sequence cut off", &qwp__hello__descriptor, BYTES("\x1a\x02\xe2\x82"), WIRE_E_TEXT},
    {"third byte not a continuation", &qwp__hello__descriptor,
     BYTES("\x1a\x03\xe2\x82"
           "a"),
     WIRE_E_TEXT},
    {"text of an element", &qwp__hello__descriptor, BYTES("\x22\x01\xff"), WIRE_E_TEXT},
};

static void test_check_refuses_what_is_malformed(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
        const struct refusal *c = &refusals[i];
        ProtobufCMessage *message = NULL;
        struct fault fault = {0};
        int r = wire_unpack(c->type, (const uint8_t *)c->bytes, c->n, &fault, &message);

        if (r != c->code)
            fail_msg("%s: %d (%s), expected %d", c->what, r, fault.text, c->code);
        assert_int_equal(fault.code, c->code);
        assert_memory_equal(fault.text, "qwp.", 4);
        assert_null(message);
    }
}

static void test_check_takes_the_ends_of_each_range(void **state)
{
    static const struct refusal taken[] = {
        {"uint32 max", &qwp__hello__descriptor, BYTES("\x08\xff\xff\xff\xff\x0f"), 0},
        {"uint64 max", &qwp__welcome__descriptor, BYTES("\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), 0},
        {"int32 -1", &qwp__sampling__descriptor, BYTES("\x40\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), 0},
        {"int32 min", &qwp__sampling__descriptor, BYTES("\x40\x80\x80\x80\x80\xf8\xff\xff\xff\xff\x01"), 0},
        {"enum last", &qwp__generate__descriptor, BYTES("\x40\x03"), 0},
        {"field 2^29 - 1", &qwp__hello__descriptor, BYTES("\xf8\xff\xff\xff\x0f\x01"), 0},
        {"varint longer than needed", &qwp__hello__descriptor, BYTES("\x08\x81\x80\x00"), 0},
        {"empty string", &qwp__hello__descriptor, BYTES("\x1a\x00"), 0},
        {"ends of each UTF-8 length", &qwp__hello__descriptor,
         BYTES("\x1a\x17\x01\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf\xef\xbf\xbf\xf0\x90\x80\x80\xf4\x8f"
               "\xbf\xbf"
               "\x08\x01"),
         0},
        {"bytes of any value", &qwp__body__descriptor, BYTES("\x0a\x03\x00\xff\x80"), 0},
    };

    for (size_t i = 0; i < ARRAY_SIZE(taken); i++) {
        ProtobufCMessage *message = NULL;
        struct fault fault = {0};

        if (wire_unpack(taken[i].type, (const uint8_t *)taken[i].bytes, taken[i].n, &fault, &message))
            fail_msg("%s: %s", taken[i].what, fault.text);
        wire_free(message);
    }
}

/* A type that contains itself, which no .proto of ours has: depth is bounded all the same. */
static const ProtobufCMessageDescriptor self_descriptor;
struct self {
    ProtobufCMessage base;
    struct self *inner;
};
static const ProtobufCFieldDescriptor self_fields[] = {
    {"inner", 1, PROTOBUF_C_LABEL_OPTIONAL, PROTOBUF_C_TYPE_MESSAGE, 0, offsetof(struct self, inner),
     &self_descriptor, NULL, 0, 0, NULL, NULL},
};
static const unsigned self_by_name[] = {0};
static const ProtobufCIntRange self_ranges[] = {{1, 0}, {0, 1}};
static const ProtobufCMessageDescriptor self_descriptor = {PROTOBUF_C__MESSAGE_DESCRIPTOR_MAGIC,
                                                           "test.Self",
                                                           "Self",
                                                           "Self",
                                                           "test",
                                                           sizeof(struct self),
                                                           1,
                                                           self_fields,
                                                           self_by_name,
                                                           1,
                                                           self_ranges,
                                                           NULL,
                                                           NULL,
                                                           NULL,
                                                           NULL};

static void test_check_refuses_nesting_deeper_than_four(void **state)
{
    static const uint8_t four[] = "\x0a\x04\x0a\x02\x0a\x00", five[] = "\x0a\x06\x0a\x04\x0a\x02\x0a\x00";
    const char *missing = NULL;
    struct fault fault = {0};

    assert_int_equal(wire_check(&self_descriptor, four, sizeof(four) - 1, &fault), WIRE_OK);
    assert_int_equal(wire_check(&self_descriptor, five, sizeof(five) - 1, &fault), WIRE_E_TOO_DEEP);
    assert_string_equal(fault.text, "test.Self: nested deeper than 4");
    assert_false(wire_has_caps(&self_descriptor, &missing));
    assert_string_equal(missing, "test.Self");
}

/* random bodies */

static void test_random_messages_round_trip(void **state)
{
    struct gen gen = {20261124};

    for (int round = 0; round < 200; round++)
        for (size_t i = 0; i < GEN_N_TYPES; i++) {
            const ProtobufCMessageDescriptor *type = wire_message_type(gen_types[i]);
            struct buf body = BUF_INIT(1 << 20);
            ProtobufCMessage *message = NULL;
            struct fault fault = {0};
            uint8_t *packed;

            gen_message(&gen, type, &body);
            if (wire_unpack(type, buf_head(&body), buf_size(&body), &fault, &message))
                fail_msg("%s", fault.text);
            assert_int_equal(protobuf_c_message_get_packed_size(message), buf_size(&body));
            packed = malloc(buf_size(&body) + 1);
            assert_int_equal(protobuf_c_message_pack(message, packed), buf_size(&body));
            if (buf_size(&body))
                assert_memory_equal(packed, buf_head(&body), buf_size(&body));
            free(packed);
            wire_free(message);
            buf_deinit(&body);
        }
}

/* Damaged bodies: whatever the check accepts must unpack; nothing may crash (run under sanitizers too). */
static void test_random_damage_is_refused_or_unpacks(void **state)
{
    struct gen gen = {7};
    size_t n_taken = 0, n_refused = 0;

    for (int round = 0; round < 300; round++)
        for (size_t i = 0; i < GEN_N_TYPES; i++) {
            const ProtobufCMessageDescriptor *type = wire_message_type(gen_types[i]);
            struct buf body = BUF_INIT(1 << 20);
            ProtobufCMessage *message = NULL;
            size_t n;
            int r;

            gen_message(&gen, type, &body);
            if (gen_below(&gen, 2))
                gen_hostile_field(&gen, type, &body);
            n = buf_size(&body);
            if (gen_below(&gen, 2))
                gen_damage(&gen, buf_head(&body), &n);
            r = wire_check(type, buf_head(&body), n, NULL);
            assert_int_equal(wire_unpack(type, buf_head(&body), n, NULL, &message), r);
            n_taken += !r;
            n_refused += !!r;
            wire_free(message);
            buf_deinit(&body);
        }
    assert_in_range(n_taken, 1000, SIZE_MAX);
    assert_in_range(n_refused, 1000, SIZE_MAX);
}

static void test_message_type_agrees_with_frame_names(void **state)
{
    for (size_t i = 0; i < GEN_N_TYPES; i++)
        assert_string_equal(wire_message_type(gen_types[i])->short_name, msg_type_name(gen_types[i]));
    for (uint32_t type = 0, n = 0; type <= UINT16_MAX; type++) {
        n += wire_message_type((uint16_t)type) != NULL;
        if (type == UINT16_MAX)
            assert_int_equal(n, GEN_N_TYPES);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unpack_hello_gives_its_fields),
        cmocka_unit_test(test_unpack_empty_body_gives_empty_message),
        cmocka_unit_test(test_unpack_numbers_packed_or_not_are_equal),
        cmocka_unit_test(test_unpack_scalar_twice_takes_the_last),
        cmocka_unit_test(test_unpack_keeps_up_to_16_unknown_fields),
        cmocka_unit_test(test_check_refuses_what_is_malformed),
        cmocka_unit_test(test_check_takes_the_ends_of_each_range),
        cmocka_unit_test(test_check_refuses_nesting_deeper_than_four),
        cmocka_unit_test(test_random_messages_round_trip),
        cmocka_unit_test(test_random_damage_is_refused_or_unpacks),
        cmocka_unit_test(test_message_type_agrees_with_frame_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
