/* man.c - the manual page.  See man.h. */
#include "man.h"

#include <string.h>

#include "cmd.h"
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
            fprintf(out, "%.*s\n", (int)n - 2, lines + 2);
        else {
            man_text(out, lines, n);
            fputc('\n', out);
        }
        literal = indented;
        lines += n + (lines[n] == '\n');
    }
    if (literal)
        fputs("```\n", out);
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
    const char *gap = "Exit codes: ";
    size_t n;

    codes = code_table(&n);
    for (size_t i = 0; i < n; i++) {
        if (!cmd_has_code(cmd, codes[i].code))
            continue;
        fprintf(out, "%s%d", gap, codes[i].code);
        gap = ", ";
    }
    fputs(".\n\n", out);
}

static void man_verb(FILE *out, const struct cmd *cmd)
{
    fprintf(out, "## qwenctl %s\n\n*qwenctl %s* ", cmd->name, cmd->name);
    man_text(out, cmd->args, strlen(cmd->args));
    fputs("\n\n", out);
    man_text(out, cmd->summary, strlen(cmd->summary));
    fputs(".\n", out);
    if (cmd->more) {
        fputc('\n', out);
        man_lines(out, cmd->more);
    }
    if (cmd->examples)
        fprintf(out, "\n```\n%s```\n", cmd->examples);
    fputc('\n', out);
    man_options(out, cmd);
    man_codes(out, cmd);
}

static void man_head(FILE *out)
{
    fputs("QWENCTL(1)\n\n# NAME\n\nqwenctl - ask the language model of this machine\n\n"
          "# SYNOPSIS\n\n"
          "*qwenctl* _VERB_ \\[_OPTIONS_\\] \\[_TEXT_\\]++\n"
          "*qwenctl* \"a question in quotes\"\n\n"
          "# DESCRIPTION\n\n"
          "*qwenctl* speaks to *qwend*, which has one language model loaded for all programs of the\n"
          "machine. The answer alone goes to standard output; notes, reasoning and errors go to\n"
          "standard error.\n\n"
          "An option may stand before or behind the verb; \"--\" ends the options. The name of a\n"
          "program qwenctl-NAME in $PATH is a verb, too, if it is the first word.\n\n"
          "# OPTIONS OF EVERY VERB\n\n",
          out);
    man_options(out, NULL);
    fputs("# VERBS\n\n", out);
}

void man_put(FILE *out)
{
    const struct topic *topics;
    const struct cmd *cmds;
    size_t n;

    man_head(out);
    cmds = cmd_table(&n);
    for (size_t i = 0; i < n; i++)
        man_verb(out, &cmds[i]);
    topics = topic_table(&n);
    for (size_t i = 0; i < n; i++) {
        char *text = NULL;
        size_t n_text;
        FILE *page = open_memstream(&text, &n_text);

        fputs("# ", out);
        for (const char *p = topics[i].name; *p; p++)
            fputc(*p == '-' ? ' ' : *p - 'a' + 'A', out);
        fputs("\n\n", out);
        if (page) {
            topics[i].put(page);
            fclose(page);
            man_lines(out, text);
            free(text);
        }
        fputc('\n', out);
    }
}
