/* cmd_ask.c - one question, one answer: `git diff | qwenctl ask "Write a commit message"`. */
#include <string.h>

#include "answer.h"
#include "cmd.h"
#include "gen.h"
#include "json.h"
#include "prompt.h"
#include "session.h"
#include "sig.h"

enum { ASK_OVERFLOW_BYTES = 64 << 20 }; /* read at most, where the daemon's limit is to be met by cutting */

struct ask {
    const struct cmd_args *args;
    qwend *q;
    struct fault fault;
    struct prompt prompt;
    char *text, *system; /* what is asked; the system message, NULL: none or the session's */
    size_t n_text;
    const char *session; /* NULL: none */
    char latest[SESSION_NAME_BYTES + 1];
    struct talk talk; /* of the session */
};

static enum code ask_refuse(struct ask *ask, const char *why)
{
    return (enum code)fault_set(&ask->fault, CODE_USAGE, "%s", why);
}

static enum code ask_check(struct ask *ask)
{
    const struct opt_values *values = ask->args->values;
    const bool as_json = values->json || values->ndjson;
    const bool kept = values->session || values->keep_on;

    if (values->json && values->ndjson)
        return ask_refuse(ask, "--json and --ndjson exclude each other");
    if (values->detach && (as_json || values->extract || kept || values->strict))
        return ask_refuse(ask, "--detach prints the request's id only: no --json, no --ndjson, --extract, "
                               "--strict, --session");
    if (values->extract && as_json)
        return ask_refuse(ask, "--extract and --json or --ndjson exclude each other");
    if (values->session && values->keep_on)
        return ask_refuse(ask, "--session and --continue exclude each other");
    if (values->dry_run && (values->detach || values->ndjson || values->extract))
        return ask_refuse(ask, "--dry-run asks nothing: no --detach, --ndjson, --extract");
    if (values->raw && (opt_is_given(values, "system") || opt_is_given(values, "think") ||
                        opt_is_given(values, "no-think") || kept || values->template))
        return ask_refuse(ask, "--raw is no chat: it takes no --system, --think, --session, --template");
    if (values->special && !values->raw)
        return ask_refuse(ask, "--special goes with --raw");
    if (values->logprobs.given && !as_json)
        return ask_refuse(ask, "--logprobs shows in --json or --ndjson: give one of them");
    return gen_check_args(values, ask->args->args, ask->args->n, &ask->fault);
}

/* The session's turns, so that what cannot be read is known before anything is asked. */
static enum code ask_open_session(struct ask *ask)
{
    const struct opt_values *values = ask->args->values;
    enum code code = CODE_OK;

    ask->session = values->session;
    if (values->keep_on) {
        code = session_latest(ask->latest, &ask->fault);
        ask->session = ask->latest;
    }
    if (code || !ask->session)
        return code;
    if (values->keep_on)
        ui_note(ask->args->ui, "going on with the session %s", ask->session);
    return session_load(ask->session, &ask->talk, &ask->fault);
}

/* Cuts the document if it must be and may be. */
static enum code ask_fit(struct ask *ask)
{
    const char *system = ask->system ? ask->system : ask->talk.system;
    struct prompt_cut cut = {.args = ask->args,
                             .q = ask->q,
                             .rest = {ask->prompt.question, system},
                             .n_rest = {ask->prompt.n_question, system ? strlen(system) : 0},
                             .n_messages = 2 + 2 * ask->talk.n_turns};
    _cleanup_(freep) char *turns = talk_text(&ask->talk, &cut.n_turns);
    size_t kept, all;
    enum code code;

    if (ask->args->values->overflow == OPT_OVERFLOW_REFUSE || !ask->prompt.n_document)
        return CODE_OK;
    if (!turns)
        return (enum code)fault_set(&ask->fault, CODE_FAILED, "out of memory");
    cut.turns = turns;
    code = prompt_cut(&cut, &ask->prompt, &kept, &all, &ask->fault);
    if (!code && kept < all)
        ui_note(ask->args->ui, "too long: %zu of %zu bytes of the document are kept (--overflow)", kept, all);
    return code;
}

static enum code ask_gather(struct ask *ask)
{
    const struct opt_values *values = ask->args->values;
    const struct template *template = ask->args->template;
    size_t max = qwend_prompt_max(ask->q);
    enum code code;

    if (values->overflow != OPT_OVERFLOW_REFUSE)
        max = ASK_OVERFLOW_BYTES;
    code = prompt_gather(ask->args, template ? template->question : NULL, max, &ask->prompt, &ask->fault);
    if (!code && !values->raw)
        code = prompt_system(values, &ask->system, &ask->fault);
    if (!code)
        code = ask_fit(ask);
    if (code)
        return code;
    ask->text = prompt_join(&ask->prompt, values->raw, &ask->n_text);
    if (!ask->text)
        return (enum code)fault_set(&ask->fault, CODE_FAILED, "out of memory");
    return ask->n_text ? CODE_OK : ask_refuse(ask, "nothing to ask: standard input is empty");
}

static enum code ask_prepare(struct ask *ask)
{
    const struct opt_values *values = ask->args->values;
    enum code code;

