/* wire_unpack.c - unpacking what wire.c has passed, into one block.  See wire.h.
 *
 * The block is one malloc that holds its own bookkeeping and then the message, which protobuf-c allocates
 * first, so that the message's address is all that wire_free() needs.  Its size is wire_measure()'s sum.
 * Should another version of protobuf-c want more, its allocation fails: WIRE_E_MEMORY, not an overrun. */
#include "wire.h"

#include <assert.h>

enum { WIRE_BLOCK_ALIGN = 16 }; /* as malloc aligns */

struct wire_arena {
    size_t used_bytes, size_bytes;
    _Alignas(WIRE_BLOCK_ALIGN) uint8_t data[];
};

static void *wire_arena_alloc(void *user, size_t n_bytes)
{
    struct wire_arena *arena = user;
    uint8_t *block = arena->data + arena->used_bytes;
    size_t n = ROUND_UP(n_bytes, (size_t)WIRE_ARENA_ALIGN);

    if (n < n_bytes || n > arena->size_bytes - arena->used_bytes)
        return NULL;
    arena->used_bytes += n;
    return block;
}

static void wire_arena_skip(void *user, void *block) /* all at once, in wire_free() */ {}

int wire_unpack(const ProtobufCMessageDescriptor *type, const uint8_t *body, size_t n_bytes,
                struct fault *fault, ProtobufCMessage **ret_message)
{
    _cleanup_(freep) struct wire_arena *arena = NULL;
    ProtobufCAllocator allocator = {wire_arena_alloc, wire_arena_skip, NULL};
    ProtobufCMessage *message;
    size_t need_bytes = 0;
    int r;

    r = wire_measure(type, body, n_bytes, fault, &need_bytes);
    if (r)
        return r;
    arena = malloc(sizeof(*arena) + need_bytes);
    if (!arena)
        return err_origin(-ENOMEM);
    arena->used_bytes = 0;
    arena->size_bytes = need_bytes;
    allocator.allocator_data = arena;
    message = protobuf_c_message_unpack(type, &allocator, n_bytes, body);
    if (!message)
        return fault_set(fault, WIRE_E_MEMORY, "%s: does not unpack into %zu bytes", type->name, need_bytes);
    assert((uint8_t *)message == arena->data);
    steal(&arena);
    *ret_message = message;
    return WIRE_OK;
}

void wire_free(ProtobufCMessage *message)
{
    if (message)
        free((uint8_t *)message - offsetof(struct wire_arena, data));
}
