/* cmd_help.c - the help: verbs, one verb, a topic, or everything as JSON.  All of it is made of the tables.
 */
#include <string.h>

#include "cmd.h"
#include "guess.h"
#include "json.h"
#include "topic.h"

static void help_indent(FILE *out, const char *lines)
{
    for (size_t n; *lines; lines += n + (lines[n] == '\n')) {
        n = strcspn(lines, "\n");
        fprintf(out, "  %.*s\n", (int)n, lines);
    }
}

static void help_codes(FILE *out, const struct cmd *cmd)
{
    const struct code_entry *table;
    size_t n;

    table = code_table(&n);
    for (size_t i = 0; i < n; i++)
        if (cmd_has_code(cmd, table[i].code))
            fprintf(out, "  %-4d %s\n", table[i].code, table[i].meaning);
}

static void help_verb(FILE *out, const struct cmd *cmd)
{
    fprintf(out, "Usage: qwenctl %s%s%s\n%s.\n", cmd->name, *cmd->args ? " " : "", cmd->args, cmd->summary);
    if (cmd->more)
        fprintf(out, "\n%s", cmd->more);
    if (cmd->examples) {
        fputc('\n', out);
        help_indent(out, cmd->examples);
    }
    if (cmd->verb)
        fputs("\nOptions:\n", out);
    opt_print(out, cmd->verb);
    fputs("\nExit codes:\n", out);
    help_codes(out, cmd);
}

static void help_all(FILE *out)
{
    const struct topic *topics;
    const struct cmd *cmds;
    size_t n, n_topics;

    cmds = cmd_table(&n);
    topics = topic_table(&n_topics);
    fputs("Usage: qwenctl VERB [OPTIONS] [TEXT]\n"
          "       qwenctl \"a question in quotes\"\n"
          "Asks the language model of this machine (qwend).\n\n"
          "  git diff --staged | qwenctl ask \"Write a commit message\"\n"
          "  qwenctl ask -f notes.txt \"What is still open?\" | less\n"
          "  qwenctl chat\n",
          out);
    for (enum cmd_group group = 0; group < CMD_GROUP_N; group++) {
        fprintf(out, "\n%s:\n", cmd_group_title(group));
        for (size_t i = 0; i < n; i++)
            if (cmds[i].group == group)
                fprintf(out, "  %-12s %s\n", cmds[i].name, cmds[i].summary);
    }
    fputs("\nTopics:\n", out);
    for (size_t i = 0; i < n_topics; i++)
        fprintf(out, "  %-12s %s\n", topics[i].name, topics[i].summary);
    fputs("\nqwenctl help VERB lists the options of a verb. Exit codes:\n", out);
    topic_find("exit-codes")->put(out);
}

/* as JSON */

static void help_json_option(struct json *json, const struct opt *opt)
{
    const struct cmd *cmds;
    size_t n;

    cmds = cmd_table(&n);
    json_open(json, NULL, '{');
    json_text(json, "name", opt->name, (size_t)-1);
    if (opt->letter)
        json_text(json, "letter", &opt->letter, 1);
    if (opt->arg)
        json_text(json, "value", opt->arg, (size_t)-1);
    json_bool(json, "value_optional", opt->optional);
    json_text(json, "help", opt->help, (size_t)-1);
    json_open(json, "choices", '[');
    for (int i = 0; opt->choices && opt->choices[i]; i++)
        json_text(json, NULL, opt->choices[i], (size_t)-1);
    json_close(json, ']');
    json_bool(json, "every_verb", opt->verbs == OPT_ANY);
    json_open(json, "verbs", '[');
    for (size_t i = 0; i < n; i++)
        if (cmds[i].verb & opt->verbs)
            json_text(json, NULL, cmds[i].name, (size_t)-1);
    json_close(json, ']');
    json_close(json, '}');
}

static void help_json_verb(struct json *json, const struct cmd *cmd)
{
    const struct code_entry *codes;
    size_t n;

    codes = code_table(&n);
    json_open(json, NULL, '{');
    json_text(json, "name", cmd->name, (size_t)-1);
    json_text(json, "args", cmd->args, (size_t)-1);
    json_text(json, "summary", cmd->summary, (size_t)-1);
    json_text(json, "group", cmd_group_title(cmd->group), (size_t)-1);
    json_bool(json, "passes", cmd->passes);
    json_open(json, "exit_codes", '[');
    for (size_t i = 0; i < n; i++)
        if (cmd_has_code(cmd, codes[i].code))
            json_uint(json, NULL, codes[i].code);
    json_close(json, ']');
    if (cmd->examples)
        json_text(json, "examples", cmd->examples, (size_t)-1);
    json_close(json, '}');
}

static void help_json(FILE *out)
{
    struct json json = {.file = out};
    const struct code_entry *codes;
    const struct topic *topics;
    const struct opt *options;
    const struct cmd *cmds;
    size_t n;

    json_open(&json, NULL, '{');
    json_open(&json, "verbs", '[');
    cmds = cmd_table(&n);
    for (size_t i = 0; i < n; i++)
        help_json_verb(&json, &cmds[i]);
    json_close(&json, ']');
    json_open(&json, "options", '[');
    options = opt_table(&n);
    for (size_t i = 0; i < n; i++)
        help_json_option(&json, &options[i]);
    json_close(&json, ']');
    json_open(&json, "topics", '[');
    topics = topic_table(&n);
    for (size_t i = 0; i < n; i++)
        json_text(&json, NULL, topics[i].name, (size_t)-1);
    json_close(&json, ']');
    json_open(&json, "exit_codes", '{');
    codes = code_table(&n);
    for (size_t i = 0; i < n; i++) {
        char key[12];

        snprintf(key, sizeof(key), "%d", codes[i].code);
        json_text(&json, key, codes[i].meaning, (size_t)-1);
    }
    json_close(&json, '}');
    json_close(&json, '}');
    fputc('\n', out);
}

static enum code help_unknown(const struct cmd_args *args)
{
    const char *word = args->args[0], *best = cmd_guess(word);
    const struct topic *topics;
    size_t n;

    topics = topic_table(&n);
    for (size_t i = 0; i < n; i++)
        guess_offer(word, topics[i].name, &best);
    ui_error(args->ui, "no verb and no topic is called \"%.30s\"%s%s%s", word, best ? ": did you mean " : "",
             best ? best : "", best ? "?" : ": see qwenctl help");
    return CODE_USAGE;
}

enum code cmd_help(const struct cmd_args *args)
{
    const struct topic *topic = args->n ? topic_find(args->args[0]) : NULL;
    const struct cmd *cmd = args->n ? cmd_find(args->args[0]) : NULL;
    struct cmd_page page;
    enum code code;

    if (args->n && !cmd && !topic)
        return help_unknown(args);
    code = cmd_page_open(args, &page);
    if (code)
        return code;
    if (args->values->json)
        help_json(page.file);
    else if (cmd)
        help_verb(page.file, cmd);
    else if (topic)
        topic->put(page.file);
    else
        help_all(page.file);
    return cmd_page_close(args, &page);
}
