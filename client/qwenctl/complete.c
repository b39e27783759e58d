/* complete.c - completion scripts.  See complete.h.
 *
 * The words are in the script; only what lives outside the tables (requests) is asked from qwenctl while
 * completing, quietly: no daemon, no words. */
#include "complete.h"

#include <string.h>

#include "cmd.h"

static bool complete_is_file(const struct opt *opt)
{
    return opt->arg && (!strcmp(opt->arg, "F") || !strcmp(opt->arg, "PATH") || !strcmp(opt->arg, "FILE"));
}

/* Does the option stand before a verb, or in every one? */
static bool complete_fits(const struct opt *opt, const struct cmd *cmd)
{
    return cmd ? opt->verbs & cmd->verb : opt->verbs == OPT_ANY;
}

/* " ask chat status …" */
static void complete_put_verbs(FILE *out)
{
    const struct cmd *cmds;
    size_t n;

    cmds = cmd_table(&n);
    for (size_t i = 0; i < n; i++)
        fprintf(out, "%s%s", i ? " " : "", cmds[i].name);
}

static void complete_put_words(FILE *out, const struct cmd *cmd)
{
    if (!strcmp(cmd->words, "VERBS"))
        complete_put_verbs(out);
    else
        fputs(cmd->words, out);
}

/* bash */

/* "--file|-f" */
static void complete_bash_pattern(FILE *out, const struct opt *opt)
{
    fprintf(out, "--%s", opt->name);
    if (opt->letter)
        fprintf(out, "|-%c", opt->letter);
}

/* Is this the first row of its name?  A second meaning is for another verb and takes a value like the first.
 */
static bool complete_is_first(const struct opt *options, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (!strcmp(options[k].name, options[i].name))
            return false;
    return true;
}

/* The options whose value is the next word, so that it is not taken for the verb. */
static void complete_bash_skip(FILE *out)
{
    const struct opt *options;
    const char *gap = "";
    size_t n;

    options = opt_table(&n);
    fputs("        ", out);
    for (size_t i = 0; i < n; i++) {
        if (!options[i].arg || options[i].optional || !complete_is_first(options, i))
            continue;
        fputs(gap, out);
        complete_bash_pattern(out, &options[i]);
        gap = "|";
    }
    fputs(")\n            [[ ${COMP_WORDS[i + 1]} == = ]] && ((i++))\n            ((i++)) ;;\n", out);
}

/* What the value of an option may be: words, files, or nothing that is known. */
static void complete_bash_values(FILE *out)
{
    const struct opt *options;
    size_t n;

    options = opt_table(&n);
    fputs("    case $prev in\n", out);
    for (size_t i = 0; i < n; i++) {
        const struct opt *opt = &options[i];

        if (!opt->arg || !complete_is_first(options, i))
            continue;
        fputs("    ", out);
        complete_bash_pattern(out, opt);
        if (opt->optional)
            fputs(")\n        [[ $given ]] && ", out);
        else
            fputs(")\n        ", out);
        if (opt->names) {
            fprintf(out, "{ words=$(%s 2>/dev/null) value=1; } ;;\n", opt->names);
            continue;
        }
        fputs("{ words='", out);
        for (int k = 0; opt->choices && opt->choices[k]; k++)
            fprintf(out, "%s%s", k ? " " : "", opt->choices[k]);
        fprintf(out, "' value=1%s; } ;;\n", complete_is_file(opt) ? " files=1" : "");
    }
    fputs("    esac\n", out);
}

static void complete_bash_verb(FILE *out, const struct cmd *cmd)
{
    const struct opt *options;
    const char *gap = "";
    size_t n;

    fprintf(out, "    %s)\n        options='", cmd ? cmd->name : "''");
    options = opt_table(&n);
    for (size_t i = 0; i < n; i++) {
        if (!complete_fits(&options[i], cmd))
            continue;
        fprintf(out, "%s--%s", gap, options[i].name);
        gap = " ";
    }
    fputs("'\n        words='", out);
    if (!cmd)
        complete_put_verbs(out);
    else if (cmd->takes == CMD_TAKES_WORD)
        complete_put_words(out, cmd);
    fputc('\'', out);
    if (cmd && cmd->names && cmd->takes == CMD_TAKES_FILE)
        fprintf(out, "\n        words=$(%s 2>/dev/null)", cmd->names);
    else if (cmd && cmd->names)
        fprintf(out, "\n        ((i + 1 < COMP_CWORD)) && words=$(%s 2>/dev/null)", cmd->names);
    if (cmd && cmd->takes == CMD_TAKES_FILE)
        fputs(" files=1", out);
    if (cmd && cmd->takes == CMD_TAKES_REQUEST)
        fputs("\n        words=$(qwenctl ps 2>/dev/null | sed '1d;s/ .*//')", out);
    fputs(" ;;\n", out);
}

