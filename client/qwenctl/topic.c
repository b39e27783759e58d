/* topic.c - help by topic.  See topic.h. */
#include "topic.h"

#include <string.h>

#include "code.h"
#include "conf.h"
#include "opt.h"

static void topic_put_codes(FILE *out)
{
    const struct code_entry *codes;
    size_t n;

    fputs("1 is an answer, 2 and above are faults. The numbers never change.\n\n", out);
    codes = code_table(&n);
    for (size_t i = 0; i < n; i++)
        fprintf(out, "  %-4d %s\n", codes[i].code, codes[i].meaning);
}

static void topic_put_environment(FILE *out)
{
    fputs("  QWEND_SOCKET      where the daemon listens; --socket goes first\n"
          "  NO_COLOR          not empty: no colours, unless --color=always\n"
          "  TERM              dumb or empty: no colours, no cursor movement\n"
          "  XDG_STATE_HOME    qwend/chat_history below it keeps what was typed into chat,\n"
          "                    qwend/sessions what has a name (by default ~/.local/state)\n"
          "  XDG_DATA_HOME     qwend/models below it (by default ~/.local/share)\n"
          "  VISUAL, EDITOR    for qwenctl template edit\n"
          "  QWENCTL_...       options, and QWENCTL_PROFILE: see qwenctl help settings\n"
          "  XDG_CONFIG_HOME   qwend/qwenctl.conf, qwend/templates (by default ~/.config)\n"
          "  PATH              qwenctl-NAME there is run by `qwenctl NAME`\n",
          out);
}

static void topic_put_events(FILE *out)
{
    fputs("--ndjson prints a line for each event, --json one object at the end: the end\n"
          "event with \"text\" and \"thinking\", or the error. Readers must skip events and\n"
          "keys that they do not know.\n\n"
          "  {\"e\":\"start\",\"id\",\"model\",\"seed\"}        sent; seed is a string, if given\n"
          "  {\"e\":\"queue\",\"pos\"}                      waits; load_permille while loading\n"
          "  {\"e\":\"read\",\"prompt\",\"cached\"}           its turn; tokens\n"
          "  {\"e\":\"progress\",\"prompt\",\"read\"}         of a long prompt, about once a second\n"
          "  {\"e\":\"think\",\"t\"}                        reasoning\n"
          "  {\"e\":\"text\",\"t\"}                         answer; logprobs with --logprobs\n"
          "  {\"e\":\"tool\",\"t\"}                         a tool call as the model wrote it\n"
          "  {\"e\":\"restart\"}                          the engine died; it goes on\n"
          "  {\"e\":\"preempt\"}                          an interactive request goes first\n"
          "  {\"e\":\"resume\",\"from_token\"}              goes on behind that token\n"
          "  {\"e\":\"end\",\"id\",\"finish\",\"usage\",\"timing\",\"seed\",\"backend\",\"warnings\", ...}\n"
          "  {\"e\":\"error\",\"code\",\"name\",\"msg\",\"retry_after_ms\",\"details\"}\n\n"
          "finish is stop, length, tool, cancel or deadline; usage has the tokens prompt,\n"
          "cached, think and output; timing has queue_ms, prefill_ms, decode_ms, ttft_ms\n"
          "and tok_s.\n",
          out);
}

static void topic_put_settings(FILE *out)
{
    const struct opt *options;
    size_t n;

    fputs("Defaults for options, from what goes first: the command line; the environment\n"
          "(QWENCTL_ and the key in capitals, QWENCTL_MAX_TOKENS); [profile NAME], if\n"
          "--profile, QWENCTL_PROFILE or the key profile names one; the user's file; the\n"
          "machine's file. An unknown key or a bad value is an error with file and line.\n\n"
          "  $XDG_CONFIG_HOME/qwend/qwenctl.conf     (by default ~/.config)\n"
          "  " QWENCTL_SYSCONF "/qwenctl.conf\n\n"
          "  # a comment\n"
          "  max-tokens = 500\n"
          "  [profile quick]\n"
          "  think = off\n\n"
          "Flags are yes or no. A key holds for the verbs that have the option. Keys:\n\n",
          out);
    options = opt_table(&n);
    for (size_t i = 0; i < n; i++)
        if (options[i].conf)
            fprintf(out, "  %-18s %s\n", options[i].name, options[i].help);
}

static const struct topic topics[] = {
    {"settings", "Files and variables with defaults for options", topic_put_settings},
    {"exit-codes", "What qwenctl ends with", topic_put_codes},
    {"environment", "Variables that it reads", topic_put_environment},
    {"events", "The lines of --ndjson, the object of --json", topic_put_events},
};

const struct topic *topic_table(size_t *ret_n)
{
    *ret_n = ARRAY_SIZE(topics);
    return topics;
}

const struct topic *topic_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(topics); i++)
        if (!strcmp(topics[i].name, name))
            return &topics[i];
    return NULL;
}
