/* cmd.h - the verbs of qwenctl, one a file, and what each is given. */
#pragma once

#include "client/lib/qwend.h"
#include "code.h"
#include "opt.h"
#include "ui.h"

struct cmd_args {
    const struct opt_values *values;
    struct ui *ui;
    char **args; /* behind the verb */
    int n;
};

struct cmd {
    const char *name, *args, *summary;
    enum opt_verb verb;
    enum code (*run)(const struct cmd_args *args);
    const char *more; /* for the help: details and examples */
    int max_args;     /* -1: any */
};

const struct cmd *cmd_table(size_t *ret_n);
const struct cmd *cmd_find(const char *name); /* NULL: no such verb */

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
enum code cmd_tokenize(const struct cmd_args *args);
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

/* answer.c: one request shown as the options say: sent, or with attach_id gone on with. */
enum code answer_run(const struct cmd_args *args, qwend *q, const qwend_req *req, const char *attach_id,
                     struct fault *fault);

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
