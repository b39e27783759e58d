/* main.c - qwenctl: finds the verb and runs it.  One verb a file (cmd_*.c); verbs in cmd_table.c, options in
 * opt_table.c, exit codes in code.c. */
#include <fcntl.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>

#include "cmd.h"
#include "conf.h"
#include "sig.h"

static enum code main_unknown(struct ui *ui, const char *word)
{
    const char *best = cmd_guess(word);

    ui_error(ui, "unknown verb \"%.40s\"%s%s%s", word, best ? ": did you mean " : "", best ? best : "",
             best ? "?" : "");
    ui_error(ui, "to ask that: qwenctl ask %.40s; all verbs: qwenctl help", word);
    return CODE_USAGE;
}

/* The verb that a word names; a question in quotes needs none. */
static const struct cmd *main_find(const char *word)
{
    const struct cmd *cmd = cmd_find(word);

    return cmd || !strchr(word, ' ') ? cmd : cmd_find("ask");
}

/* These must work with a configuration that does not. */
static bool main_reads_conf(const struct cmd *cmd)
{
    return !(cmd->verb & (OPT_CONFIG | OPT_DOCTOR | OPT_HELP | OPT_COMPLETION));
}

/* Runs the verb with what the environment and the files say where the command line said nothing. */
static enum code main_run_verb(struct ui *ui, const struct cmd *cmd, struct opt_values *values, char **args,
                               int n)
{
    struct fault fault = {};
    struct template template = {};
    struct conf conf = {};
    enum code code = CODE_OK;
    int r = CONF_OK;

    if (values->template)
        code = template_load(values->template, &template, &fault);
    if (!code)
        code = template_apply(&template, cmd->verb, values, &fault);
    if (!code && main_reads_conf(cmd))
        r = conf_load_all(&conf, &fault);
    if (!code && !r && main_reads_conf(cmd))
        r = conf_apply(&conf, cmd->verb, values, &fault);
    if (code || r) {
        ui_error(ui, "%s", r < 0 ? strerror(-r) : fault.text);
        code = code ? code : r > 0 ? CODE_USAGE : CODE_FAILED;
    } else {
        ui_init(ui, values);
        code = cmd->run(&(struct cmd_args){values, ui, args, n, values->template ? &template : NULL});
    }
    conf_deinit(&conf);
    template_deinit(&template);
    return code;
}

static enum code main_run(struct ui *ui, struct opt_values *values, char **args, int n)
{
    const struct cmd *cmd = values->version ? cmd_find("version") : n ? main_find(args[0]) : cmd_find("help");
    const int n_used = n && cmd_find(args[0]);
    struct fault fault = {};

    if (!cmd)
        return main_unknown(ui, args[0]);
    if (cmd->verb && opt_check_verb(values, cmd->verb, cmd->name, &fault)) {
        ui_error(ui, "%s (see qwenctl help %s)", fault.text, cmd->name);
        return CODE_USAGE;
    }
    if (values->help && n) /* also of a question in quotes, which is not asked then */
        return cmd_help(&(struct cmd_args){values, ui, (char *[]){(char *)cmd->name}, 1});
    if (cmd->passes) {
        ui_error(ui, "%s is the first word: what stands behind it goes to another program", cmd->name);
        return CODE_USAGE;
    }
    if (!n && !values->help && !values->version) {
        ui_error(ui, "what shall it do? qwenctl ask TEXT, qwenctl chat; see qwenctl help");
        return CODE_USAGE;
    }
    if (cmd->max_args >= 0 && n - n_used > cmd->max_args) {
        ui_error(ui, "%s: \"%.40s\" is one argument too many (see qwenctl help %s)", cmd->name,
                 args[n_used + cmd->max_args], cmd->name);
        return CODE_USAGE;
    }
    return main_run_verb(ui, cmd, values, args + n_used, n - n_used);
}

/* `qwenctl foo …` runs qwenctl-foo of $PATH if there is one and no verb has that name.  Only as the first
 * word: what stands behind it is that program's business.  Comes back if there is none. */
static void main_exec_external(char **argv)
{
    char name[64], *word;

    if (!argv[0] || !argv[1] || argv[1][strspn(argv[1], "abcdefghijklmnopqrstuvwxyz0123456789-_")] ||
        *argv[1] == '-' || cmd_find(argv[1]))
        return;
    word = argv[1];
    if ((size_t)snprintf(name, sizeof(name), "qwenctl-%s", word) >= sizeof(name))
        return;
    argv[1] = name;
    execvp(name, argv + 1);
    argv[1] = word;
}

/* A verb that is another program's has no options of ours but --help. */
static const struct cmd *main_passing(int argc, char **argv)
{
    const struct cmd *cmd = argc > 1 ? cmd_find(argv[1]) : NULL;

    return cmd && cmd->passes && !(argc > 2 && (!strcmp(argv[2], "--help") || !strcmp(argv[2], "-h"))) ? cmd
                                                                                                       : NULL;
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
    const struct cmd *cmd, *passing;
    int n = 0, at, r;

    main_exec_external(argv);
    setlocale(LC_CTYPE, "");
    at = opt_verb_at(argc, argv);
    cmd = at ? main_find(argv[at]) : NULL;
    passing = main_passing(argc, argv);
    args = calloc((size_t)argc + 1, sizeof(*args));
    r = args && !passing ? opt_parse(argc, argv, cmd ? cmd->verb : OPT_ANY, &values, args, &n, &fault)
                         : OPT_OK;
    ui_init(&ui, &values);
    if (!args || no_fds || sig_init()) {
        ui_error(&ui, "cannot start: %s", strerror(no_fds ? -no_fds : errno));
        code = CODE_FAILED;
    } else if (r) {
        ui_error(&ui, "%s%s%s%s", fault.text, cmd ? " (see qwenctl help " : "", cmd ? cmd->name : "",
                 cmd ? ")" : "");
        code = r == OPT_E_GRAMMAR ? CODE_GRAMMAR : CODE_USAGE;
    } else if (passing) {
        code = passing->run(&(struct cmd_args){&values, &ui, argv + 2, argc - 2});
    } else {
        code = main_run(&ui, &values, args, n);
    }
    free(args);
    return code;
}
