/* golden_text.h - the golden tokenizer files, for the tests of the text parts.  Include after cmocka.h. */
#pragma once

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "daemon/model/tokenizer.h"

static inline struct tokenizer *golden_tokenizer(const char *golden, const char *vocab)
{
    _cleanup_(gguf_freep) struct gguf *gguf = NULL;
    struct tokenizer *t = NULL;
    struct fault fault = {0};
    char path[4096];

    snprintf(path, sizeof(path), "%s/tokenizer/vocab-%s.gguf", golden, vocab);
    if (gguf_open(path, &fault, &gguf) || tokenizer_new(gguf, &fault, &t))
        fail_msg("%s: %s", path, fault.text);
    return t;
}

/* One line of cases-*.jsonl. */
struct golden_case {
    const char *name, *text;
    size_t n_text;
    const json_t *ids[3]; /* by enum tokenizer_special */
    bool nfc_changes;
};

static inline size_t golden_each_case(const char *golden, const char *vocab,
                                      void (*on_case)(const struct tokenizer *t, const struct golden_case *c))
{
    _cleanup_(tokenizer_freep) struct tokenizer *t = golden_tokenizer(golden, vocab);
    _cleanup_(freep) char *line = NULL;
    char path[4096];
    size_t cap = 0, n = 0;
    FILE *f;

    snprintf(path, sizeof(path), "%s/tokenizer/cases-%s.jsonl", golden, vocab);
    f = fopen(path, "r");
    assert_non_null(f);
    for (; getline(&line, &cap, f) > 0; n++) {
        json_t *o = json_loads(line, JSON_ALLOW_NUL, NULL);
        const json_t *text = json_object_get(o, "text"), *all = json_object_get(o, "ids");
        const json_t *user = json_object_get(o, "ids_user"), *none = json_object_get(o, "ids_none");
        const struct golden_case c = {
            .name = json_string_value(json_object_get(o, "id")),
            .text = json_string_value(text),
            .n_text = json_string_length(text),
            .ids = {[TOKENIZER_ALL] = all,
                    [TOKENIZER_USER] = user ? user : all,
                    [TOKENIZER_NONE] = none ? none : all},
            .nfc_changes = json_is_true(json_object_get(o, "nfc_changes")),
        };

        assert_non_null(c.text);
        on_case(t, &c);
        json_decref(o);
    }
    fclose(f);
    return n;
}

static inline void golden_check_ids(const char *name, const struct token_ids *got, const json_t *want)
{
    for (size_t i = 0; i < MAX(got->n, json_array_size(want)); i++) {
        json_int_t id = json_integer_value(json_array_get(want, i));

        if (i >= got->n || i >= json_array_size(want) || got->id[i] != id)
            fail_msg("%s: %zu ids, should be %zu; place %zu is %d, should be %d", name, got->n,
                     json_array_size(want), i, i < got->n ? got->id[i] : -1,
                     i < json_array_size(want) ? (int)id : -1);
    }
}
