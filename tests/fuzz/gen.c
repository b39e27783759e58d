/* gen.c - random protobuf bodies.  See gen.h. */
#include "gen.h"

#include <assert.h>
#include <string.h>

#include "proto/frame.h"
#include "proto/wire_caps.h"

enum {
    GEN_COUNT_MAX = 12,
    GEN_BYTES_MAX = 48
}; /* small: what is tested is structure, and a body must fit the arena */

const uint16_t gen_types[GEN_N_TYPES] = {
    MSG_HELLO,       MSG_WELCOME,   MSG_ERROR,        MSG_PING,          MSG_PONG,       MSG_EVENT,
    MSG_GENERATE,    MSG_BODY,      MSG_ACCEPTED,     MSG_DELTA,         MSG_USAGE,      MSG_CREDIT,
    MSG_CANCEL,      MSG_CANCELLED, MSG_TOKENIZE,     MSG_TOKENS,        MSG_DETOKENIZE, MSG_TEXT,
    MSG_RENDER,      MSG_STATUS,    MSG_STATUS_REPLY, MSG_LIST_REQUESTS, MSG_REQUESTS,   MSG_E_START,
    MSG_E_SUBMIT,    MSG_E_CANCEL,  MSG_E_PAUSE,      MSG_E_RESUME,      MSG_E_TEXT,     MSG_E_LOADING,
    MSG_E_READY,     MSG_E_FAILED,  MSG_E_STARTED,    MSG_E_EMIT,        MSG_E_REFUSED,  MSG_E_TEXT_REPLY,
    MSG_E_BEAT,      MSG_SUBSCRIBE, MSG_SAMPLE,       MSG_ADMIN,         MSG_DONE,       MSG_SCORE,
    MSG_SCORE_REPLY, MSG_E_PREEMPT, MSG_E_WEIGHTS,    MSG_ATTACH,        MSG_E_PUBLISH,  MSG_E_UNPUBLISH,
    MSG_E_PUBLISHED, MSG_USE,       MSG_USE_PROGRESS, MSG_SERVED,        MSG_USED,       MSG_E_CHECK,
    MSG_E_CHECKED,
};

/* splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014) */
uint64_t gen_u64(struct gen *gen)
{
    uint64_t z = gen->state += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

uint32_t gen_below(struct gen *gen, uint32_t n)
{
    return (uint32_t)(gen_u64(gen) >> 32) % n;
}

static void gen_put(struct buf *out, const void *data, size_t n)
{
    int r = buf_append(out, data, n);

    assert(!r); /* the caller's buffer is made for it */
    (void)r;
}

void gen_varint(struct buf *out, uint64_t value)
{
    for (; value > 0x7f; value >>= 7)
        gen_put(out, &(uint8_t){(uint8_t)(value | 0x80)}, 1);
    gen_put(out, &(uint8_t){(uint8_t)value}, 1);
}

void gen_tag(struct buf *out, uint32_t number, unsigned wire_type)
{
    gen_varint(out, (uint64_t)number << 3 | wire_type);
}

void gen_fill(struct buf *out, uint32_t number, size_t n)
{
    gen_tag(out, number, PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED);
    gen_varint(out, n);
    for (size_t i = 0; i < n; i++)
        gen_put(out, "a", 1);
}

/* Small numbers and the ends of the range more often than chance would have it. */
static uint64_t gen_number(struct gen *gen, unsigned n_bits)
{
    uint64_t all = n_bits == 64 ? UINT64_MAX : (UINT64_C(1) << n_bits) - 1;

    switch (gen_below(gen, 4)) {
    case 0:
        return gen_below(gen, 4);
    case 1:
        return all - gen_below(gen, 2);
    default:
        return gen_u64(gen) >> gen_below(gen, 64) & all;
    }
}

static uint64_t gen_varint_of(struct gen *gen, const ProtobufCFieldDescriptor *field)
{
    const ProtobufCEnumDescriptor *values = field->descriptor;

    switch (field->type) {
    case PROTOBUF_C_TYPE_BOOL:
        return gen_below(gen, 2);
    case PROTOBUF_C_TYPE_ENUM:
        return (uint64_t)(int64_t)values->values[gen_below(gen, values->n_values)].value;
    case PROTOBUF_C_TYPE_INT32:
        return (uint64_t)(int64_t)(int32_t)gen_number(gen, 32);
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_SINT32:
        return gen_number(gen, 32);
    default:
        return gen_number(gen, 64);
    }
}

/* Text of up to n_max bytes from sequences of each length, the first and last valid of each among them. */
static void gen_text(struct gen *gen, struct buf *out, size_t n_max)
{
    static const char *const pieces[] = {"a",
                                         " ",
                                         "\x01",
                                         "\x7f",
                                         "\xc2\x80",
                                         "\xdf\xbf",
                                         "\xe0\xa0\x80",
                                         "\xed\x9f\xbf",
                                         "\xef\xbf\xbf",
                                         "\xf0\x90\x80\x80",
                                         "\xf4\x8f\xbf\xbf"};
    char text[GEN_BYTES_MAX];
    size_t n = 0, n_want = gen_below(gen, GEN_BYTES_MAX);

    for (;;) {
        const char *piece = pieces[gen_below(gen, ARRAY_SIZE(pieces))];
        size_t len = strlen(piece);

        if (n + len > MIN(n_want, n_max))
            break;
        memcpy(text + n, piece, len);
        n += len;
    }
    gen_varint(out, n);
    gen_put(out, text, n);
}

static void gen_bytes(struct gen *gen, struct buf *out, size_t n_max)
{
    size_t n = gen_below(gen, (uint32_t)MIN((size_t)GEN_BYTES_MAX, n_max + 1));

    gen_varint(out, n);
    for (size_t i = 0; i < n; i++)
        gen_put(out, &(uint8_t){(uint8_t)gen_u64(gen)}, 1);
}

static void gen_nested(struct buf *out, const struct buf *inner)
{
    gen_varint(out, buf_size(inner));
    gen_put(out, buf_head(inner), buf_size(inner));
}

/* A value of fixed length or a varint; false: the wire type is another one. */
static bool gen_put_number(struct gen *gen, unsigned wire_type, uint64_t number, struct buf *out)
{
    uint64_t fixed = gen_u64(gen);

    if (wire_type == PROTOBUF_C_WIRE_TYPE_VARINT)
        gen_varint(out, number);
    else if (wire_type == PROTOBUF_C_WIRE_TYPE_32BIT)
        gen_put(out, &fixed, 4);
    else if (wire_type == PROTOBUF_C_WIRE_TYPE_64BIT)
        gen_put(out, &fixed, 8);
    else
        return false;
    return true;
}

static void gen_value(struct gen *gen, const ProtobufCFieldDescriptor *field, const struct wire_cap *cap,
                      struct buf *out)
{
    struct buf inner = BUF_INIT(out->max);
    unsigned wire_type = wire_type_of(field->type);

    if (wire_type == PROTOBUF_C_WIRE_TYPE_VARINT) {
        gen_varint(out, gen_varint_of(gen, field));
    } else if (gen_put_number(gen, wire_type, 0, out)) {
        return;
    } else if (field->type == PROTOBUF_C_TYPE_STRING) {
        gen_text(gen, out, cap->max_bytes);
    } else if (field->type == PROTOBUF_C_TYPE_BYTES) {
        gen_bytes(gen, out, cap->max_bytes);
    } else {
        gen_message(gen, field->descriptor, &inner);
        gen_nested(out, &inner);
        buf_deinit(&inner);
    }
}

static void gen_packed(struct gen *gen, const ProtobufCFieldDescriptor *field, uint32_t n, struct buf *out)
{
    struct buf inner = BUF_INIT(out->max);

    for (uint32_t i = 0; i < n; i++)
        gen_value(gen, field, NULL, &inner);
    gen_tag(out, field->id, PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED);
    gen_nested(out, &inner);
    buf_deinit(&inner);
}

void gen_message(struct gen *gen, const ProtobufCMessageDescriptor *type, struct buf *out)
{
    const struct wire_cap *caps = wire_caps_of(type);

    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        const struct wire_cap *cap = wire_cap_find(caps, field);
        uint32_t n = gen_below(gen, 2);

        if (field->label == PROTOBUF_C_LABEL_REPEATED)
            n = gen_below(gen, MIN(cap->max_count, (uint32_t)GEN_COUNT_MAX) + 1);
        if (n && field->flags & PROTOBUF_C_FIELD_FLAG_PACKED) {
            gen_packed(gen, field, n, out);
            continue;
        }
        for (uint32_t k = 0; k < n; k++) {
            gen_tag(out, field->id, wire_type_of(field->type));
            gen_value(gen, field, cap, out);
        }
    }
}

