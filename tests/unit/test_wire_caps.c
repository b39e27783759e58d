/* test_wire_caps.c - every cap of the wire check reached and not passed, and the memory that unpacking may
 * take. */
#include "proto/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "proto/frame.h"
#include "proto/wire_caps.h"
#include "qwend.pb-c.h"
#include "tests/fuzz/gen.h"

/* The string or bytes field that may hold most; NULL if the type has none. */
static const ProtobufCFieldDescriptor *widest_field(const ProtobufCMessageDescriptor *type)
{
    const ProtobufCFieldDescriptor *widest = NULL;
    uint32_t max = 0;

    for (const struct wire_cap *cap = wire_caps_of(type); cap && cap->field; cap++)
        if (cap->max_bytes > max && !cap->max_count) {
            widest = protobuf_c_message_descriptor_get_field_by_name(type, cap->field);
            max = cap->max_bytes;
        }
    return widest;
}

/* A typical element: 100 bytes of text where it has any, so that it is the count that is refused and not the
 * memory. */
static void put_element(struct buf *body, const ProtobufCFieldDescriptor *field)
{
    const ProtobufCFieldDescriptor *text;
    struct buf inner = BUF_INIT(1 << 20);

    if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
        text = widest_field(field->descriptor);
        if (text)
            gen_fill(&inner, text->id,
                     MIN(100u, wire_cap_find(wire_caps_of(field->descriptor), text)->max_bytes));
        gen_tag(body, field->id, PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED);
        gen_varint(body, buf_size(&inner));
        assert_int_equal(buf_append(body, buf_head(&inner), buf_size(&inner)), 0);
    } else {
        gen_fill(body, field->id, 40);
    }
    buf_deinit(&inner);
}

static void put_elements(struct buf *body, const ProtobufCFieldDescriptor *field, uint32_t n)
{
    if (!(field->flags & PROTOBUF_C_FIELD_FLAG_PACKED)) {
        for (uint32_t i = 0; i < n; i++)
            put_element(body, field);
        return;
    }
    gen_tag(body, field->id, PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED);
    if (field->type == PROTOBUF_C_TYPE_FLOAT) {
        const float value = -1.5f;

        gen_varint(body, n * sizeof(value));
        for (uint32_t i = 0; i < n; i++)
            assert_int_equal(buf_append(body, &value, sizeof(value)), 0);
        return;
    }
    gen_varint(body, n);
    for (uint32_t i = 0; i < n; i++)
        gen_varint(body, 7);
}

static void expect(const ProtobufCMessageDescriptor *type, const struct buf *body, int code, const char *name)
{
    struct fault fault = {0};
    int r = wire_check(type, buf_head(body), buf_size(body), &fault);

    if (r != code)
        fail_msg("%s: %d (%s), expected %d", name, r, fault.text, code);
    assert_true(!r || strstr(fault.text, type->name));
}

/* caps */

static void test_caps_cover_every_message(void **state)
{
    const char *missing = NULL;

    for (size_t i = 0; i < GEN_N_TYPES; i++)
        if (!wire_has_caps(wire_message_type(gen_types[i]), &missing))
            fail_msg("%s: no cap for %s", msg_type_name(gen_types[i]), missing);
    assert_true(wire_has_caps(&qwp__prompt__descriptor, &missing));
}

static void test_caps_name_fields_that_exist(void **state)
{
    for (size_t i = 0; wire_caps_type(i); i++)
        for (const struct wire_cap *cap = wire_caps_of(wire_caps_type(i)); cap->field; cap++) {
            const ProtobufCFieldDescriptor *field =
                protobuf_c_message_descriptor_get_field_by_name(wire_caps_type(i), cap->field);

            if (!field)
                fail_msg("%s has no field %s", wire_caps_type(i)->name, cap->field);
            assert_int_equal(!cap->max_count, field->label != PROTOBUF_C_LABEL_REPEATED);
        }
}

static void check_cap_bytes(const ProtobufCMessageDescriptor *type, const ProtobufCFieldDescriptor *field,
                            const struct wire_cap *cap)
{
    struct buf body = BUF_INIT(32 << 20);

    gen_fill(&body, field->id, cap->max_bytes);
    expect(type, &body, WIRE_OK, field->name);
    buf_consume(&body, buf_size(&body));
    gen_fill(&body, field->id, cap->max_bytes + 1);
    expect(type, &body, WIRE_E_TOO_LONG, field->name);
    buf_deinit(&body);
}

static void check_cap_count(const ProtobufCMessageDescriptor *type, const ProtobufCFieldDescriptor *field,
                            const struct wire_cap *cap)
{
    struct buf body = BUF_INIT(32 << 20);

    put_elements(&body, field, cap->max_count);
    expect(type, &body, WIRE_OK, field->name);
    buf_consume(&body, buf_size(&body));
    put_elements(&body, field, cap->max_count + 1);
    expect(type, &body, WIRE_E_TOO_MANY, field->name);
    buf_deinit(&body);
}

static void test_caps_are_reached_and_not_passed(void **state)
{
    for (size_t i = 0; wire_caps_type(i); i++)
        for (const struct wire_cap *cap = wire_caps_of(wire_caps_type(i)); cap->field; cap++) {
            const ProtobufCFieldDescriptor *field =
                protobuf_c_message_descriptor_get_field_by_name(wire_caps_type(i), cap->field);

            if (cap->max_bytes)
                check_cap_bytes(wire_caps_type(i), field, cap);
            if (cap->max_count)
                check_cap_count(wire_caps_type(i), field, cap);
        }
}

