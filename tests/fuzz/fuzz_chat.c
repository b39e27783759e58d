/* fuzz_chat.c - libFuzzer target: conversations through the template, and JSON text through jtext.
 *
 * A line "user", "assistant", "tool" or "system" opens a turn; other lines are its content, but one that
 * starts with '{' is a tool's description before the first turn and a call of "f" behind it.  What must hold:
 * a rendered text is UTF-8; its plain ranges ascend inside it; tokenised, it has as many turns opened as
 * there are markers outside the plain ranges.  The input as a whole is also read as JSON: what passes must
 * print as JSON that prints the same again, and no member may have a name twice. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "daemon/model/chat.h"
#include "daemon/model/jtext.h"
#include "daemon/model/unicode.h"
#include "daemon/model/utf8.h"
#include "fuzz_vocab.h"

enum { FUZZ_TURNS = 32, FUZZ_JSON = 32 };

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static struct tokenizer *fuzz_tokenizer;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    fuzz_tokenizer = fuzz_vocab();
    return 0;
}

/* JSON */

static int fuzz_put(void *user, const char *s, size_t n)
{
    return unicode_text_append(user, s, n);
}

static void fuzz_check_members(struct jtext object)
{
    struct jtext_member *members;
    size_t n;

    assert(!jtext_members(object, &members, &n));
    for (size_t i = 0; i < n; i++) {
        _cleanup_(freep) char *name = malloc(members[i].key.n + 1);
        struct jtext found;

        assert(name);
        name[jtext_decode(members[i].key, name)] = '\0';
        if (n < 100 && strlen(name) < 20) /* jtext_find() walks all members, and takes names without NUL */
            assert(jtext_find(object, name, &found));
    }
    free(members);
}

static void fuzz_json(const char *s, size_t n)
{
    struct unicode_text once = {0}, twice = {0}, str = {0};
    struct fault fault = {0};
    struct jtext value;

    if (jtext_check(s, n, &fault, &value)) {
        assert(fault.text[0]);
        return;
    }
    if (jtext_kind(value) == JTEXT_OBJECT)
        fuzz_check_members(value);
    assert(!jtext_print(value, fuzz_put, &once) && !jtext_print_str(value, fuzz_put, &str));
    if (!memmem(once.s, once.n, "Infinity", 8)) { /* Python's spelling of 1e999, which is not JSON */
        assert(!jtext_check(once.s, once.n, &fault, &value));
        assert(!jtext_print(value, fuzz_put, &twice));
        assert(once.n == twice.n && !memcmp(once.s, twice.s, once.n));
    }
    unicode_text_deinit(&once);
    unicode_text_deinit(&twice);
    unicode_text_deinit(&str);
}

/* conversations */

struct fuzz_chat {
    struct chat_message messages[FUZZ_TURNS];
    struct chat_call calls[FUZZ_JSON];
    struct chat_str tools[FUZZ_JSON];
    size_t n_messages, n_calls, n_tools;
};

static bool fuzz_is_role(struct chat_str line)
{
    static const char *const roles[] = {"system", "user", "assistant", "tool"};

    for (size_t i = 0; i < ARRAY_SIZE(roles); i++)
        if (line.n == strlen(roles[i]) && !memcmp(line.s, roles[i], line.n))
            return true;
    return false;
}

static void fuzz_add_line(struct fuzz_chat *f, struct chat_str line)
{
    struct chat_message *m = f->n_messages ? &f->messages[f->n_messages - 1] : NULL;
    const bool json = line.n && line.s[0] == '{';

    if (fuzz_is_role(line) && f->n_messages < FUZZ_TURNS) {
        f->messages[f->n_messages++] = (struct chat_message){.role = line};
    } else if (!m && json && f->n_tools < FUZZ_JSON) {
        f->tools[f->n_tools++] = line;
    } else if (m && json && f->n_calls < FUZZ_JSON) {
        if (!m->calls)
            m->calls = &f->calls[f->n_calls];
        f->calls[f->n_calls++] = (struct chat_call){{"f", 1}, line};
        m->n_calls++;
    } else if (m) {
        m->content.s = m->content.s ? m->content.s : line.s;
        m->content.n = (size_t)(line.s + line.n - m->content.s);
    }
}

static void fuzz_parse(struct fuzz_chat *f, const char *s, size_t n)
{
    for (const char *end = s + n, *stop; s < end; s = stop + 1) {
        stop = memchr(s, '\n', (size_t)(end - s));
        stop = stop ? stop : end;
        fuzz_add_line(f, (struct chat_str){s, (size_t)(stop - s)});
    }
}

/* How many of the template's own "<|im_start|>" there are. */
static size_t fuzz_count_turns(const struct chat_text *text)
{
    static const char marker[] = "<|im_start|>";
    size_t n = 0;

    for (size_t i = 0, k = 0; i + sizeof(marker) - 1 <= text->n; i++) {
        while (k < text->n_plain && text->plain[k].end <= i)
            k++;
        if (k < text->n_plain && text->plain[k].begin < i + sizeof(marker) - 1)
            continue;
        n += !memcmp(text->text + i, marker, sizeof(marker) - 1);
    }
    return n;
}

static void fuzz_check_text(const struct chat_text *text)
{
    _cleanup_(token_ids_deinit) struct token_ids ids = TOKEN_IDS_INIT;
    const int32_t start = tokenizer_find(fuzz_tokenizer, "<|im_start|>");
    size_t n = 0;

    assert(utf8_valid_prefix(text->text, text->n) == text->n);
    for (size_t i = 0; i < text->n_plain; i++)
        assert(text->plain[i].begin < text->plain[i].end && text->plain[i].end <= text->n &&
               (!i || text->plain[i].begin > text->plain[i - 1].end));
    assert(!tokenizer_encode(fuzz_tokenizer, text->text, text->n, TOKENIZER_ALL, text->plain, text->n_plain,
                             NULL, &ids));
    for (size_t i = 0; i < ids.n; i++)
        n += ids.id[i] == start;
    assert(n == fuzz_count_turns(text));
}

static void fuzz_render(const struct fuzz_chat *f)
{
    _cleanup_(chat_text_deinit) struct chat_text text = CHAT_TEXT_INIT, cut = CHAT_TEXT_INIT;
    const struct chat chat = {f->messages, f->n_messages, f->tools, f->n_tools, f->n_messages % 2, true};
    struct fault fault = {0};
    int r = chat_render(&chat, &fault, &text);

    if (r) {
        assert(r == CHAT_E_TEMPLATE && fault.text[0] && !text.text);
        return;
    }
    fuzz_check_text(&text);
    cut.max = text.n - 1;
    assert(chat_render(&chat, &fault, &cut) == CHAT_E_FULL && !cut.text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    _cleanup_(freep) char *exact = malloc(n + !n); /* so that reading one byte too far is seen */
    struct fuzz_chat f = {.n_messages = 0};

    assert(exact);
    if (n)
        memcpy(exact, data, n);
    fuzz_json(exact, n);
    fuzz_parse(&f, exact, n);
    fuzz_render(&f);
    return 0;
}
