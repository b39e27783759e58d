/* wire.c - the check before protobuf-c.  See wire.h.
 *
 * One walk over the body does two things: it refuses whatever the caps or the descriptor do not allow, and it
 * adds up what protobuf-c will allocate for the rest, so that the arena can be made exactly that large before
 * anything is unpacked.  The sum follows protobuf_c_message_unpack() of protobuf-c 1.4.1: the message struct,
 * slabs of scanned members, one array per repeated field, a copy of each string, bytes and unknown field.
 * Should another version want more, its allocation fails, which is WIRE_E_MEMORY and not an overrun. */
#include "wire.h"

#include <assert.h>
#include <limits.h>
#include <string.h>

#include "wire_caps.h"

enum {
    WIRE_SLAB_FIRST = 16,        /* scanned members on protobuf-c's stack; each slab after that doubles */
    WIRE_SLAB_MEMBER_BYTES = 32, /* sizeof(ScannedMember) on 64-bit */
    WIRE_NUMBER_MAX = 536870911, /* largest field number protobuf allows, 2^29 - 1 */
    WIRE_TAG_BYTES_MAX = 5,      /* varint of a tag or a length: protobuf-c reads no more */
    WIRE_VARINT_BYTES_MAX = 10,  /* varint of 64 bits */
};

struct wire_cursor {
    const uint8_t *at, *end; /* borrowed from the body */
};

struct wire_walk { /* one body */
    const uint8_t *body;
    size_t need_bytes, max_bytes; /* of arena */
    struct fault *fault;
};

struct wire_level { /* one message in it */
    struct wire_walk *walk;
    const ProtobufCMessageDescriptor *type;
    const struct wire_cap *caps; /* NULL: the type has none */
    int depth;
    uint32_t n_members, n_unknown;
    uint32_t n_seen[WIRE_FIELDS_MAX]; /* per field: elements if repeated, occurrences if not */
};

struct wire_value {
    uint8_t wire_type;
    uint64_t number;     /* of a varint */
    const uint8_t *data; /* of everything else; a prefixed value without its prefix */
    size_t n;
    size_t n_raw; /* prefix included: what protobuf-c keeps of an unknown field */
};

static int wire_check_level(struct wire_walk *walk, const ProtobufCMessageDescriptor *type,
                            struct wire_cursor cursor, int depth);

/* cursor */

static int wire_fault_at(const struct wire_level *level, const uint8_t *at, const char *what)
{
    return fault_set(level->walk->fault, WIRE_E_MALFORMED, "%s: %s at byte %zu", level->type->name, what,
                     (size_t)(at - level->walk->body));
}

static int wire_next_varint(const struct wire_level *level, struct wire_cursor *cursor, int n_max,
                            uint64_t *ret_value)
{
    size_t n_left = (size_t)(cursor->end - cursor->at);
    uint64_t value = 0;

    for (int i = 0; i < n_max; i++) {
        uint8_t byte;

        if ((size_t)i == n_left)
            return wire_fault_at(level, cursor->at, "cut off number");
        byte = cursor->at[i];
        if (i == WIRE_VARINT_BYTES_MAX - 1 && byte > 1)
            break; /* more than 64 bits */
        value |= (uint64_t)(byte & 0x7f) << 7 * i;
        if (!(byte & 0x80)) {
            cursor->at += i + 1;
            *ret_value = value;
            return WIRE_OK;
        }
    }
    return wire_fault_at(level, cursor->at, "number of too many bytes");
}

static int wire_next_tag(const struct wire_level *level, struct wire_cursor *cursor, uint32_t *ret_number,
                         uint8_t *ret_wire_type)
{
    const uint8_t *start = cursor->at;
    uint64_t tag = 0;
    int r;

    r = wire_next_varint(level, cursor, WIRE_TAG_BYTES_MAX, &tag);
    if (r)
        return r;
    if (!(tag >> 3) || tag >> 3 > WIRE_NUMBER_MAX)
        return wire_fault_at(level, start, "field number out of range");
    *ret_number = (uint32_t)(tag >> 3);
    *ret_wire_type = tag & 7;
    return WIRE_OK;
}

static int wire_next_bytes(const struct wire_level *level, struct wire_cursor *cursor, uint64_t n,
                           struct wire_value *value)
{
    if (n > (size_t)(cursor->end - cursor->at))
        return wire_fault_at(level, cursor->at, "length beyond the end");
    value->data = cursor->at;
    value->n = (size_t)n;
    cursor->at += n;
    return WIRE_OK;
}

