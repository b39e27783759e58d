/* man.c - the manual pages.  See man.h. */
#include "man.h"

#include <ctype.h>
#include <string.h>

#include "topic.h"

/* Plain text: what scdoc would take as markup is escaped. */
static void man_text(FILE *out, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (strchr("_*\\<>#`~|[]", text[i]) || (!i && text[i] == '-')) /* a dash would begin a list */
            fputc('\\', out);
        fputc(text[i], out);
    }
}

/* Shown as it stands, but for the backslash, which means something there too. */
static void man_literal(FILE *out, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        fprintf(out, text[i] == '\\' ? "\\\\" : "%c", text[i]);
}

/* Lines that begin with two blanks are shown as they stand, the others flow. */
static void man_lines(FILE *out, const char *lines)
{
    bool literal = false;

    while (*lines) {
        const size_t n = strcspn(lines, "\n");
        const bool indented = !strncmp(lines, "  ", 2);

        if (indented != literal)
            fputs("```\n", out);
        if (indented)
            man_literal(out, lines + 2, n - 2);
        else
            man_text(out, lines, n);
        /* scdoc 1.11.2 loses a dot that begins a line of text */
        fputc(!indented && lines[n] && lines[n + 1] == '.' ? ' ' : '\n', out);
        literal = indented;
        lines += n + (lines[n] == '\n');
    }
    if (literal)
        fputs("```\n", out);
}

/* The first line of scdoc: title, and what stands below and above each page. */
static void man_title(FILE *out, const char *verb)
{
    fputs("QWENCTL", out);
    if (verb)
        fputc('-', out);
    for (; verb && *verb; verb++)
        fputc(toupper((unsigned char)*verb), out);
    fputs("(1) \"qwend " QWEND_VERSION "\" \"Qwen as a service\"\n\n", out);
}

static void man_option(FILE *out, const struct opt *opt)
{
    char left[60];
    const char *at = left;

    opt_spell(opt, left, sizeof(left));
    at += strspn(at, " ");
    fputc('*', out);
    man_text(out, at, strlen(at));
    fputs("*\n\t", out);
    man_text(out, opt->help, strlen(opt->help));
    fputs("\n\n", out);
}

/* Those that only this verb or some others have; cmd NULL: those of every verb. */
static void man_options(FILE *out, const struct cmd *cmd)
{
    const struct opt *options;
    size_t n;

    options = opt_table(&n);
    for (size_t i = 0; i < n; i++)
        if (cmd ? (options[i].verbs & cmd->verb) && options[i].verbs != OPT_ANY : options[i].verbs == OPT_ANY)
            man_option(out, &options[i]);
}

static void man_codes(FILE *out, const struct cmd *cmd)
{
    const struct code_entry *codes;
    size_t n;

    codes = code_table(&n);
    for (size_t i = 0; i < n; i++) {
        if (!cmd_has_code(cmd, codes[i].code))
            continue;
        fprintf(out, "*%d*\n\t", codes[i].code);
        man_text(out, codes[i].meaning, strlen(codes[i].meaning));
        fputs("\n\n", out);
    }
}

/* one verb */

