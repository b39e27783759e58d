/* render.c - verb render: a conversation as the chat template writes it. */
#include "convo.h"
#include "text.h"

#include <string.h>

static bool render_flag(struct jtext object, const char *key, bool absent)
{
    struct jtext value;

    if (!jtext_find(object, key, &value))
        return absent;
    return absent ? jtext_kind(value) != JTEXT_FALSE : jtext_kind(value) == JTEXT_TRUE;
}

static int render_line(void *user, size_t line_no, struct jtext object)
{
    _cleanup_(convo_deinit) struct convo convo = {0};
    _cleanup_(chat_text_deinit) struct chat_text text = CHAT_TEXT_INIT;
    struct fault fault = {0};
    int r = convo_read(object, &fault, &convo);

    if (r)
        return probe_error("line %zu: %s", line_no, r < 0 ? "no memory" : fault.text);
    convo.chat.thinking = render_flag(object, "enable_thinking", true);
    convo.chat.generation_prompt = render_flag(object, "add_generation_prompt", false);
    r = chat_render(&convo.chat, &fault, &text);
    if (r && r != CHAT_E_TEMPLATE)
        return probe_fault("render", r, &fault);
    if (r)
        text_print_member("error", fault.text, strlen(fault.text));
    else
        text_print_member("text", text.text, text.n);
    return 0;
}

/* The template is part of this program; the model is opened to see that it is one. */
static int render_run(const struct probe_verb *verb, int argc, char **argv)
{
    _cleanup_(tokenizer_freep) struct tokenizer *tokenizer = NULL;
    const char *path;
    int r = probe_parse(verb, argc, argv, NULL, 0, &path);

    if (!r)
        r = text_open(path, &tokenizer);
    return r ? r : text_each_line(render_line, NULL);
}

const struct probe_verb probe_render = {
    .name = "render",
    .args = "MODEL",
    .help = "{\"messages\":[...],\"tools\":[...],\"enable_thinking\":bool,\"add_generation_prompt\":bool} "
            "per line to "
            "{\"text\":...} or {\"error\":...} per line",
    .run = render_run,
};
