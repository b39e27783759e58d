/* wire.h - what stands between bytes from a peer and protobuf-c, which checks none of this itself.
 *
 * wire_unpack() walks the body against the message's own descriptor and the cap table in wire_caps.c (element
 * count per repeated field, bytes per string or bytes field).  Refused are: more than WIRE_UNKNOWN_MAX
 * unknown fields in one message, nesting deeper than WIRE_DEPTH_MAX, text that is not UTF-8 or holds a NUL,
 * lengths that point outside, a known field with another wire type, numbers outside of their type, enum
 * values that are not declared, a singular submessage given twice, groups.  Of a singular scalar, string or
 * bytes field given twice the last stands.  Packed and unpacked numbers are both taken.  Only then it
 * unpacks, into one block of at most 4 x body + 64 KiB, everything protobuf-c allocates on the way included.
 * A message that passes can be used without further length checks. */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "base.h"

enum { WIRE_DEPTH_MAX = 4, WIRE_UNKNOWN_MAX = 16 };
enum { WIRE_ARENA_FACTOR = 4, WIRE_ARENA_BASE_BYTES = 64 << 10, WIRE_ARENA_ALIGN = 8 };
enum {
    WIRE_OK,
    WIRE_E_MALFORMED,
    WIRE_E_TOO_MANY,
    WIRE_E_TOO_LONG,
    WIRE_E_TOO_DEEP,
    WIRE_E_TEXT,
    WIRE_E_MEMORY
};

/* Checks only.  fault names message, field and what is wrong (never the bytes). */
int wire_check(const ProtobufCMessageDescriptor *type, const uint8_t *body, size_t n_bytes,
               struct fault *fault);

/* Checks, and says how many bytes unpacking will take, so that they can be charged before they are allocated.
 */
int wire_measure(const ProtobufCMessageDescriptor *type, const uint8_t *body, size_t n_bytes,
                 struct fault *fault, size_t *ret_need_bytes);

/* Checks, then unpacks.  The result is owned by the caller and freed with wire_free() and nothing else; NULL
 * allowed. WIRE_OK, WIRE_E_*, -ENOMEM. */
int wire_unpack(const ProtobufCMessageDescriptor *type, const uint8_t *body, size_t n_bytes,
                struct fault *fault, ProtobufCMessage **ret_message);
void wire_free(ProtobufCMessage *message);

/* True if wire_caps.c has an entry for every repeated, string and bytes field of the type and below it: a
 * test asks this for each message, so that a field added to a .proto cannot be left uncapped. */
bool wire_has_caps(const ProtobufCMessageDescriptor *type, const char **ret_missing);

/* The message that a frame of this enum msg_type carries; NULL for a type that does not exist. */
const ProtobufCMessageDescriptor *wire_message_type(uint16_t type);
