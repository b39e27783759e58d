/* upstream_parse.c - see upstream_parse.h.  Nothing is taken for granted: what is missing or of another type
 * is absent. */
#include "upstream_parse.h"

#include <string.h>

#include "jin.h"

static uint32_t chunk_count(const json_t *object, const char *key)
{
    const json_int_t n = json_integer_value(json_object_get(object, key));

    return n < 0 || n > INT32_MAX ? 0 : (uint32_t)n;
}

static void chunk_text(const json_t *delta, const char *key, const char **text, size_t *n)
{
    const json_t *value = json_object_get(delta, key);

    if (!json_is_string(value))
        return;
    *text = json_string_value(value);
    *n = json_string_length(value);
}

static qwend_finish chunk_finish(const json_t *reason)
{
    if (!json_is_string(reason))
        return 0;
    return strcmp(json_string_value(reason), "length") ? QWEND_FINISH_STOP : QWEND_FINISH_LENGTH;
}

static void chunk_usage(const json_t *usage, struct chunk *chunk)
{
    const uint32_t written = chunk_count(usage, "completion_tokens");

    chunk->has_usage = true;
    chunk->prompt_tokens = chunk_count(usage, "prompt_tokens");
    chunk->cached_tokens = chunk_count(json_object_get(usage, "prompt_tokens_details"), "cached_tokens");
    chunk->reasoning_tokens =
        chunk_count(json_object_get(usage, "completion_tokens_details"), "reasoning_tokens");
    chunk->reasoning_tokens = MIN(chunk->reasoning_tokens, written);
    chunk->answer_tokens = written - chunk->reasoning_tokens;
}

int chunk_parse(const char *text, size_t n, json_t **ret_root, struct chunk *ret_chunk)
{
    struct chunk chunk = {.reasoning = "", .answer = ""};
    const json_t *choice, *delta;
    struct refusal refusal;
    json_t *root;

    if (jin_load(text, n, &root, &refusal))
        return CHUNK_E_INVALID;
    *ret_root = root;
    if (json_is_object(json_object_get(root, "error")))
        return CHUNK_E_ERROR;
    choice = json_array_get(json_object_get(root, "choices"), 0);
    delta = json_object_get(choice, "delta");
    chunk_text(delta, "reasoning", &chunk.reasoning, &chunk.n_reasoning);
    chunk_text(delta, "reasoning_content", &chunk.reasoning,
               &chunk.n_reasoning); /* where both are, they are the same */
    chunk_text(delta, "content", &chunk.answer, &chunk.n_answer);
    chunk.finish = chunk_finish(json_object_get(choice, "finish_reason"));
    if (json_is_object(json_object_get(root, "usage")))
        chunk_usage(json_object_get(root, "usage"), &chunk);
    *ret_chunk = chunk;
    return CHUNK_OK;
}
