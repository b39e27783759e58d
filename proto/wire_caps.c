/* wire_caps.c - the cap table.  See wire_caps.h.
 *
 * Each cap is what an honest peer could need, rounded up; the arena limit of wire.h bounds their product.
 * Text that the broker shows or logs is short; text that a model reads is bounded by what a context can hold.
 */
#include "wire_caps.h"

#include <string.h>

#include "engine.pb-c.h"
#include "ledger.pb-c.h"
#include "qwend.pb-c.h"
#include "wire.h"

enum {
    CAP_ID = 16,     /* request_id, boot_id */
    CAP_DIGEST = 32, /* SHA-256 */
    CAP_WORD = 32,   /* a role, a backend, an instruction set, a type name */
    CAP_NAME = 128,  /* a program, a class, a model, a key */
    CAP_PATH = 4096, /* PATH_MAX */
    CAP_LINE = 512,  /* one line for people: a struct fault holds 500 */
    CAP_FILE = 255,  /* NAME_MAX */
    CAP_STOP = 256,  /* a stop string; the engine holds back as much text per stream */
    CAP_STOPS = 16,  /* what HTTP clients are promised */
    CAP_WARNINGS = 8,
    CAP_DETAILS = 16,
    CAP_CAPABILITIES = 32,
    CAP_FRAME = 1 << 20,  /* what fits a frame of the client socket */
    CAP_PROMPT = 8 << 20, /* a prompt body: 1 M tokens of 8 bytes, or 2 M of Qwen's usual 4 */
    CAP_TOKENS = 1 << 20, /* ids: the longest context that Qwen 3.5 is extended to, 1 M tokens */
    CAP_MESSAGES = 4096,  /* turns of a chat */
    CAP_TOOLS = 256,
    CAP_EXTRAS = 256, /* files beside the one with the gap: an editor's open buffers */
    CAP_TOOL_BYTES = 256 << 10,
    CAP_TOOL_CALLS = 128,  /* of one turn */
    CAP_BIASES = 512,      /* with protobuf-c's bookkeeping 56 KiB, so always within the arena's base */
    CAP_TOKEN_TEXT = 1024, /* a token's own bytes: runs of blanks or rules reach a few hundred */
    CAP_TOP = 20,          /* SAMPLE_TOP_MAX */
    CAP_LOGPROBS = 32,     /* tokens of one Delta: with 20 alternatives each within the arena */
    CAP_DELTA_IDS = 4096,
    CAP_SCORES = 65536, /* tokens of a Score: its reply takes half a frame */
    CAP_PIECES = 256,
    CAP_PIECE = 64 << 10,
    CAP_PUBLICS = 16,
    CAP_REQUESTS = 4096,       /* listed at a time */
    CAP_SAMPLE_REQUESTS = 128, /* more than a terminal shows */
    CAP_READING = 128,         /* two of each slot */
};

