/* fuzz_frame.c - libFuzzer target: the bytes of a connection through the frame reader and the wire check.
 *
 * An input is a byte stream as a peer could send it, with or without the preface.  It is read twice, whole
 * and in small pieces, and both must give the same frames.  Each body goes through the wire check as the
 * message of its frame type; what passes must unpack, pack again, and unpack from what was packed.  Prompt
 * bodies, opaque to the broker, are read as the engine would read them.  The mutator builds most inputs from
 * the descriptors, since random bytes never get past the header; at the end the shares that got past each
 * check are printed, and too small a share fails the run. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "gen.h"
#include "proto/frame.h"
#include "proto/wire.h"
#include "qwend.pb-c.h"

enum {
    FUZZ_FRAME_PERCENT = 30, /* of inputs: at least one frame passes the frame check */
    FUZZ_WIRE_PERCENT = 10,  /* of inputs: at least one body passes the wire check */
    FUZZ_RATE_FROM = 1000,   /* fewer runs than this say nothing about shares */
    FUZZ_STREAM_MAX = 1 << 20,
};

size_t LLVMFuzzerMutate(uint8_t *data, size_t n, size_t n_max);
int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t n_max, unsigned seed);

static struct {
    uint64_t inputs, inputs_framed, inputs_wired, frames, messages;
} fuzz_count;

/* At exit: _Exit() because this is an exit handler. */
static void fuzz_report(void)
{
    fprintf(stderr,
            "fuzz_frame: %llu inputs, %llu frames, %llu messages; %llu %% of inputs pass the frame check, "
            "%llu %% the wire check\n",
            (unsigned long long)fuzz_count.inputs, (unsigned long long)fuzz_count.frames,
            (unsigned long long)fuzz_count.messages,
            (unsigned long long)(100 * fuzz_count.inputs_framed / MAX(fuzz_count.inputs, 1u)),
            (unsigned long long)(100 * fuzz_count.inputs_wired / MAX(fuzz_count.inputs, 1u)));
    if (fuzz_count.inputs < FUZZ_RATE_FROM)
        return;
    if (100 * fuzz_count.inputs_framed < FUZZ_FRAME_PERCENT * fuzz_count.inputs ||
        100 * fuzz_count.inputs_wired < FUZZ_WIRE_PERCENT * fuzz_count.inputs) {
        fprintf(stderr, "fuzz_frame: too few inputs get past the checks: the mutator needs work\n");
        _Exit(1);
    }
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    atexit(fuzz_report);
    return 0;
}

/* What was unpacked, packed again: must pass too.  Only the memory limit may differ, because long forms of
 * numbers shrink and the limit goes by the body's length. */
static void fuzz_repack(const ProtobufCMessage *message)
{
    size_t n = protobuf_c_message_get_packed_size(message);
    ProtobufCMessage *again = NULL;
    uint8_t *packed = malloc(n + 1);
    int r;

    assert(packed);
    assert(protobuf_c_message_pack(message, packed) == n);
    r = wire_unpack(message->descriptor, packed, n, NULL, &again);
    assert(r == WIRE_OK || r == WIRE_E_MEMORY);
    if (again)
        assert(protobuf_c_message_get_packed_size(again) == n);
    wire_free(again);
    free(packed);
}

static bool fuzz_message(const ProtobufCMessageDescriptor *type, const uint8_t *body, size_t n)
{
    ProtobufCMessage *message = NULL;
    struct fault fault = {0};
    size_t need = 0;
    int checked = wire_measure(type, body, n, &fault, &need), unpacked;

    assert(checked >= 0);
    assert(!checked == !fault.text[0]);
    assert(checked || need <= WIRE_ARENA_FACTOR * n + WIRE_ARENA_BASE_BYTES);
    unpacked = wire_unpack(type, body, n, NULL, &message);
    assert(unpacked == checked);
    if (!message)
        return false;
    fuzz_count.messages++;
    fuzz_repack(message);
    if (type == &qwp__generate__descriptor)
        fuzz_message(&qwp__prompt__descriptor, ((Qwp__Generate *)message)->body.data,
                     ((Qwp__Generate *)message)->body.len);
    else if (type == &qwp__body__descriptor)
        fuzz_message(&qwp__prompt__descriptor, ((Qwp__Body *)message)->data.data,
                     ((Qwp__Body *)message)->data.len);
    wire_free(message);
    return true;
}

/* FNV-1a over everything the reader said. */
static uint64_t fuzz_hash(uint64_t hash, const void *data, size_t n)
{
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ ((const uint8_t *)data)[i]) * 0x100000001b3u;
    return hash;
}

struct fuzz_reader {
    struct buf in;
    bool preface_done;
    int state; /* what ended it: FRAME_E_AGAIN while more could come */
    uint64_t hash;
};

