/* cmd.h - the verbs of qwenctl, one a file, and what each is given. */
#pragma once

#include "client/lib/qwend.h"
#include "code.h"
#include "opt.h"
#include "template.h"
#include "ui.h"

struct cmd_args {
    const struct opt_values *values;
    struct ui *ui;
    char **args; /* behind the verb */
    int n;
    const struct template *template; /* of --template; NULL: none */
};

enum cmd_group { CMD_ASKING, CMD_WATCHING, CMD_STEERING, CMD_MODELS, CMD_TOOLS, CMD_GROUP_N };

/* what its arguments are, for the completions */
enum cmd_takes { CMD_TAKES_TEXT, CMD_TAKES_NOTHING, CMD_TAKES_FILE, CMD_TAKES_WORD, CMD_TAKES_REQUEST };

/* A verb.  Its help, its manual page and its completions are made of this row and of the options
 * that have its bit. */
struct cmd {
    const char *name, *args, *summary; /* summary: no full stop */
    uint64_t verb;                     /* enum opt_verb */
    enum code (*run)(const struct cmd_args *args);
    const char *more; /* text for the help, lines of at most 80 columns; NULL: none */
    int max_args;     /* -1: any */
    enum cmd_group group;
    enum cmd_takes takes;
    const char *words; /* CMD_TAKES_WORD: what the first argument may be; "VERBS": any verb */
    const char *names; /* a command that prints what the next may be, or the first beside a file; NULL: nobody
                          knows */
    const char *examples;   /* a command a line */
    const char *see;        /* pages of other programs, in scdoc's language; NULL: none */
    bool passes;            /* everything behind the verb is another program's business */
    const enum code *codes; /* besides 0, 2 and those of signals; ends with CODE_OK */
};

const struct cmd *cmd_table(size_t *ret_n);
const struct cmd *cmd_find(const char *name); /* NULL: no such verb */
const char *cmd_guess(const char *word);      /* the verb that is meant; NULL: none is near */
const char *cmd_group_title(enum cmd_group group);
bool cmd_has_code(const struct cmd *cmd, enum code code); /* may it end with that? */

enum code cmd_ask(const struct cmd_args *args);
enum code cmd_attach(const struct cmd_args *args);
enum code cmd_chat(const struct cmd_args *args);
enum code cmd_status(const struct cmd_args *args);
enum code cmd_ps(const struct cmd_args *args);
enum code cmd_top(const struct cmd_args *args);
enum code cmd_cancel(const struct cmd_args *args);
enum code cmd_reload(const struct cmd_args *args);
enum code cmd_drain(const struct cmd_args *args);
enum code cmd_resume(const struct cmd_args *args);
enum code cmd_upgrade(const struct cmd_args *args);
enum code cmd_use(const struct cmd_args *args);
enum code cmd_tokenize(const struct cmd_args *args);
enum code cmd_complete(const struct cmd_args *args);
enum code cmd_fim(const struct cmd_args *args);
enum code cmd_map(const struct cmd_args *args);
enum code cmd_lsp(const struct cmd_args *args);
enum code cmd_models(const struct cmd_args *args);
enum code cmd_import(const struct cmd_args *args);
enum code cmd_pull(const struct cmd_args *args);
enum code cmd_verify(const struct cmd_args *args);
enum code cmd_inspect(const struct cmd_args *args);
enum code cmd_bench(const struct cmd_args *args);
enum code cmd_eval(const struct cmd_args *args);
enum code cmd_log(const struct cmd_args *args);
enum code cmd_doctor(const struct cmd_args *args);
enum code cmd_session(const struct cmd_args *args);
enum code cmd_template(const struct cmd_args *args);
enum code cmd_config(const struct cmd_args *args);
enum code cmd_completion(const struct cmd_args *args);
enum code cmd_version(const struct cmd_args *args);
enum code cmd_help(const struct cmd_args *args);

/* connect.c: opens the connection, with --timeout for its calls; says what is wrong and how to start a
 * daemon. */
enum code connect_open(const struct cmd_args *args, qwend **ret_q);
/* Says why a call on an open connection failed and gives its exit code. */
enum code connect_fail(const struct cmd_args *args, qwend *q, int r);

/* request_id.c: the first argument as a request's id; it may be its start, if only one request has that. */
enum { CMD_ID_BYTES = 32 };
enum code cmd_check_id(const struct cmd_args *args); /* CODE_USAGE, and says so */
enum code cmd_request_id(const struct cmd_args *args, qwend *q, char ret_id[CMD_ID_BYTES + 1]);

/* Prints text (for a command whose whole output is at hand) to stdout; the exit code of what can go wrong
 * with that. */
enum code cmd_print(const struct cmd_args *args, const char *text, size_t n);
/* A stream for it: written to with stdio, printed and freed by cmd_page_close(). */
struct cmd_page {
    FILE *file;
    char *data;
    size_t n;
};
enum code cmd_page_open(const struct cmd_args *args, struct cmd_page *page);
enum code cmd_page_close(const struct cmd_args *args, struct cmd_page *page);
CLEANUP_FUNC(qwend, qwend_close)
CLEANUP_FUNC(qwend_req, qwend_req_free)
