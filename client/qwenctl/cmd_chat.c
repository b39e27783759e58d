/* cmd_chat.c - a conversation: on a terminal with line editing, otherwise one turn for each line of standard
 * input.
 *
 * Ctrl-C stops the answer, not the program; what was said of it until then stays in the conversation.  A
 * daemon that was restarted between two turns is connected to again; the conversation is kept here, so
 * nothing is lost. */
#include <poll.h>
#include <signal.h>
#include <string.h>

#include "cmd.h"
#include "gen.h"
#include "input.h"
#include "line.h"
#include "prompt.h"
#include "session.h"
#include "show.h"
#include "sig.h"
#include "talk.h"

struct chat {
    const struct cmd_args *args;
    struct opt_values values; /* of the command line; /think changes them */
    qwend *q;
    struct talk talk;
    struct show show;
    bool terminal, quit;
    char session[SESSION_NAME_BYTES + 1]; /* turns are appended to it; empty: none */
    const char *system_new;               /* borrowed from talk: not in the session yet */
    char *document;                       /* of /file: goes before the next message */
    size_t n_document;
    FILE *answer; /* gathers what is shown of this turn */
    char *answer_data;
    size_t n_answer;
};

/* commands */

static enum code chat_say(struct chat *chat, const char *text)
{
    return chat->terminal ? cmd_print(chat->args, text, strlen(text)) : CODE_OK;
}

static enum code chat_on_help(struct chat *chat, const char *rest)
{
    static const char help[] = "/file PATH     put a file before the next message\n"
                               "/system TEXT   set the system message; @F: a file; alone: take it away\n"
                               "/think on|off  reason before answering, or not\n"
                               "/undo          forget the last turn\n"
                               "/clear         forget all turns\n"
                               "/session NAME  go on with a kept conversation, or begin to keep one\n"
                               "/save NAME     keep this conversation under a new name\n"
                               "/quit          end (or Ctrl-D)\n"
                               "//text         a message that starts with /\n"
                               "Ctrl-C stops an answer.\n";

    return cmd_print(chat->args, help, sizeof(help) - 1);
}

static enum code chat_on_quit(struct chat *chat, const char *rest)
{
    chat->quit = true;
    return CODE_OK;
}

static enum code chat_fault(struct chat *chat, enum code code, const struct fault *fault)
{
    ui_error(chat->args->ui, "%s", fault->text);
    return code;
}

static enum code chat_on_system(struct chat *chat, const char *rest)
{
    const struct opt_values values = {.system = *rest ? rest : NULL};
    _cleanup_(freep) char *text = NULL;
    struct fault fault = {};
    enum code code = prompt_system(&values, &text, &fault);

    if (code)
        return chat_fault(chat, code, &fault);
    if (talk_set_system(&chat->talk, text ? text : "")) {
        ui_error(chat->args->ui, "out of memory");
        return CODE_FAILED;
    }
    chat->system_new = chat->talk.system ? chat->talk.system : "";
    return chat_say(chat, *rest ? "system message set\n" : "no system message\n");
}

static enum code chat_on_file(struct chat *chat, const char *rest)
{
    _cleanup_(freep) char *text = NULL, *before = NULL;
    struct fault fault = {};
    enum code code;
    size_t n;
    int r;

    code = input_read_file(rest, chat->q ? qwend_prompt_max(chat->q) : 1 << 20, &text, &n, &fault);
    if (code)
        return chat_fault(chat, code, &fault);
    before = chat->document;
    r = asprintf(&chat->document, "%s%s:\n%s%s\n", before ? before : "", rest, text,
                 n && text[n - 1] == '\n' ? "" : "\n");
    if (r < 0) {
        chat->document = NULL;
        ui_error(chat->args->ui, "out of memory: the files are forgotten");
        return CODE_FAILED;
    }
    chat->n_document = (size_t)r;
    return chat_say(chat, "it goes before the next message\n");
}

static enum code chat_on_session(struct chat *chat, const char *rest)
{
    struct fault fault = {};
    struct talk talk = {};
    enum code code;

    code = session_load(rest, &talk, &fault);
    if (code)
        return chat_fault(chat, code, &fault);
    talk_deinit(&chat->talk);
    chat->talk = talk;
    chat->system_new = NULL;
    snprintf(chat->session, sizeof(chat->session), "%s", rest);
    return chat_say(chat, talk.n_turns ? "going on with it\n" : "this conversation is kept from here on\n");
}

/* Everything said so far, and what comes. */
static enum code chat_on_save(struct chat *chat, const char *rest)
{
    struct fault fault = {};
    enum code code = CODE_OK;

    if (session_exists(rest)) {
        ui_error(chat->args->ui, "there is a session %s already: /session goes on with it", rest);
        return CODE_USAGE;
    }
    for (size_t i = 0; !code && i < chat->talk.n_turns; i++)
        code = session_add(rest, i ? NULL : chat->talk.system, &chat->talk.turns[i], &fault);
    if (code)
        return chat_fault(chat, code, &fault);
    snprintf(chat->session, sizeof(chat->session), "%s", rest);
    chat->system_new = chat->talk.n_turns ? NULL : chat->talk.system;
    return chat_say(chat, "kept, and so is what follows\n");
}

