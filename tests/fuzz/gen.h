/* gen.h - random protobuf bodies from a message's own descriptor, for fuzz_frame and test_wire.
 *
 * gen_message() writes a body that the wire check must accept, in the canonical form that protobuf-c packs
 * (ascending numbers, packed where declared), so that unpack and pack give the same bytes.  gen_damage() then
 * breaks it. */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "proto/buf.h"

struct gen {
    uint64_t state; /* any value is a seed */
};
uint64_t gen_u64(struct gen *gen);
uint32_t gen_below(struct gen *gen, uint32_t n); /* 0 .. n - 1; n > 0 */

enum { GEN_N_TYPES = 55 };
extern const uint16_t gen_types[GEN_N_TYPES]; /* every frame type that exists */

void gen_varint(struct buf *out, uint64_t value);
void gen_tag(struct buf *out, uint32_t number, unsigned wire_type);
void gen_fill(struct buf *out, uint32_t number, size_t n); /* a string or bytes field of n times 'a' */
void gen_message(struct gen *gen, const ProtobufCMessageDescriptor *type, struct buf *out);

/* A well-formed field of the type's own with a hostile value: another wire type, a cap passed, bad text, a
 * range passed, a duplicate; or one that the type does not have. */
void gen_hostile_field(struct gen *gen, const ProtobufCMessageDescriptor *type, struct buf *out);

/* One to four byte flips, overwrites, cuts, repetitions; body keeps at least one byte. */
void gen_damage(struct gen *gen, uint8_t *body, size_t *n_bytes);