static int wire_next_value(const struct wire_level *level, struct wire_cursor *cursor, uint8_t wire_type,
                           struct wire_value *ret_value)
{
    const uint8_t *start = cursor->at;
    struct wire_value value = {.wire_type = wire_type};
    uint64_t n;
    int r;

    switch (wire_type) {
    case PROTOBUF_C_WIRE_TYPE_VARINT:
        r = wire_next_varint(level, cursor, WIRE_VARINT_BYTES_MAX, &value.number);
        break;
    case PROTOBUF_C_WIRE_TYPE_64BIT:
        r = wire_next_bytes(level, cursor, 8, &value);
        break;
    case PROTOBUF_C_WIRE_TYPE_32BIT:
        r = wire_next_bytes(level, cursor, 4, &value);
        break;
    case PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED:
        r = wire_next_varint(level, cursor, WIRE_TAG_BYTES_MAX, &n);
        if (!r)
            r = wire_next_bytes(level, cursor, n, &value);
        break;
    default:
        r = wire_fault_at(level, start, "group or unknown wire type");
    }
    if (r)
        return r;
    value.n_raw = (size_t)(cursor->at - start);
    *ret_value = value;
    return WIRE_OK;
}

/* memory */

static int wire_charge(const struct wire_level *level, size_t n_bytes)
{
    struct wire_walk *walk = level->walk;

    /* cannot overflow: each charge is at most 16 times what lies in the body, which is a frame */
    walk->need_bytes += ROUND_UP(n_bytes, (size_t)WIRE_ARENA_ALIGN);
    if (walk->need_bytes > walk->max_bytes)
        return fault_set(walk->fault, WIRE_E_MEMORY,
                         "%s: would take more than the %zu bytes allowed for this body", level->type->name,
                         walk->max_bytes);
    return WIRE_OK;
}

/* Slab k holds WIRE_SLAB_FIRST << k members and is allocated when the one before it is full. */
static int wire_charge_member(struct wire_level *level)
{
    uint32_t n = level->n_members++;

    if (n < WIRE_SLAB_FIRST || (n / WIRE_SLAB_FIRST + 1) & (n / WIRE_SLAB_FIRST) || n % WIRE_SLAB_FIRST)
        return WIRE_OK;
    return wire_charge(level, ((size_t)n + WIRE_SLAB_FIRST) * WIRE_SLAB_MEMBER_BYTES);
}

static size_t wire_element_bytes(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return 8;
    case PROTOBUF_C_TYPE_BOOL:
        return sizeof(protobuf_c_boolean);
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(void *);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    default:
        return 4;
    }
}

/* values */

/* Length of the UTF-8 sequence at p, 0 if there is no valid one: no overlong form, no surrogate, nothing
 * above U+10FFFF (Unicode 15, table 3-7). */
static size_t wire_utf8_sequence(const uint8_t *p, size_t n)
{
    uint8_t lo = 0x80, hi = 0xbf;
    size_t len;

    if (p[0] < 0x80)
        return 1;
    if (p[0] < 0xc2 || p[0] > 0xf4)
        return 0;
    len = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (p[0] == 0xe0)
        lo = 0xa0;
    else if (p[0] == 0xed)
        hi = 0x9f;
    else if (p[0] == 0xf0)
        lo = 0x90;
    else if (p[0] == 0xf4)
        hi = 0x8f;
    if (n < len || p[1] < lo || p[1] > hi)
        return 0;
    for (size_t i = 2; i < len; i++)
        if (p[i] < 0x80 || p[i] > 0xbf)
            return 0;
    return len;
}

static int wire_check_text(const struct wire_level *level, const ProtobufCFieldDescriptor *field,
                           const struct wire_value *value)
{
    for (size_t i = 0, len; i < value->n; i += len) {
        len = value->data[i] ? wire_utf8_sequence(value->data + i, value->n - i) : 0;
        if (!len)
            return fault_set(level->walk->fault, WIRE_E_TEXT, "%s.%s: %s at byte %zu of the text",
                             level->type->name, field->name, value->data[i] ? "not UTF-8" : "NUL", i);
    }
    return WIRE_OK;
}