/* "[OPTIONS] [TEXT]...": what stands in capitals stands for something else. */
static void man_args(FILE *out, const char *args)
{
    while (*args) {
        const size_t n = strspn(args, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");

        if (n > 1)
            fprintf(out, "_%.*s_", (int)n, args);
        else
            man_text(out, args, 1);
        args += n > 1 ? n : 1;
    }
}

static void man_verb_options(FILE *out, const struct cmd *cmd)
{
    man_options(out, cmd);
    fputs(cmd->verb
              ? "The options that every verb has are in *qwenctl*(1).\n\n"
              : "Those of the program that it becomes; *--help* as the first shows this verb's own help.\n\n",
          out);
}

static void man_see(FILE *out, const struct cmd *cmd)
{
    const struct cmd *cmds;
    size_t n;

    fputs("*qwenctl*(1)", out);
    if (cmd->see)
        fprintf(out, ", %s", cmd->see);
    cmds = cmd_table(&n);
    for (size_t i = 0; i < n; i++)
        if (cmds[i].group == cmd->group && &cmds[i] != cmd)
            fprintf(out, ", *qwenctl-%s*(1)", cmds[i].name);
    fputs(", *qwend*(8)\n", out);
}

void man_put_verb(FILE *out, const struct cmd *cmd, const char *more, size_t n)
{
    man_title(out, cmd->name);
    fprintf(out, "# NAME\n\nqwenctl-%s - %c", cmd->name, tolower((unsigned char)*cmd->summary));
    man_text(out, cmd->summary + 1, strlen(cmd->summary) - 1);
    fprintf(out, "\n\n# SYNOPSIS\n\n*qwenctl %s*%s", cmd->name, *cmd->args ? " " : "");
    man_args(out, cmd->args);
    fputs("\n\n# DESCRIPTION\n\n", out);
    if (cmd->more)
        man_lines(out, cmd->more);
    fprintf(out, "\n%.*s\n# OPTIONS\n\n", (int)n, more);
    man_verb_options(out, cmd);
    fputs("# EXIT STATUS\n\n", out);
    man_codes(out, cmd);
    if (cmd->examples) {
        fputs("# EXAMPLES\n\n```\n", out);
        man_literal(out, cmd->examples, strlen(cmd->examples));
        fputs("```\n\n", out);
    }
    fputs("# SEE ALSO\n\n", out);
    man_see(out, cmd);
}

const char *man_find_chapter(const char *text, const char *verb, size_t *ret_n)
{
    const size_t n_verb = strlen(verb);

    for (const char *at = text, *end; at; at = end) {
        const char *head = *at == '\n' ? at + 1 : at;

        end = strstr(head, "\n# ");
        if (strncmp(head, "# ", 2) || strncmp(head + 2, verb, n_verb) || head[2 + n_verb] != '\n')
            continue;
        head += 2 + n_verb + 1;
        *ret_n = end ? (size_t)(end - head) + 1 : strlen(head);
        return head;
    }
    return NULL;
}

/* all of them */

static void man_head(FILE *out)
{
    man_title(out, NULL);
    fputs("# NAME\n\nqwenctl - ask the language model of this machine\n\n"
          "# SYNOPSIS\n\n"
          "*qwenctl* _VERB_ \\[_OPTIONS_\\] \\[_TEXT_\\]++\n"
          "*qwenctl* \"a question in quotes\"\n\n"
          "# DESCRIPTION\n\n"
          "*qwenctl* speaks to *qwend*, which has one language model loaded for all programs of the\n"
          "machine. The answer alone goes to standard output; notes, reasoning and errors go to\n"
          "standard error.\n\n"
          "An option may stand before or behind the verb; \"--\" ends the options. The name of a\n"
          "program qwenctl-NAME in $PATH is a verb, too, if it is the first word. Each verb has a page\n"
          "of its own, which *qwenctl help* _VERB_ has in short.\n\n",
          out);
}

static void man_verbs(FILE *out)
{
    const struct cmd *cmds;
    size_t n;

    fputs("# VERBS\n\n", out);
    cmds = cmd_table(&n);
    for (enum cmd_group group = 0; group < CMD_GROUP_N; group++) {
        fprintf(out, "## %s\n\n", cmd_group_title(group));
        for (size_t i = 0; i < n; i++) {
            if (cmds[i].group != group)
                continue;
            fprintf(out, "*qwenctl-%s*(1)\n\t", cmds[i].name);
            man_text(out, cmds[i].summary, strlen(cmds[i].summary));
            fputs("\n\n", out);
        }
    }
}

static void man_topic(FILE *out, const struct topic *topic)
{
    char *text = NULL;
    size_t n_text;
    FILE *page = open_memstream(&text, &n_text);

    fputs("# ", out);
    for (const char *p = topic->name; *p; p++)
        fputc(*p == '-' ? ' ' : toupper((unsigned char)*p), out);
    fputs("\n\n", out);
    if (page) {
        topic->put(page);
        fclose(page);
        man_lines(out, text);
        free(text);
    }
    fputc('\n', out);
}

void man_put(FILE *out)
{
    const struct topic *topics;
    size_t n;

    man_head(out);
    man_verbs(out);
    fputs("# OPTIONS OF EVERY VERB\n\n", out);
    man_options(out, NULL);
    topics = topic_table(&n);
    for (size_t i = 0; i < n; i++)
        man_topic(out, &topics[i]);
    fputs("# EXAMPLES\n\n```\n"
          "qwenctl ask \"What is 2 + 3?\"\n"
          "git diff --staged | qwenctl ask \"Write a commit message\"\n"
          "qwenctl doctor\n"
          "```\n\n"
          "# SEE ALSO\n\n*qwend*(8), *qwend.conf*(5), *qwend-probe*(1), *qwend-http*(8)\n",
          out);
}
