/* wire_caps.h - how many elements a repeated field may have and how many bytes a string or bytes field may
 * hold.
 *
 * Private to wire.c.  A field without an entry is refused when it is not empty, so forgetting one fails
 * closed. */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "base.h"

enum {
    WIRE_FIELDS_MAX = 64
}; /* fields of one message type: bounds the walk's own stack; asked by wire_has_caps() */

struct wire_cap {
    const char *field;  /* NULL ends the list */
    uint32_t max_count; /* elements of a repeated field; 0 for a singular one */
    uint32_t max_bytes; /* of one string or bytes value; 0 for numbers and messages */
};

const struct wire_cap *
wire_caps_of(const ProtobufCMessageDescriptor *type); /* NULL: none of its fields needs one */
const struct wire_cap *wire_cap_find(const struct wire_cap *caps,
                                     const ProtobufCFieldDescriptor *field); /* NULL: none */

/* The i-th message type with caps, NULL past the last: lets a test compare the table with the descriptors. */
const ProtobufCMessageDescriptor *wire_caps_type(size_t i);

/* wire.c's, for the generator of test bodies: the wire type of a field's single value. */
uint8_t wire_type_of(ProtobufCType type);