static bool wire_number_fits(const ProtobufCFieldDescriptor *field, uint64_t number)
{
    const int64_t value = (int64_t)number;

    switch (field->type) {
    case PROTOBUF_C_TYPE_BOOL:
        return number <= 1;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_SINT32: /* zigzag */
        return number <= UINT32_MAX;
    case PROTOBUF_C_TYPE_INT32:
        return value >= INT32_MIN && value <= INT32_MAX;
    case PROTOBUF_C_TYPE_ENUM:
        return value >= INT_MIN && value <= INT_MAX &&
               protobuf_c_enum_descriptor_get_value(field->descriptor, (int)value);
    default:
        return true;
    }
}

static int wire_check_number(const struct wire_level *level, const ProtobufCFieldDescriptor *field,
                             uint64_t number)
{
    if (wire_number_fits(field, number))
        return WIRE_OK;
    return fault_set(level->walk->fault, WIRE_E_MALFORMED, "%s.%s: %lld is not in its range",
                     level->type->name, field->name, (long long)number);
}

uint8_t wire_type_of(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
        return PROTOBUF_C_WIRE_TYPE_32BIT;
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return PROTOBUF_C_WIRE_TYPE_64BIT;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
        return PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED;
    default:
        return PROTOBUF_C_WIRE_TYPE_VARINT;
    }
}

/* fields */

static uint32_t *wire_seen(struct wire_level *level, const ProtobufCFieldDescriptor *field)
{
    return &level->n_seen[field - level->type->fields];
}

/* n more elements of a repeated field, the array of which protobuf-c allocates in one piece at the end. */
static int wire_count_elements(struct wire_level *level, const ProtobufCFieldDescriptor *field, size_t n)
{
    const struct wire_cap *cap = wire_cap_find(level->caps, field);
    uint32_t max = cap ? cap->max_count : 0, *seen = wire_seen(level, field);
    size_t size = wire_element_bytes(field->type), before = ROUND_UP(*seen * size, (size_t)WIRE_ARENA_ALIGN);

    if (n > max - *seen)
        return fault_set(level->walk->fault, WIRE_E_TOO_MANY, "%s.%s: more than %u", level->type->name,
                         field->name, max);
    *seen += (uint32_t)n;
    return wire_charge(level, ROUND_UP(*seen * size, (size_t)WIRE_ARENA_ALIGN) - before);
}

static int wire_check_packed(struct wire_level *level, const ProtobufCFieldDescriptor *field,
                             const struct wire_value *value)
{
    struct wire_cursor cursor = {value->data, value->data + value->n};
    const size_t size = wire_element_bytes(field->type);
    size_t n = 0;

    if (wire_type_of(field->type) != PROTOBUF_C_WIRE_TYPE_VARINT) {
        if (value->n % size)
            return wire_fault_at(level, value->data, "packed field that ends inside an element");
        return wire_count_elements(level, field, value->n / size);
    }
    /* counted at the end: a chunk may hold a million */
    for (; cursor.at < cursor.end; n++) {
        uint64_t number = 0;
        int r = wire_next_varint(level, &cursor, WIRE_VARINT_BYTES_MAX, &number);

        if (!r)
            r = wire_check_number(level, field, number);
        if (r)
            return r;
    }
    /* protobuf-c allocates packed bools by their bytes, everything else by its last bytes */
    return wire_count_elements(level, field, field->type == PROTOBUF_C_TYPE_BOOL ? value->n : n);
}

static int wire_check_sized(const struct wire_level *level, const ProtobufCFieldDescriptor *field,
                            const struct wire_value *value)
{
    const struct wire_cap *cap = wire_cap_find(level->caps, field);
    size_t max = cap ? cap->max_bytes : 0;
    bool is_text = field->type == PROTOBUF_C_TYPE_STRING;
    int r;

    if (value->n > max)
        return fault_set(level->walk->fault, WIRE_E_TOO_LONG, "%s.%s: %zu bytes, at most %zu",
                         level->type->name, field->name, value->n, max);
    r = is_text ? wire_check_text(level, field, value) : WIRE_OK;
    if (r)
        return r;
    return wire_charge(level, value->n + is_text); /* a string gets its NUL */
}

static int wire_check_single(struct wire_level *level, const ProtobufCFieldDescriptor *field,
                             const struct wire_value *value)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
        return wire_check_sized(level, field, value);
    case PROTOBUF_C_TYPE_MESSAGE:
        return wire_check_level(level->walk, field->descriptor,
                                (struct wire_cursor){value->data, value->data + value->n}, level->depth + 1);
    default:
        if (value->wire_type != PROTOBUF_C_WIRE_TYPE_VARINT)
            return WIRE_OK;
        return wire_check_number(level, field, value->number);
    }
}