static const struct wire_table {
    const ProtobufCMessageDescriptor *type;
    struct wire_cap caps[9]; /* the largest has 8 and its end */
} wire_table[] = {
    /* connection */
    {&qwp__hello__descriptor, {{"client", 0, CAP_NAME}, {"capabilities", CAP_CAPABILITIES, 64}}},
    {&qwp__model__descriptor,
     {{"name", 0, CAP_FILE},
      {"architecture", 0, CAP_WORD},
      {"file", 0, CAP_FILE},
      {"quantisation", 0, CAP_NAME},
      {"numerics_id", 0, CAP_NAME},
      {"digest", 0, CAP_DIGEST}}},
    {&qwp__welcome__descriptor,
     {{"server", 0, CAP_NAME},
      {"uid_class", 0, CAP_NAME},
      {"backend", 0, CAP_WORD},
      {"boot_id", 0, CAP_ID},
      {"capabilities", CAP_CAPABILITIES, 64}}},
    {&qwp__detail__descriptor, {{"key", 0, CAP_NAME}, {"value", 0, CAP_LINE}}},
    {&qwp__error__descriptor, {{"text", 0, CAP_LINE}, {"details", CAP_DETAILS, 0}}},
    {&qwp__event__descriptor, {{"text", 0, CAP_LINE}}},
    /* generation */
    {&qwp__sampling__descriptor, {{"logit_bias", CAP_BIASES, 0}}},
    {&qwp__generate__descriptor,
     {{"request_id", 0, CAP_ID},
      {"body", 0, CAP_FRAME},
      {"stop", CAP_STOPS, CAP_STOP},
      {"account", 0, CAP_NAME}}},
    {&qwp__body__descriptor, {{"data", 0, CAP_FRAME}}},
    {&qwp__tool_call__descriptor, {{"name", 0, CAP_NAME}, {"arguments", 0, CAP_FRAME}}},
    {&qwp__message__descriptor,
     {{"role", 0, CAP_WORD},
      {"content", 0, CAP_PROMPT},
      {"reasoning", 0, CAP_PROMPT},
      {"tool_calls", CAP_TOOL_CALLS, 0}}},
    {&qwp__token_ids__descriptor, {{"id", CAP_TOKENS, 0}}},
    {&qwp__fim_extra__descriptor, {{"name", 0, CAP_PATH}, {"text", 0, CAP_PROMPT}}},
    {&qwp__fim__descriptor,
     {{"prefix", 0, CAP_PROMPT},
      {"suffix", 0, CAP_PROMPT},
      {"extra", CAP_EXTRAS, 0},
      {"repo", 0, CAP_FILE},
      {"file", 0, CAP_PATH}}},
    {&qwp__prompt__descriptor,
     {{"messages", CAP_MESSAGES, 0},
      {"tools", CAP_TOOLS, CAP_TOOL_BYTES},
      {"raw", 0, CAP_PROMPT},
      {"continuation", 0, CAP_PROMPT}}},
    {&qwp__accepted__descriptor, {{"request_id", 0, CAP_ID}}},
    {&qwp__token_logprob__descriptor, {{"text", 0, CAP_TOKEN_TEXT}, {"top", CAP_TOP, 0}}},
    {&qwp__token_logprob1__descriptor, {{"text", 0, CAP_TOKEN_TEXT}}},
    {&qwp__delta__descriptor,
     {{"text", 0, CAP_FRAME}, {"ids", CAP_DELTA_IDS, 0}, {"logprobs", CAP_LOGPROBS, 0}}},
    {&qwp__usage__descriptor,
     {{"stop", 0, CAP_STOP},
      {"backend", 0, CAP_WORD},
      {"request_id", 0, CAP_ID},
      {"warnings", CAP_WARNINGS, CAP_LINE}}},
    {&qwp__cancel__descriptor, {{"request_id", 0, CAP_ID}}},
    {&qwp__attach__descriptor, {{"request_id", 0, CAP_ID}}},
    /* text */
    {&qwp__tokenize__descriptor, {{"text", 0, CAP_PROMPT}}},
    {&qwp__tokens__descriptor, {{"ids", CAP_TOKENS, 0}}},
    {&qwp__detokenize__descriptor, {{"ids", CAP_TOKENS, 0}}},
    {&qwp__text__descriptor, {{"text", 0, CAP_PROMPT}}},
    {&qwp__render__descriptor, {{"body", 0, CAP_PROMPT}}},
    {&qwp__score__descriptor, {{"request_id", 0, CAP_ID}, {"body", 0, CAP_FRAME}, {"account", 0, CAP_NAME}}},
    {&qwp__score_reply__descriptor, {{"ids", CAP_SCORES, 0}, {"logprobs", CAP_SCORES, 0}}},
    /* looking at the service */
    {&qwp__status_reply__descriptor,
     {{"server", 0, CAP_NAME},
      {"backend", 0, CAP_WORD},
      {"isa", 0, CAP_WORD},
      {"note", 0, CAP_LINE},
      {"kv_type", 0, CAP_WORD},
      {"publics", CAP_PUBLICS, 0},
      {"use_path", 0, CAP_PATH},
      {"model_path", 0, CAP_PATH}}},
    {&qwp__public_prefix__descriptor, {{"name", 0, CAP_WORD}, {"text", 0, CAP_LINE}}},
    {&qwp__request_info__descriptor, {{"request_id", 0, CAP_ID}, {"client", 0, CAP_NAME}}},
    {&qwp__requests__descriptor, {{"requests", CAP_REQUESTS, 0}}},
    {&qwp__sample__descriptor, {{"list", CAP_SAMPLE_REQUESTS, 0}}},
    {&qwp__done__descriptor, {{"text", 0, CAP_LINE}}},
    {&qwp__use__descriptor, {{"model_path", 0, CAP_PATH}}},
    {&qwp__used__descriptor, {{"text", 0, CAP_LINE}}},
    {&qwp__served__descriptor, {{"backend", 0, CAP_WORD}}},
    /* broker -> engine */
    {&qwe__start__descriptor,
     {{"model_path", 0, CAP_PATH},
      {"backend", 0, CAP_WORD},
      {"isa", 0, CAP_WORD},
      {"kv_type", 0, CAP_WORD},
      {"cache_dir", 0, CAP_PATH},
      {"embedding", 0, CAP_WORD}}},
    {&qwe__submit__descriptor,
     {{"body", 0, CAP_PROMPT}, {"stop", CAP_STOPS, CAP_STOP}, {"forced", CAP_TOKENS, 0}}},
    {&qwe__publish__descriptor, {{"name", 0, CAP_WORD}}},
    {&qwe__weights__descriptor,
     {{"model_path", 0, CAP_PATH},
      {"header_digest", 0, CAP_DIGEST},
      {"model_digest", 0, CAP_DIGEST},
      {"numerics_id", 0, CAP_NAME},
      {"layout", 0, CAP_NAME}}},
    /* engine -> broker */
    {&qwe__ready__descriptor,
     {{"backend", 0, CAP_WORD},
      {"isa", 0, CAP_WORD},
      {"kv_type", 0, CAP_WORD},
      {"note", 0, CAP_LINE},
      {"warnings", CAP_WARNINGS, CAP_LINE}}},
    {&qwe__published__descriptor, {{"text", 0, CAP_LINE}}},
    {&qwe__failed__descriptor, {{"text", 0, CAP_LINE}}},
    {&qwe__piece__descriptor, {{"text", 0, CAP_PIECE}}},
    {&qwe__emit__descriptor,
     {{"ids", CAP_DELTA_IDS, 0},
      {"pieces", CAP_PIECES, 0},
      {"logprobs", CAP_LOGPROBS, 0},
      {"stop", 0, CAP_STOP}}},
    {&qwe__beat__descriptor, {{"reading", CAP_READING, 0}}},
    {&qwe__refused__descriptor, {{"text", 0, CAP_LINE}, {"details", CAP_DETAILS, 0}}},
    /* the broker's journal */
    {&qwl__opened__descriptor,
     {{"request_id", 0, CAP_ID},
      {"uid_class", 0, CAP_NAME},
      {"account", 0, CAP_NAME},
      {"head", 0, CAP_FRAME}}},
    {&qwl__engine__descriptor,
     {{"ready", 0, CAP_FRAME},
      {"unread_bytes", 0, CAP_FRAME},
      {"strays", CAP_REQUESTS, 0},
      {"publics", CAP_REQUESTS, 0}}},
    {&qwl__serving__descriptor,
     {{"model", 0, CAP_FILE},
      {"digest", 0, CAP_DIGEST},
      {"numerics_id", 0, CAP_NAME},
      {"kv_type", 0, CAP_WORD}}},
    {&qwl__used__descriptor, {{"model_path", 0, CAP_PATH}, {"instead_of", 0, CAP_PATH}}},
};