static enum code chat_on_think(struct chat *chat, const char *rest)
{
    bool on = !strcmp(rest, "on");

    if (!on && strcmp(rest, "off")) {
        ui_error(chat->args->ui, "/think is on or off");
        return CODE_OK;
    }
    chat->values.thinking = (struct opt_int){true, on};
    return chat_say(chat, on ? "thinking is on\n" : "thinking is off\n");
}

/* The kept session forgets what the conversation does. */
static void chat_take_back(struct chat *chat, const char *what)
{
    struct fault fault = {};

    if (*chat->session && session_exists(chat->session) && session_take_back(chat->session, what, &fault))
        ui_error(chat->args->ui, "%s", fault.text);
}

static enum code chat_on_undo(struct chat *chat, const char *rest)
{
    if (!talk_undo(&chat->talk))
        return chat_say(chat, "there is no turn to forget\n");
    chat_take_back(chat, "undo");
    return chat_say(chat, "the last turn is forgotten\n");
}

static enum code chat_on_clear(struct chat *chat, const char *rest)
{
    talk_clear(&chat->talk);
    chat_take_back(chat, "clear");
    return chat_say(chat, "all turns are forgotten\n");
}

static enum code chat_command(struct chat *chat, const char *text)
{
    static const struct {
        const char *name;
        enum code (*run)(struct chat *chat, const char *rest);
    } commands[] = {
        {"help", chat_on_help},   {"quit", chat_on_quit},       {"system", chat_on_system},
        {"think", chat_on_think}, {"undo", chat_on_undo},       {"clear", chat_on_clear},
        {"file", chat_on_file},   {"session", chat_on_session}, {"save", chat_on_save},
    };
    size_t n = strcspn(text + 1, " \t");
    const char *rest = text + 1 + n;

    rest += strspn(rest, " \t");
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
        if (strlen(commands[i].name) == n && !memcmp(commands[i].name, text + 1, n))
            return commands[i].run(chat, rest);
    ui_error(chat->args->ui, "unknown command /%.*s: /help lists them", (int)MIN(n, (size_t)40), text + 1);
    return CODE_OK;
}

/* turns */

static int chat_sink(struct run *run, const qwend_event *event)
{
    struct chat *chat = run->user;

    if (event->type == QWEND_EV_ANSWER)
        fwrite(event->text, 1, event->n, chat->answer);
    return show_event(run, &chat->show, event);
}

/* A connection that the daemon closed while nobody spoke shows now. */
static enum code chat_connect(struct chat *chat)
{
    if (chat->q && qwend_dispatch(chat->q, POLLIN)) {
        qwend_close(chat->q);
        chat->q = NULL;
    }
    return chat->q ? CODE_OK : connect_open(chat->args, &chat->q);
}

/* The turn that was added last; if that fails the conversation goes on unkept. */
static void chat_keep(struct chat *chat)
{
    struct fault fault = {};

    if (!*chat->session)
        return;
    if (session_add(chat->session, chat->system_new, &chat->talk.turns[chat->talk.n_turns - 1], &fault)) {
        ui_error(chat->args->ui, "%s", fault.text);
        *chat->session = 0;
    }
    chat->system_new = NULL;
}

static enum code chat_ask(struct chat *chat, qwend_req *req, const char *text, size_t n)
{
    struct run run = {
        .ui = chat->args->ui, .q = chat->q, .sink = chat_sink, .user = chat, .values = &chat->values};
    struct fault fault = {};
    enum code code;
    int r;

    code = gen_set(req, &chat->values, &fault);
    if (code) {
        ui_error(run.ui, "%s", fault.text);
        return code;
    }
    r = talk_fill(&chat->talk, text, n, req);
    if (r) {
        ui_error(run.ui, "%s", strerror(-r));
        return code_of_errno(r);
    }
    chat->answer = open_memstream(&chat->answer_data, &chat->n_answer);
    if (!chat->answer) {
        ui_error(run.ui, "out of memory");
        return CODE_FAILED;
    }
    run.ui->out_last = run.ui->err_last = 0;
    show_init(&chat->show, run.ui, &chat->values);
    run.hides_thinking = chat->show.thinking == OPT_SHOW_NONE;
    chat->show.end_line = true;
    code = run_request(&run, req);
    show_deinit(&chat->show);
    fclose(chat->answer);
    if (chat->n_answer && talk_add(&chat->talk, text, n, chat->answer_data, chat->n_answer))
        ui_error(run.ui, "out of memory: this turn is not kept");
    else if (chat->n_answer)
        chat_keep(chat);
    free(chat->answer_data);
    return code;
}