    code = ask_check(ask);
    if (code)
        return code;
    if (!ask->args->n && !values->file.n && isatty(STDIN_FILENO) &&
        !(ask->args->template && ask->args->template->question))
        return ask_refuse(ask, "nothing to ask: qwenctl ask TEXT, or a pipe, or -f FILE");
    code = ask_open_session(ask);
    if (!code)
        code = connect_open(ask->args, &ask->q); /* before stdin is read: no daemon is known at once */
    if (code)
        return code;
    if (sig_listen())
        return (enum code)fault_set(&ask->fault, CODE_FAILED, "cannot watch for signals: %s",
                                    strerror(errno));
    return ask_gather(ask);
}

static enum code ask_build(struct ask *ask, qwend_req *req)
{
    struct opt_values sent = *ask->args->values;
    enum code code;
    int r = 0;

    if (sent.raw)
        sent.thinking.given = false; /* of the configuration: raw text is no chat */
    code = gen_set(req, &sent, &ask->fault);
    if (code)
        return code;
    if (sent.raw) {
        r = qwend_req_set_s(req, QWEND_OPT_RAW, ask->text, ask->n_text);
        if (!r)
            r = qwend_req_set_i(req, QWEND_OPT_RAW_SPECIAL,
                                sent.special ? QWEND_SPECIAL_ALL : QWEND_SPECIAL_NONE);
    } else {
        if (ask->system)
            r = talk_set_system(&ask->talk, ask->system);
        if (!r)
            r = talk_fill(&ask->talk, ask->text, ask->n_text, req);
    }
    if (r)
        return (enum code)fault_set(&ask->fault, code_of_errno(r), "the prompt: %s", strerror(-r));
    return CODE_OK;
}

/* --dry-run: the prompt as the engine would read it, and how many tokens that is. */
static enum code ask_show_prompt(struct ask *ask, const qwend_req *req)
{
    const struct cmd_args *args = ask->args;
    _cleanup_(freep) uint32_t *ids = NULL;
    _cleanup_(freep) char *text = NULL;
    struct cmd_page page;
    size_t n, n_ids;
    enum code code;
    int r = 0;

    if (args->values->raw) {
        text = steal(&ask->text);
        n = ask->n_text;
    } else {
        r = qwend_render(ask->q, req, &text, &n);
    }
    if (!r)
        r = qwend_tokenize(ask->q, text, n,
                           args->values->raw && !args->values->special ? QWEND_SPECIAL_NONE
                                                                       : QWEND_SPECIAL_ALL,
                           &ids, &n_ids);
    if (r)
        return connect_fail(args, ask->q, r);
    if (!args->values->json) {
        code = cmd_print(args, text, n);
        if (!code && !args->ui->quiet)
            fprintf(stderr, "%s%zu tokens\n", n && text[n - 1] != '\n' ? "\n" : "", n_ids);
        return code;
    }
    code = cmd_page_open(args, &page);
    if (code)
        return code;
    struct json json = {.file = page.file};
    json_open(&json, NULL, '{');
    json_text(&json, "prompt", text, n);
    json_uint(&json, "tokens", n_ids);
    json_close(&json, '}');
    fputc('\n', page.file);
    return cmd_page_close(args, &page);
}

/* A turn that was broken off or cut by the daemon's end is not kept: the question can be asked again.  It
 * goes through the conversation, which drops the bytes that no prompt may hold. */
static enum code ask_keep(struct ask *ask, const char *answer, size_t n_answer)
{
    if (talk_add(&ask->talk, ask->text, ask->n_text, answer, n_answer))
        return (enum code)fault_set(&ask->fault, CODE_FAILED, "out of memory: the turn is not kept");
    return session_add(ask->session, ask->system, &ask->talk.turns[ask->talk.n_turns - 1], &ask->fault);
}

static enum code ask_run(struct ask *ask, const qwend_req *req)
{
    _cleanup_(freep) char *copy = NULL;
    struct answer answer = {.args = ask->args, .q = ask->q, .req = req};
    enum code code;
    size_t n = 0;

    if (ask->session) {
        answer.copy = open_memstream(&copy, &n);
        if (!answer.copy)
            return (enum code)fault_set(&ask->fault, CODE_FAILED, "out of memory");
    }
    code = answer_run(&answer, &ask->fault);
    if (answer.copy)
        fclose(answer.copy);
    if (ask->session && (code == CODE_OK || code == CODE_CUT)) {
        const enum code kept = ask_keep(ask, copy, n);

        code = kept ? kept : code;
    }
    return code;
}

enum code cmd_ask(const struct cmd_args *args)
{
    _cleanup_(qwend_req_freep) qwend_req *req = qwend_req_new();
    struct ask ask = {.args = args};
    enum code code;

    code = req ? ask_prepare(&ask) : (enum code)fault_set(&ask.fault, CODE_FAILED, "out of memory");
    if (!code)
        code = ask_build(&ask, req);
    if (!code)
        code = args->values->dry_run ? ask_show_prompt(&ask, req) : ask_run(&ask, req);
    if (*ask.fault.text && code != CODE_INT && code != CODE_TERM)
        ui_error(args->ui, "%s", ask.fault.text);
    qwend_close(ask.q);
    prompt_deinit(&ask.prompt);
    talk_deinit(&ask.talk);
    free(ask.text);
    free(ask.system);
    return code;
}