static void fuzz_reader_run(struct fuzz_reader *reader, bool with_messages, bool *framed, bool *wired)
{
    struct frame frame;

    if (!reader->preface_done) {
        reader->state = frame_preface_next(&reader->in);
        if (reader->state)
            return;
        reader->preface_done = true;
    }
    while (!(reader->state = frame_next(&reader->in, FRAME_MAX_BYTES, &frame))) {
        const ProtobufCMessageDescriptor *type = wire_message_type(frame.type);
        const uint32_t head[] = {frame.length, frame.stream, frame.type, frame.flags};

        reader->hash = fuzz_hash(fuzz_hash(reader->hash, head, sizeof(head)), frame.body, frame.length);
        *framed = true;
        if (with_messages) {
            fuzz_count.frames++;
            *wired |= type && fuzz_message(type, frame.body, frame.length);
        }
        frame_consume(&reader->in, &frame);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const bool has_preface = n && data[0] == FRAME_PREFACE[0];
    struct fuzz_reader whole = {BUF_INIT(FUZZ_STREAM_MAX), !has_preface, FRAME_E_AGAIN, 0},
                       pieces = {BUF_INIT(FUZZ_STREAM_MAX), !has_preface, FRAME_E_AGAIN, 0};
    struct gen gen = {n};
    bool framed = false, wired = false;

    if (n > FUZZ_STREAM_MAX)
        return 0;
    assert(!buf_append(&whole.in, data, n));
    fuzz_reader_run(&whole, true, &framed, &wired);
    for (size_t at = 0, step; at < n && pieces.state == FRAME_E_AGAIN; at += step) {
        step = 1 + gen_below(&gen, 40);
        step = MIN(step, n - at);
        assert(!buf_append(&pieces.in, data + at, step));
        fuzz_reader_run(&pieces, false, &framed, &wired);
    }
    assert(whole.hash == pieces.hash && whole.state == pieces.state);
    buf_deinit(&whole.in);
    buf_deinit(&pieces.in);
    fuzz_count.inputs++;
    fuzz_count.inputs_framed += framed;
    fuzz_count.inputs_wired += wired;
    return 0;
}

/* mutator */

/* The body of a frame of this type: valid, or valid and then spoiled by a field or by bytes. */
static void fuzz_build_body(struct gen *gen, uint16_t type, struct buf *out)
{
    const ProtobufCMessageDescriptor *message = wire_message_type(type);
    struct buf prompt = BUF_INIT(FUZZ_STREAM_MAX);
    size_t n;

    if (type == MSG_BODY) { /* its one field is a Prompt */
        gen_message(gen, &qwp__prompt__descriptor, &prompt);
        if (!gen_below(gen, 4))
            gen_hostile_field(gen, &qwp__prompt__descriptor, &prompt);
        gen_tag(out, 1, PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED);
        gen_varint(out, buf_size(&prompt));
        assert(!buf_append(out, buf_head(&prompt), buf_size(&prompt)));
    } else if (message) {
        gen_message(gen, message, out);
        if (!gen_below(gen, 3))
            gen_hostile_field(gen, message, out);
    }
    buf_deinit(&prompt);
    n = buf_size(out);
    if (n && !gen_below(gen, 3)) {
        gen_damage(gen, buf_head(out), &n);
        out->len = out->pos + n;
    }
}

static size_t fuzz_build(struct gen *gen, uint8_t *data, size_t n_max)
{
    struct buf out = BUF_INIT(FUZZ_STREAM_MAX);
    size_t n;

    if (gen_below(gen, 2))
        assert(!frame_preface_put(&out));
    for (uint32_t k = 1 + gen_below(gen, 3); k; k--) {
        struct buf body = BUF_INIT(FUZZ_STREAM_MAX);
        uint16_t type = gen_types[gen_below(gen, GEN_N_TYPES)];

        if (!gen_below(gen, 16))
            type = (uint16_t)gen_u64(gen);
        fuzz_build_body(gen, type, &body);
        assert(!frame_put(&out, gen_below(gen, 8), type,
                          (uint16_t)gen_below(gen, gen_below(gen, 16) ? 8 : 16), buf_head(&body),
                          buf_size(&body)));
        buf_deinit(&body);
    }
    n = MIN(buf_size(&out), n_max);
    memcpy(data, buf_head(&out), n);
    if (!gen_below(gen, 16))
        gen_damage(gen, data, &n);
    buf_deinit(&out);
    return n;
}

/* The first frame's body, mutated by libFuzzer, under a header that says its new length. */
static size_t fuzz_mutate_body(uint8_t *data, size_t n, size_t n_max)
{
    size_t head = FRAME_HEADER_BYTES + (n && data[0] == FRAME_PREFACE[0] ? FRAME_PREFACE_BYTES : 0), n_body;

    if (n <= head || n_max <= head)
        return LLVMFuzzerMutate(data, n, n_max);
    n_body = LLVMFuzzerMutate(data + head, n - head, n_max - head);
    for (int i = 0; i < 4; i++)
        data[head - FRAME_HEADER_BYTES + i] = (uint8_t)(n_body >> 8 * i);
    return head + n_body;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t n_max, unsigned seed)
{
    struct gen gen = {seed};

    switch (gen_below(&gen, 8)) {
    case 0:
        return LLVMFuzzerMutate(data, n, n_max);
    case 1:
    case 2:
        return fuzz_mutate_body(data, n, n_max);
    default:
        return fuzz_build(&gen, data, n_max);
    }
}
