/* main.c - qwenctl: finds the verb and runs it.  One verb a file (cmd_*.c); options in opt.c; exit codes in
 * code.c. */
#include <fcntl.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>

#include "cmd.h"
#include "guess.h"
#include "sig.h"

static const struct cmd main_cmds[] = {
    {"ask", "[OPTIONS] [TEXT]...", "Ask once, print the answer", OPT_ASK, cmd_ask,
     "Standard input (unless a terminal) and files come first, then the question.\n"
     "The answer alone goes to stdout.\n\n"
     "  dmesg | qwenctl ask \"Is there a hardware fault?\"\n"
     "  qwenctl ask --no-think -n 50 \"A name for a cat\"\n"
     "  qwenctl ask --json -f paper.txt \"The title?\" | jq -r .text\n",
     -1},
    {"chat", "[OPTIONS]", "Talk, with the conversation kept", OPT_CHAT, cmd_chat,
     "/help in the conversation lists its commands. Ctrl-C stops an answer, Ctrl-D\n"
     "ends. Without a terminal each line of standard input is one turn.\n",
     0},
    {"attach", "[OPTIONS] ID", "The answer of a request that was detached", OPT_ATTACH, cmd_attach,
     "Shown from its beginning, until it ends. Ctrl-C leaves it running.\n\n"
     "  id=$(qwenctl ask --detach -f book.txt \"Summarise\"); qwenctl attach $id\n",
     1},
    {"status", "[--json]", "What the daemon is, has and does", OPT_STATUS, cmd_status, NULL, 0},
    {"ps", "[--json]", "The requests that wait or run", OPT_PS, cmd_ps, NULL, 0},
    {"top", "[--once] [--json]", "The service at work, live", OPT_TOP, cmd_top,
     "On a terminal until q or Ctrl-C; into a pipe or with --once one table.\n"
     "TOK/S is over the last 4 s; CACHED is the share of the prompt.\n",
     0},
    {"cancel", "ID | --mine", "End a request, or all of this user's", OPT_CANCEL, cmd_cancel,
     "ID is what ps shows, or its first digits.\n", 1},
    {"tokenize", "[OPTIONS] [TEXT]", "Text to token ids", OPT_TOKENIZE, cmd_tokenize, NULL, 1},
    {"reload", "", "Have the daemon read its configuration again", OPT_ADMIN, cmd_reload,
     "For administrators. Requests go on; a mistake in the files changes nothing.\n", 0},
    {"drain", "", "Take no more requests, let those that run end", OPT_ADMIN, cmd_drain,
     "For administrators. The daemon stays up, and resume takes requests again.\n", 0},
    {"resume", "", "Take requests again", OPT_ADMIN, cmd_resume, "For administrators.\n", 0},
    {"upgrade", "", "Have the daemon's present binary take over", OPT_ADMIN, cmd_upgrade,
     "For administrators who may reload. Requests go on; what cannot be started is refused.\n", 0},
    {"version", "", "Versions of this program and of the daemon", OPT_VERSION, cmd_version, NULL, 0},
    {"help", "[VERB]", "This text, or the options of a verb", OPT_HELP, cmd_help, NULL, 1},
};

const struct cmd *cmd_table(size_t *ret_n)
{
    *ret_n = ARRAY_SIZE(main_cmds);
    return main_cmds;
}

const struct cmd *cmd_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(main_cmds); i++)
        if (!strcmp(main_cmds[i].name, name))
            return &main_cmds[i];
    return NULL;
}

static enum code main_unknown(struct ui *ui, const char *word)
{
    const char *best = NULL;

    for (size_t i = 0; i < ARRAY_SIZE(main_cmds); i++)
        guess_offer(word, main_cmds[i].name, &best);
    ui_error(ui, "unknown verb \"%.40s\"%s%s (to ask that: qwenctl ask %.40s; all verbs: qwenctl help)", word,
             best ? ": did you mean " : "", best ? best : "", word);
    return CODE_USAGE;
}

/* The verb, and how many of the arguments name it: a question in quotes needs none. */
static const struct cmd *main_verb(const struct opt_values *values, char **args, int n, int *ret_n_used)
{
    const struct cmd *cmd = n ? cmd_find(args[0]) : NULL;

    *ret_n_used = cmd != NULL;
    if (values->version)
        return cmd_find("version");
    if (n && !cmd && strchr(args[0], ' '))
        return cmd_find("ask");
    return n ? cmd : cmd_find("help");
}

static enum code main_run(struct ui *ui, const struct opt_values *values, char **args, int n)
{
    struct fault fault = {};
    const struct cmd *cmd;
    int n_used;

    cmd = main_verb(values, args, n, &n_used);
    if (!cmd)
        return main_unknown(ui, args[0]);
    if (opt_check_verb(values, cmd->verb, cmd->name, &fault)) {
        ui_error(ui, "%s (see qwenctl help %s)", fault.text, cmd->name);
        return CODE_USAGE;
    }
    if (values->help && n) /* also of a question in quotes, which is not asked then */
        return cmd_help(&(struct cmd_args){values, ui, (char *[]){(char *)cmd->name}, 1});
    if (!n && !values->help && !values->version) {
        ui_error(ui, "what shall it do? qwenctl ask TEXT, qwenctl chat; see qwenctl help");
        return CODE_USAGE;
    }
    if (cmd->max_args >= 0 && n - n_used > cmd->max_args) {
        ui_error(ui, "%s: \"%.40s\" is one argument too many (see qwenctl help %s)", cmd->name,
                 args[n_used + cmd->max_args], cmd->name);
        return CODE_USAGE;
    }
    return cmd->run(&(struct cmd_args){values, ui, args + n_used, n - n_used});
}

/* Whoever starts us may have closed fds 0 to 2: a socket with such a number would be read as the question or
 * written to as the answer.  What takes their place reads as empty and, opened for reading, refuses to be
 * written. */
static int main_open_std_fds(void)
{
    int fd;

    do
        fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd > STDERR_FILENO)
        close(fd);
    return fd < 0 ? err_errno() : 0;
}

int main(int argc, char **argv)
{
    struct opt_values values = {};
    struct fault fault = {};
    struct ui ui;
    char **args;
    enum code code;
    const int no_fds = main_open_std_fds();
    int n = 0, r;

    setlocale(LC_CTYPE, "");
    args = calloc((size_t)argc + 1, sizeof(*args));
    r = args ? opt_parse(argc, argv, &values, args, &n, &fault) : OPT_OK;
    ui_init(&ui, &values);
    if (!args || no_fds || sig_init()) {
        ui_error(&ui, "cannot start: %s", strerror(no_fds ? -no_fds : errno));
        code = CODE_FAILED;
    } else if (r) {
        ui_error(&ui, "%s", fault.text);
        code = CODE_USAGE;
    } else {
        code = main_run(&ui, &values, args, n);
    }
    free(args);
    return code;
}
