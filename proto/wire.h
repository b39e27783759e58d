/* wire.h - what stands between bytes from a peer and protobuf-c, which checks none of this itself.
 *
 * wire_unpack() walks the body against the message's own descriptor and the cap table in wire.c (element count per
 * repeated field, bytes per string or bytes field), refusing more than 16 unknown fields, nesting deeper than
 * WIRE_DEPTH_MAX, text that is not UTF-8 or holds a NUL, and lengths that point outside; only then it unpacks, with a
 * bump allocator of at most 4 x body + 64 KiB.  A message that passes can be used without further length checks. */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "base.h"

enum { WIRE_DEPTH_MAX = 4, WIRE_UNKNOWN_MAX = 16 };
enum { WIRE_OK, WIRE_E_MALFORMED, WIRE_E_TOO_MANY, WIRE_E_TOO_LONG, WIRE_E_TOO_DEEP, WIRE_E_TEXT, WIRE_E_MEMORY };

/* Checks only.  fault names message, field and what is wrong (never the bytes). */
int wire_check(const ProtobufCMessageDescriptor *type, const uint8_t *body, size_t n_bytes, struct fault *fault);

/* Checks, then unpacks.  The result is owned by the caller and freed with wire_free(), which takes NULL. */
int wire_unpack(const ProtobufCMessageDescriptor *type, const uint8_t *body, size_t n_bytes, struct fault *fault,
                ProtobufCMessage **ret_message);
void wire_free(ProtobufCMessage *message);

/* True if wire.c's cap table has an entry for every repeated, string and bytes field of the type and below it: a test
 * asks this for each message, so that a field added to a .proto cannot be left uncapped. */
bool wire_has_caps(const ProtobufCMessageDescriptor *type, const char **ret_missing);