void complete_put_bash(FILE *out)
{
    const struct cmd *cmds;
    size_t n;

    /* bash splits --name=V at the "=", so a value stands behind its option or behind a "=" of its own */
    fputs("# bash completion of qwenctl: made by `qwenctl completion bash`\n"
          "_qwenctl()\n{\n"
          "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}\n"
          "    local verb='' options='' words='' files='' value='' given='' i\n"
          "    if [[ $cur == = ]]; then\n        cur='' given=1\n"
          "    elif [[ $prev == = ]]; then\n        prev=${COMP_WORDS[COMP_CWORD - 2]} given=1\n    fi\n"
          "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
          "        case ${COMP_WORDS[i]} in\n",
          out);
    complete_bash_skip(out);
    fputs("        -*|=) ;;\n"
          "        *) verb=${COMP_WORDS[i]}; break ;;\n"
          "        esac\n    done\n    case $verb in\n",
          out);
    complete_bash_verb(out, NULL);
    cmds = cmd_table(&n);
    for (size_t i = 0; i < n; i++)
        complete_bash_verb(out, &cmds[i]);
    fputs("    *) return ;;\n    esac\n", out);
    complete_bash_values(out);
    fputs("    if [[ ! $value && $cur == -* ]]; then\n"
          "        words=$options files=\n    fi\n"
          "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
          "    if [[ $files ]]; then\n"
          "        compopt -o filenames 2>/dev/null\n"
          "        mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -f -- \"$cur\")\n    fi\n}\n"
          "complete -F _qwenctl qwenctl\n",
          out);
}

/* zsh */

/* Text inside '…[…]' of zsh's _arguments: brackets, colons and quotes have a meaning there. */
static void complete_zsh_text(FILE *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '\'')
            fputs("'\\''", out);
        else if (strchr("[]:\\", *text))
            fprintf(out, "\\%c", *text);
        else
            fputc(*text, out);
    }
}

static void complete_zsh_option(FILE *out, const struct opt *opt)
{
    const char *sign = !opt->arg ? "" : opt->optional ? "=-" : "=";

    if (opt->letter)
        fprintf(out, "        '(-%c --%s)'{-%c%s,--%s%s}'[", opt->letter, opt->name, opt->letter,
                !opt->arg || opt->optional ? "" : "+", opt->name, sign);
    else
        fprintf(out, "        '%s--%s%s[", opt->kind == OPT_LIST ? "*" : "", opt->name, sign);
    complete_zsh_text(out, opt->help);
    fputc(']', out);
    if (opt->arg) {
        fprintf(out, ":%s%s:", opt->optional ? ":" : "", opt->arg);
        if (complete_is_file(opt))
            fputs("_files", out);
        for (int k = 0; opt->choices && opt->choices[k]; k++)
            fprintf(out, "%s%s%s", k ? " " : "(", opt->choices[k], opt->choices[k + 1] ? "" : ")");
        if (opt->names)
            fprintf(out, "($(%s 2>/dev/null))", opt->names);
        else if (!opt->choices && !complete_is_file(opt))
            fputc(' ', out);
    }
    fputs("' \\\n", out);
}

static void complete_zsh_verb(FILE *out, const struct cmd *cmd)
{
    const struct opt *options;
    size_t n;

    fprintf(out, "    %s)\n        _arguments -s -S \\\n", cmd->name);
    options = opt_table(&n);
    for (size_t i = 0; i < n; i++)
        if (complete_fits(&options[i], cmd))
            complete_zsh_option(out, &options[i]);
    if (cmd->takes == CMD_TAKES_FILE && cmd->names)
        fprintf(out,
                "        '*:name or file:{ _alternative \"names:name:($(%s 2>/dev/null))\" "
                "\"files:file:_files\" }' ;;\n",
                cmd->names);
    else if (cmd->takes == CMD_TAKES_FILE)
        fputs("        '*:file:_files' ;;\n", out);
    else if (cmd->takes == CMD_TAKES_WORD) {
        fputs("        '1:word:(", out);
        complete_put_words(out, cmd);
        if (cmd->names)
            fprintf(out, ")' '*:name:($(%s 2>/dev/null))' ;;\n", cmd->names);
        else
            fputs(")' '*: :' ;;\n", out);
    } else if (cmd->takes == CMD_TAKES_REQUEST)
        fputs("        '1:request:($(qwenctl ps 2>/dev/null | sed \"1d;s/ .*//\"))' ;;\n", out);
    else
        fputs("        '*: :' ;;\n", out);
}

