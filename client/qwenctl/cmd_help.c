/* cmd_help.c - the help, made of the tables of verbs, options and exit codes. */
#include <string.h>

#include "cmd.h"

static void help_verb(FILE *out, const struct cmd *cmd)
{
    fprintf(out, "Usage: qwenctl %s %s\n%s.\n", cmd->name, cmd->args, cmd->summary);
    if (cmd->more)
        fprintf(out, "\n%s", cmd->more);
    fputs("\nOptions:\n", out);
    opt_print(out, cmd->verb);
}

static void help_all(FILE *out)
{
    const struct code_entry *codes;
    const struct cmd *cmds;
    size_t n, n_codes;

    cmds = cmd_table(&n);
    fputs("Usage: qwenctl VERB [OPTIONS] [TEXT]\n"
          "       qwenctl \"a question in quotes\"\n"
          "Asks the language model of this machine (qwend).\n\n"
          "  git diff --staged | qwenctl ask \"Write a commit message\"\n"
          "  qwenctl ask -f notes.txt \"What is still open?\" | less\n"
          "  qwenctl chat\n\nVerbs:\n",
          out);
    for (size_t i = 0; i < n; i++)
        fprintf(out, "  %-10s %s\n", cmds[i].name, cmds[i].summary);
    fputs("\nqwenctl help VERB lists the options of a verb. Exit codes:\n", out);
    codes = code_table(&n_codes);
    for (size_t i = 0; i < n_codes; i++)
        fprintf(out, "  %-4d %s\n", codes[i].code, codes[i].meaning);
}

enum code cmd_help(const struct cmd_args *args)
{
    const struct cmd *cmd = NULL;
    struct cmd_page page;
    enum code code;

    if (args->n) {
        cmd = cmd_find(args->args[0]);
        if (!cmd) {
            ui_error(args->ui, "no verb is called \"%.40s\": see qwenctl help", args->args[0]);
            return CODE_USAGE;
        }
    }
    code = cmd_page_open(args, &page);
    if (code)
        return code;
    if (cmd)
        help_verb(page.file, cmd);
    else
        help_all(page.file);
    return cmd_page_close(args, &page);
}