static int wire_check_field(struct wire_level *level, const ProtobufCFieldDescriptor *field,
                            const struct wire_value *value)
{
    const bool repeated = field->label == PROTOBUF_C_LABEL_REPEATED;
    const uint8_t wire_type = wire_type_of(field->type);
    int r;

    if (repeated && value->wire_type == PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED && value->wire_type != wire_type)
        return wire_check_packed(level, field, value);
    if (value->wire_type != wire_type)
        return fault_set(level->walk->fault, WIRE_E_MALFORMED, "%s.%s: wire type %u, not %u",
                         level->type->name, field->name, value->wire_type, wire_type);
    /* The last of several scalars or strings stands, as protobuf says; messages would be merged, which
     * copies. */
    if (!repeated && (*wire_seen(level, field))++ && field->type == PROTOBUF_C_TYPE_MESSAGE)
        return fault_set(level->walk->fault, WIRE_E_TOO_MANY, "%s.%s: given twice", level->type->name,
                         field->name);
    if (repeated) {
        r = wire_count_elements(level, field, 1);
        if (r)
            return r;
    }
    return wire_check_single(level, field, value);
}

static int wire_check_unknown(struct wire_level *level, uint32_t number, const struct wire_value *value)
{
    int r;

    if (level->n_unknown++ == WIRE_UNKNOWN_MAX)
        return fault_set(level->walk->fault, WIRE_E_TOO_MANY,
                         "%s: more than %d unknown fields, the last is %u", level->type->name,
                         WIRE_UNKNOWN_MAX, number);
    r = wire_charge(level, sizeof(ProtobufCMessageUnknownField));
    return r ? r : wire_charge(level, value->n_raw);
}

static int wire_check_member(struct wire_level *level, struct wire_cursor *cursor)
{
    const ProtobufCFieldDescriptor *field;
    struct wire_value value;
    uint32_t number = 0;
    uint8_t wire_type = 0;
    int r;

    r = wire_next_tag(level, cursor, &number, &wire_type);
    if (r)
        return r;
    r = wire_next_value(level, cursor, wire_type, &value);
    if (r)
        return r;
    r = wire_charge_member(level);
    if (r)
        return r;
    field = protobuf_c_message_descriptor_get_field(level->type, number);
    return field ? wire_check_field(level, field, &value) : wire_check_unknown(level, number, &value);
}

static int wire_check_level(struct wire_walk *walk, const ProtobufCMessageDescriptor *type,
                            struct wire_cursor cursor, int depth)
{
    struct wire_level level = {.walk = walk, .type = type, .caps = wire_caps_of(type), .depth = depth};
    int r;

    assert(type->n_fields <= WIRE_FIELDS_MAX);
    if (depth > WIRE_DEPTH_MAX)
        return fault_set(walk->fault, WIRE_E_TOO_DEEP, "%s: nested deeper than %d", type->name,
                         WIRE_DEPTH_MAX);
    r = wire_charge(&level, type->sizeof_message);
    while (!r && cursor.at < cursor.end)
        r = wire_check_member(&level, &cursor);
    return r;
}

int wire_measure(const ProtobufCMessageDescriptor *type, const uint8_t *body, size_t n_bytes,
                 struct fault *fault, size_t *ret_need_bytes)
{
    struct wire_walk walk = {.body = body, .fault = fault};
    int r;

    if (n_bytes > INT_MAX / 16) /* no frame is; the sums above rely on it */
        return fault_set(fault, WIRE_E_TOO_LONG, "%s: body of %zu bytes", type->name, n_bytes);
    walk.max_bytes = WIRE_ARENA_FACTOR * n_bytes + WIRE_ARENA_BASE_BYTES;
    r = wire_check_level(&walk, type, (struct wire_cursor){body, n_bytes ? body + n_bytes : body}, 1);
    if (r)
        return r;
    *ret_need_bytes = walk.need_bytes;
    return WIRE_OK;
}

int wire_check(const ProtobufCMessageDescriptor *type, const uint8_t *body, size_t n_bytes,
               struct fault *fault)
{
    size_t need_bytes;

    return wire_measure(type, body, n_bytes, fault, &need_bytes);
}