static void gen_hostile_value(struct gen *gen, unsigned wire_type, size_t n_bytes, struct buf *out)
{
    static const char *const bad[] = {"\x80", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "a"};
    const char *piece = bad[gen_below(gen, ARRAY_SIZE(bad))];

    if (gen_put_number(gen, wire_type, gen_number(gen, 64), out) ||
        wire_type != PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED)
        return;
    gen_varint(out, n_bytes);
    for (size_t n = 0; n < n_bytes; n++)
        gen_put(out, &piece[n % strlen(piece)], 1);
}

void gen_hostile_field(struct gen *gen, const ProtobufCMessageDescriptor *type, struct buf *out)
{
    const ProtobufCFieldDescriptor *field =
        type->n_fields ? &type->fields[gen_below(gen, type->n_fields)] : NULL;
    const struct wire_cap *cap = field ? wire_cap_find(wire_caps_of(type), field) : NULL;
    size_t n = cap && cap->max_bytes && cap->max_bytes < 4096 ? cap->max_bytes + gen_below(gen, 2)
                                                              : gen_below(gen, 16);
    unsigned wire_type = gen_below(gen, 6);
    uint32_t number = field ? field->id : 1 + gen_below(gen, 100);

    if (field && gen_below(gen, 4))
        wire_type = wire_type_of(field->type);
    else if (!gen_below(gen, 4))
        number = gen_below(gen, 1 << 20);
    gen_tag(out, number, wire_type);
    gen_hostile_value(gen, wire_type, n, out);
}

void gen_damage(struct gen *gen, uint8_t *body, size_t *n_bytes)
{
    for (uint32_t n = 1 + gen_below(gen, 4); n && *n_bytes; n--) {
        size_t at = gen_below(gen, (uint32_t)*n_bytes), left = *n_bytes - at;

        switch (gen_below(gen, 4)) {
        case 0:
            body[at] ^= (uint8_t)(1 << gen_below(gen, 8));
            break;
        case 1:
            body[at] = (uint8_t)gen_u64(gen);
            break;
        case 2: /* a piece of the body over another: fields twice, lengths that no longer fit */
            memmove(body + at, body + gen_below(gen, (uint32_t)*n_bytes - (uint32_t)left + 1), left / 2);
            break;
        default:
            *n_bytes = MAX(at, (size_t)1);
        }
    }
}