/* The files, then the message; the files are used up. */
static char *chat_join(struct chat *chat, const char *text, size_t *n)
{
    char *whole = realloc(chat->document, chat->n_document + *n + 1);

    if (!whole)
        return NULL;
    chat->document = NULL;
    memcpy(whole + chat->n_document, text, *n);
    *n += chat->n_document;
    whole[*n] = 0;
    return whole;
}

/* What ends a turn ends the conversation only if there can be no other: nobody reads, or SIGTERM, or Ctrl-C
 * in a pipe. */
static enum code chat_turn(struct chat *chat, const char *text, size_t n)
{
    _cleanup_(qwend_req_freep) qwend_req *req = qwend_req_new();
    _cleanup_(freep) char *whole = NULL;
    struct fault fault = {};
    enum code code;

    if (!req)
        return CODE_FAILED;
    code = input_check("the message", text, n, &fault);
    if (code) {
        ui_error(chat->args->ui, "%s", fault.text);
        return code;
    }
    code = chat_connect(chat);
    if (!code && chat->document) {
        whole = chat_join(chat, text, &n);
        text = whole;
    }
    if (!code && !text) {
        ui_error(chat->args->ui, "out of memory");
        return CODE_FAILED;
    }
    if (!code)
        code = chat_ask(chat, req, text, n);
    if (code == CODE_INT && chat->terminal) {
        sig_clear();
        return chat_say(chat, chat->args->ui->out_last && chat->args->ui->out_last != '\n' ? "\n(stopped)\n"
                                                                                           : "(stopped)\n");
    }
    return code;
}

/* On a terminal an error was said and the user decides; in a pipe the first one ends it. */
static enum code chat_line(struct chat *chat, const char *text, size_t n)
{
    enum code code;

    if (!n)
        return CODE_OK;
    if (text[0] == '/' && !(n > 1 && text[1] == '/'))
        code = chat_command(chat, text);
    else
        code = chat_turn(chat, text + (text[0] == '/'), n - (text[0] == '/'));
    return chat->terminal && code != CODE_PIPE && code != CODE_TERM ? CODE_OK : code;
}

static enum code chat_loop(struct chat *chat, struct line *line)
{
    enum code code = CODE_OK;

    while (!code && !chat->quit) {
        _cleanup_(freep) char *copy = NULL;
        const char *text;
        size_t n;
        int r;

        r = line_read(line, "> ", &text, &n);
        if (r == LINE_E_SIGNAL && sig_pending() == SIGINT && chat->terminal) {
            sig_clear();
            code = chat_say(chat, "\n");
            continue;
        }
        if (r == LINE_E_SIGNAL)
            return sig_pending() == SIGTERM ? CODE_TERM : CODE_INT;
        if (r == LINE_E_END) {
            chat_say(chat, "\n");
            break;
        }
        copy = r ? NULL : strndup(text, n); /* NUL-terminated without its newline */
        if (!copy) {
            ui_error(chat->args->ui, "reading the next message: %s", strerror(r ? -r : ENOMEM));
            return CODE_FAILED;
        }
        code = memchr(text, 0, n) ? chat_turn(chat, text, n) : chat_line(chat, copy, n);
    }
    return code;
}

/* What the options say of system message and session. */
static enum code chat_begin(struct chat *chat, struct fault *fault)
{
    const struct opt_values *values = chat->args->values;
    _cleanup_(freep) char *system = NULL;
    enum code code = CODE_OK;

    if (values->session && values->keep_on)
        return (enum code)fault_set(fault, CODE_USAGE, "--session and --continue exclude each other");
    if (values->keep_on)
        code = session_latest(chat->session, fault);
    if (!code && (values->session || values->keep_on))
        code = session_load(values->session ? values->session : chat->session, &chat->talk, fault);
    if (!code && values->session) /* its name was good */
        snprintf(chat->session, sizeof(chat->session), "%s", values->session);
    if (!code)
        code = prompt_system(values, &system, fault);
    if (!code && system && talk_set_system(&chat->talk, system))
        code = (enum code)fault_set(fault, CODE_FAILED, "out of memory");
    if (!code && system)
        chat->system_new = chat->talk.system;
    return code;
}

enum code cmd_chat(const struct cmd_args *args)
{
    struct chat chat = {.args = args, .values = *args->values};
    _cleanup_(freep) char *history = line_history_path();
    struct line *line = NULL;
    struct fault fault = {};
    enum code code;
    int r = 0;

    chat.terminal = isatty(STDIN_FILENO) && args->ui->out_tty;
    code = gen_check_args(args->values, args->args, args->n, &fault);
    if (!code)
        code = chat_begin(&chat, &fault);
    if (code)
        ui_error(args->ui, "%s", fault.text);
    if (!code)
        code = connect_open(args, &chat.q);
    if (!code) {
        r = sig_listen();
        if (!r)
            r = line_open(chat.terminal, history, &line);
        if (r)
            ui_error(args->ui, "cannot start the conversation: %s", strerror(-r));
        code = r ? CODE_FAILED : chat_loop(&chat, line);
    }
    line_close(line);
    talk_deinit(&chat.talk);
    free(chat.document);
    qwend_close(chat.q);
    return code;
}
