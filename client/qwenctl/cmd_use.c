/* cmd_use.c - `qwenctl use`: another model instead of the one that is served, with what happens shown as it
 * does. */
#include <poll.h>
#include <signal.h>
#include <string.h>

#include "cmd.h"
#include "pick.h"
#include "proto/status.h"
#include "sig.h"
#include "tick.h"

struct use {
    const struct cmd_args *args;
    qwend *q;
    qwend_stream *stream;
    const char *path;
    char *text; /* owned; what came of it */
    bool over, cancelled;
    uint64_t until_ns; /* --timeout; 0: none */
    enum code code;
};

/* The daemon may see less than we do: another user, and a unit that hides /home from it. */
static void use_explain(const struct use *use, const qwend_event *event)
{
    if (event->code == STATUS_INVALID && access(use->path, F_OK) == 0 &&
        (strstr(event->text, strerror(EACCES)) || strstr(event->text, strerror(ENOENT))))
        ui_note(use->args->ui, "what the daemon may read is in /var/lib/qwend/models: sudo qwenctl import %s",
                use->path);
}

static void use_on_error(struct use *use, const qwend_event *event)
{
    ui_progress_end(use->args->ui);
    use->code = code_of_status(event->code);
    if (use->cancelled && event->code == STATUS_CANCELLED) {
        ui_note(use->args->ui, "%s", event->text);
        use->code = !sig_pending() ? CODE_DEADLINE : sig_pending() == SIGTERM ? CODE_TERM : CODE_INT;
        return;
    }
    ui_error(use->args->ui, event->code ? "refused: %s (%s %d)" : "%s", event->text, status_name(event->code),
             event->code);
    use_explain(use, event);
}

static void use_on_progress(const struct use *use, const qwend_event *event)
{
    struct ui *ui = use->args->ui;

    if (!strcmp(event->text, "draining"))
        ui_progress(ui, "%u requests of the old model are served to their end", event->position);
    else if (!strcmp(event->text, "loading"))
        ui_progress(ui, "the model is being loaded, %u %%", event->load_permille / 10);
    else if (!strcmp(event->text, "returning"))
        ui_progress(ui, "it could not be loaded; the old model is, again, %u %%", event->load_permille / 10);
    else
        ui_progress(ui, "the file is looked at");
}

static int use_on_event(qwend_stream *stream, const qwend_event *event, void *user)
{
    struct use *use = user;

    if (event->type == QWEND_EV_USE) {
        use_on_progress(use, event);
        use->over = use->args->values->no_wait && strcmp(event->text, "checking") != 0;
        return 0;
    }
    use->over = true;
    use->stream = NULL;
    if (event->type == QWEND_EV_ERROR)
        use_on_error(use, event);
    else
        use->text = strdup(event->text ? event->text : "");
    return 0;
}

static bool use_is_late(const struct use *use)
{
    return use->until_ns && tick_ns() >= use->until_ns;
}

static int use_wait_ms(const struct use *use)
{
    const uint64_t now_ns = tick_ns();

    if (!use->until_ns || use->cancelled)
        return -1;
    return use->until_ns > now_ns ? (int)MIN(CEIL_DIV(use->until_ns - now_ns, 1000000u), (uint64_t)INT32_MAX)
                                  : 0;
}

/* The first signal and the end of the time call it off, if it is not too late; the second signal ends the
 * program (sig.h). */
static int use_call_off_in_time(struct use *use)
{
    if (use->cancelled || (!sig_pending() && !use_is_late(use)))
        return 0;
    use->cancelled = true;
    return qwend_cancel(use->stream);
}

static int use_step(struct use *use)
{
    struct pollfd fds[] = {
        {.fd = qwend_fd(use->q), .events = qwend_events(use->q)},
        {.fd = use->cancelled ? -1 : sig_fd(), .events = POLLIN},
    };
    int r;

    if (poll(fds, ARRAY_SIZE(fds), use_wait_ms(use)) < 0)
        return errno == EINTR ? 0 : err_errno();
    r = use_call_off_in_time(use);
    if (!r && fds[0].revents)
        r = qwend_dispatch(use->q, fds[0].revents);
    return r;
}

static enum code use_print(struct use *use)
{
    struct cmd_page page;
    enum code code;

    ui_progress_end(use->args->ui);
    sig_clear(); /* it came too late to call anything off */
    if (use->args->ui->quiet)
        return CODE_OK;
    code = cmd_page_open(use->args, &page);
    if (code)
        return code;
    fprintf(page.file, "%s\n", use->text ? use->text : "begun: qwenctl status says how far it is");
    return cmd_page_close(use->args, &page);
}

static enum code use_run(struct use *use)
{
    const struct opt_int timeout = use->args->values->timeout_ms;
    int r = sig_listen();

    if (timeout.given)
        use->until_ns = tick_ns() + (uint64_t)timeout.value * 1000000u;

    if (!r)
        r = qwend_use(use->q, use->path, use_on_event, use, &use->stream);
    if (r)
        return connect_fail(use->args, use->q, r);
    while (!r && !use->over)
        r = use_step(use);
    if (use->stream)
        qwend_stream_detach(use->stream);
    if (!r)
        return use->code ? use->code : use_print(use);
    ui_progress_end(use->args->ui);
    ui_error(use->args->ui, "the connection was lost; qwenctl status says what is served");
    return connect_fail(use->args, use->q, r);
}

static enum code use_call_off(const struct cmd_args *args)
{
    _cleanup_(qwend_closep) qwend *q = NULL;
    enum code code = connect_open(args, &q);
    int r;

    if (code)
        return code;
    r = qwend_use_cancel(q);
    if (r)
        return connect_fail(args, q, r);
    ui_note(args->ui, "called off: the model that was served still is");
    return CODE_OK;
}

enum code cmd_use(const struct cmd_args *args)
{
    _cleanup_(qwend_closep) qwend *q = NULL;
    _cleanup_(freep) char *path = NULL;
    struct use use = {.args = args};
    struct fault fault = {};
    enum code code;

    if (args->n != !args->values->call_off) {
        ui_error(args->ui, args->n ? "--call-off takes no model" : "which model? qwenctl models lists them");
        return CODE_USAGE;
    }
    if (!args->n)
        return use_call_off(args);
    code = pick_model(args->args[0], &path, &fault);
    if (code) {
        ui_error(args->ui, "%s", fault.text);
        return code;
    }
    code = connect_open(args, &q);
    if (code)
        return code;
    use.q = q;
    use.path = path;
    code = use_run(&use);
    free(use.text);
    return code;
}