/* memory */

/* What raw protobuf-c turns into 92 MiB of heap: 1 MiB of empty submessages. */
static void test_check_refuses_amplification(void **state)
{
    enum { N = 1 << 20 };
    static const struct {
        const ProtobufCMessageDescriptor *type;
        uint8_t tag;
        size_t n;
        int code;
    } cases[] = {
        {&qwp__requests__descriptor, 0x0a, N, WIRE_E_TOO_MANY},
        {&qwp__requests__descriptor, 0x0a, 4000, WIRE_E_MEMORY},
        {&qwp__prompt__descriptor, 0x0a, N, WIRE_E_TOO_MANY},
        {&qwp__prompt__descriptor, 0x0a, 4000, WIRE_E_MEMORY},
        {&qwp__error__descriptor, 0x22, N, WIRE_E_TOO_MANY},
        {&qwp__token_ids__descriptor, 0x08, N, WIRE_E_MEMORY},
        {&qwp__hello__descriptor, 0x1a, N, WIRE_E_MEMORY},
        {&qwp__hello__descriptor, 0x70, N, WIRE_E_TOO_MANY},
    };
    uint8_t *body = calloc(1, N);

    assert_non_null(body);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct fault fault = {0};

        for (size_t k = 0; k < cases[i].n; k += 2)
            body[k] = cases[i].tag;
        assert_int_equal(wire_check(cases[i].type, body, cases[i].n, &fault), cases[i].code);
    }
    free(body);
}

static void test_measure_stays_within_the_promise(void **state)
{
    enum { N = 1 << 20 };
    struct buf body = BUF_INIT(N + 16);
    ProtobufCMessage *message = NULL;
    uint8_t *tail;
    size_t need = 0;

    gen_tag(&body, 1, PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED);
    gen_varint(&body, N);
    assert_int_equal(buf_reserve(&body, N, &tail), 0);
    memset(tail, 1, N);
    buf_commit(&body, N);
    assert_int_equal(wire_measure(&qwp__token_ids__descriptor, buf_head(&body), buf_size(&body), NULL, &need),
                     0);
    assert_in_range(need, 4 * N, WIRE_ARENA_FACTOR * buf_size(&body) + WIRE_ARENA_BASE_BYTES);
    assert_int_equal(
        wire_unpack(&qwp__token_ids__descriptor, buf_head(&body), buf_size(&body), NULL, &message), 0);
    assert_int_equal(((Qwp__TokenIds *)message)->n_id, N);
    wire_free(message);
    buf_deinit(&body);
}

/* protobuf-c takes scan slabs in doubling steps; the sum must be right on both sides of each step. */
static void test_unpack_fits_at_every_member_count(void **state)
{
    struct buf body = BUF_INIT(1 << 16);
    size_t n_taken = 0;

    for (int n = 1; n <= 2000; n++) {
        ProtobufCMessage *message = NULL;
        struct fault fault = {0};
        int r;

        gen_tag(&body, 1, PROTOBUF_C_WIRE_TYPE_VARINT);
        gen_varint(&body, (uint64_t)n);
        r = wire_unpack(&qwp__token_ids__descriptor, buf_head(&body), buf_size(&body), &fault, &message);
        if (r == WIRE_E_MEMORY) {
            assert_non_null(strstr(fault.text, "would take more"));
            continue;
        }
        assert_int_equal(r, 0);
        assert_int_equal(((Qwp__TokenIds *)message)->id[n - 1], n);
        n_taken++;
        wire_free(message);
    }
    assert_in_range(n_taken, 500, 2000);
    buf_deinit(&body);
}

/* The largest Delta that the broker may send: every alternative of every token, with text. */
static void test_check_takes_the_fullest_delta(void **state)
{
    struct buf body = BUF_INIT(1 << 20), token = BUF_INIT(1 << 16);
    static const uint8_t top[] = "\x22\x0e\x08\x80\x80\x08\x15\x00\x00\x80\xbf\x1a\x03"
                                 "the";

    for (int i = 0; i < 20; i++)
        assert_int_equal(buf_append(&token, top, sizeof(top) - 1), 0);
    assert_int_equal(buf_append(&token, top + 2, sizeof(top) - 3), 0);
    for (int i = 0; i < 32; i++) {
        gen_tag(&body, 5, PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED);
        gen_varint(&body, buf_size(&token));
        assert_int_equal(buf_append(&body, buf_head(&token), buf_size(&token)), 0);
    }
    expect(&qwp__delta__descriptor, &body, WIRE_OK, "32 tokens of 20 alternatives");
    buf_deinit(&token);
    buf_deinit(&body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_caps_cover_every_message),
        cmocka_unit_test(test_caps_name_fields_that_exist),
        cmocka_unit_test(test_caps_are_reached_and_not_passed),
        cmocka_unit_test(test_check_refuses_amplification),
        cmocka_unit_test(test_measure_stays_within_the_promise),
        cmocka_unit_test(test_unpack_fits_at_every_member_count),
        cmocka_unit_test(test_check_takes_the_fullest_delta),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