const struct wire_cap *wire_caps_of(const ProtobufCMessageDescriptor *type)
{
    for (size_t i = 0; i < ARRAY_SIZE(wire_table); i++)
        if (wire_table[i].type == type)
            return wire_table[i].caps;
    return NULL;
}

const struct wire_cap *wire_cap_find(const struct wire_cap *caps, const ProtobufCFieldDescriptor *field)
{
    for (; caps && caps->field; caps++)
        if (!strcmp(caps->field, field->name))
            return caps;
    return NULL;
}

const ProtobufCMessageDescriptor *wire_caps_type(size_t i)
{
    return i < ARRAY_SIZE(wire_table) ? wire_table[i].type : NULL;
}

/* Depth is bounded as in the walk, so a type that contains itself ends too. */
static bool wire_has_caps_at(const ProtobufCMessageDescriptor *type, int depth, const char **ret_missing)
{
    const struct wire_cap *caps = wire_caps_of(type);

    if (type->n_fields > WIRE_FIELDS_MAX || depth > WIRE_DEPTH_MAX) {
        *ret_missing = type->name;
        return false;
    }
    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        const struct wire_cap *cap = wire_cap_find(caps, field);
        const bool repeated = field->label == PROTOBUF_C_LABEL_REPEATED;
        const bool sized = field->type == PROTOBUF_C_TYPE_STRING || field->type == PROTOBUF_C_TYPE_BYTES;

        if ((repeated && !(cap && cap->max_count)) || (sized && !(cap && cap->max_bytes)) ||
            (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)) { /* not a cap, but the walk does not know oneof */
            *ret_missing = field->name;
            return false;
        }
        if (field->type == PROTOBUF_C_TYPE_MESSAGE &&
            !wire_has_caps_at(field->descriptor, depth + 1, ret_missing))
            return false;
    }
    return true;
}

bool wire_has_caps(const ProtobufCMessageDescriptor *type, const char **ret_missing)
{
    return wire_has_caps_at(type, 1, ret_missing);
}