void complete_put_zsh(FILE *out)
{
    const struct cmd *cmds;
    size_t n;

    cmds = cmd_table(&n);
    fputs("#compdef qwenctl\n# zsh completion of qwenctl: made by `qwenctl completion zsh`\n_qwenctl() {\n"
          "    local -a verbs\n    verbs=(\n",
          out);
    for (size_t i = 0; i < n; i++) {
        fprintf(out, "        '%s:", cmds[i].name);
        complete_zsh_text(out, cmds[i].summary);
        fputs("'\n", out);
    }
    fputs("    )\n    if ((CURRENT == 2)); then\n        _describe verb verbs\n        return\n    fi\n"
          "    shift words\n    ((CURRENT--))\n    case $words[1] in\n",
          out);
    for (size_t i = 0; i < n; i++)
        complete_zsh_verb(out, &cmds[i]);
    fputs("    esac\n}\n"
          "if [[ $funcstack[1] == _qwenctl ]]; then\n    _qwenctl \"$@\"\nelse\n    compdef _qwenctl "
          "qwenctl\nfi\n",
          out);
}

/* fish */

/* Text inside '…' of fish. */
static void complete_fish_text(FILE *out, const char *text)
{
    for (; *text; text++) {
        if (strchr("'\\", *text))
            fputc('\\', out);
        fputc(*text, out);
    }
}

static void complete_fish_option(FILE *out, const struct opt *opt)
{
    const struct cmd *cmds;
    size_t n;

    fputs("complete -c qwenctl", out);
    /* every verb: but not those that are other programs */
    fprintf(out, " -n '%s__fish_seen_subcommand_from", opt->verbs == OPT_ANY ? "not " : "");
    cmds = cmd_table(&n);
    for (size_t i = 0; i < n; i++)
        if (opt->verbs == OPT_ANY ? !cmds[i].verb : (cmds[i].verb & opt->verbs) != 0)
            fprintf(out, " %s", cmds[i].name);
    fputc('\'', out);
    fprintf(out, " -l %s", opt->name);
    if (opt->letter)
        fprintf(out, " -s %c", opt->letter);
    if (opt->arg && !opt->optional)
        fputs(complete_is_file(opt) ? " -r -F" : " -x", out);
    if (opt->names)
        fprintf(out, " -a '(%s 2>/dev/null)'", opt->names);
    if (opt->choices) {
        fputs(" -a '", out);
        for (int k = 0; opt->choices[k]; k++)
            fprintf(out, "%s%s", k ? " " : "", opt->choices[k]);
        fputc('\'', out);
    }
    fputs(" -d '", out);
    complete_fish_text(out, opt->help);
    fputs("'\n", out);
}

static void complete_fish_verb(FILE *out, const struct cmd *cmd)
{
    fprintf(out, "complete -c qwenctl -n __fish_use_subcommand -a %s -d '", cmd->name);
    complete_fish_text(out, cmd->summary);
    fputs("'\n", out);
    if (cmd->takes == CMD_TAKES_FILE)
        fprintf(out, "complete -c qwenctl -n '__fish_seen_subcommand_from %s' -F\n", cmd->name);
    if (cmd->names)
        fprintf(out, "complete -c qwenctl -n '__fish_seen_subcommand_from %s' -a '(%s 2>/dev/null)'\n",
                cmd->name, cmd->names);
    if (cmd->takes != CMD_TAKES_WORD && cmd->takes != CMD_TAKES_REQUEST)
        return;
    fprintf(out, "complete -c qwenctl -n '__fish_seen_subcommand_from %s' -a '", cmd->name);
    if (cmd->takes == CMD_TAKES_WORD)
        complete_put_words(out, cmd);
    else
        fputs("(qwenctl ps 2>/dev/null | sed \"1d;s/ .*//\")", out);
    fputs("'\n", out);
}

void complete_put_fish(FILE *out)
{
    const struct opt *options;
    const struct cmd *cmds;
    size_t n;

    fputs("# fish completion of qwenctl: made by `qwenctl completion fish`\ncomplete -c qwenctl -f\n", out);
    cmds = cmd_table(&n);
    for (size_t i = 0; i < n; i++)
        complete_fish_verb(out, &cmds[i]);
    options = opt_table(&n);
    for (size_t i = 0; i < n; i++)
        complete_fish_option(out, &options[i]);
}
