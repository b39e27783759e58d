/* cmd_top.c - `qwenctl top`: the service at work, live on a terminal, once anywhere else. */
#include <langinfo.h>
#include <poll.h>
#include <signal.h>
#include <string.h>

#include "board.h"
#include "cmd.h"
#include "proto/status.h"
#include "screen.h"
#include "sig.h"

struct top {
    const struct cmd_args *args;
    qwend *q;
    struct board board;
    struct screen screen;
    const qwend_sample *sample; /* borrowed from q until its next event; NULL: none */
    int state;                  /* of the service when the title was made */
    bool over;
    enum code code;
};

static void top_init(struct top *top, const struct cmd_args *args)
{
    const char *no_color = getenv("NO_COLOR");
    const int color = args->values->color;

    *top = (struct top){.args = args, .code = CODE_OK};
    top->board.utf8 = !strcmp(nl_langinfo(CODESET), "UTF-8");
    top->board.color = color == OPT_COLOR_ALWAYS || (color == OPT_COLOR_AUTO && !(no_color && *no_color));
}

static unsigned top_interval_ms(const struct cmd_args *args)
{
    return args->values->interval_ms.given ? (unsigned)args->values->interval_ms.value : 0;
}

/* once */
/* The daemon's name for its model is asked for beside the sample, which does not carry it. */
static enum code top_print(struct top *top, const qwend_status_info *info, const qwend_sample *sample)
{
    struct cmd_page page;
    enum code code = cmd_page_open(top->args, &page);

    if (code)
        return code;
    if (top->args->values->json)
        board_put_json(page.file, info, sample);
    else
        board_put(page.file, &top->board, sample);
    return cmd_page_close(top->args, &page);
}

static enum code top_refused(struct top *top, const qwend_event *event)
{
    ui_error(top->args->ui, "refused: %s (%s %d)", event->text, status_name(event->code), event->code);
    return code_of_status(event->code);
}

static enum code top_once(struct top *top)
{
    _cleanup_(freep) char *model = NULL, *backend = NULL;
    qwend_status_info info;
    qwend_stream *stream;
    qwend_event event;
    enum code code;
    int r = qwend_status(top->q, &info);

    if (r)
        return connect_fail(top->args, top->q, r);
    board_set_title(&top->board, &info);
    model = strdup(info.model); /* the next call takes them back */
    backend = strdup(info.backend);
    if (!model || !backend)
        return connect_fail(top->args, top->q, -ENOMEM);
    info.model = model;
    info.backend = backend;
    r = qwend_subscribe(top->q, 0, NULL, NULL, &stream);
    if (!r)
        r = qwend_next(stream, &event);
    if (r <= 0)
        return connect_fail(top->args, top->q, r ? r : -EPIPE);
    code = event.type == QWEND_EV_SAMPLE ? top_print(top, &info, event.sample) : top_refused(top, &event);
    qwend_stream_free(stream);
    return code;
}

/* live */
static int top_draw(struct top *top)
{
    _cleanup_(freep) char *text = NULL;
    FILE *file;
    size_t n;

    if (!top->sample)
        return 0;
    file = open_memstream(&text, &n);
    if (!file)
        return err_origin(-ENOMEM);
    screen_size(&top->board.columns, &top->board.rows);
    board_put(file, &top->board, top->sample);
    if (fclose(file))
        return err_origin(-ENOMEM);
    return screen_put(text, n);
}

static int top_on_event(qwend_stream *stream, const qwend_event *event, void *user)
{
    struct top *top = user;

    top->sample = event->type == QWEND_EV_SAMPLE ? event->sample : NULL;
    if (top->sample)
        return 0;
    top->over = true;
    screen_close(&top->screen);
    if (event->type == QWEND_EV_ERROR)
        top->code = top_refused(top, event);
    return 0;
}

/* Samples do not carry what is served; a sample that comes while this is asked is lost to the answer. */
static int top_ask_model(struct top *top)
{
    qwend_status_info info;
    int r = qwend_status(top->q, &info);

    top->sample = NULL;
    if (r)
        return r;
    board_set_title(&top->board, &info);
    top->state = info.state;
    return 0;
}

/* Another state: a model may have been loaded. */
static bool top_is_outdated(const struct top *top)
{
    return top->sample && top->sample->state != top->state;
}

static bool top_takes_key(struct top *top)
{
    int key;

    while ((key = screen_key()) >= 0)
        if (key == 'q' || key == 'Q' || key == 4) /* Ctrl-D */
            return true;
    return key == -2; /* the terminal is gone */
}

/* Waits for a sample, a key, a signal or another size. */
static int top_step(struct top *top)
{
    struct pollfd fds[] = {
        {.fd = qwend_fd(top->q), .events = qwend_events(top->q)},
        {.fd = sig_fd(), .events = POLLIN},
        {.fd = top->screen.has_keys ? STDIN_FILENO : -1, .events = POLLIN},
    };
    int r = 0;

    if (poll(fds, ARRAY_SIZE(fds), -1) < 0)
        return errno == EINTR ? 0 : err_errno();
    if (fds[2].revents && top_takes_key(top)) {
        top->over = true;
        return 0;
    }
    if (fds[1].revents)
        sig_take_resize();
    if (fds[0].revents)
        r = qwend_dispatch(top->q, fds[0].revents);
    if (!r && top_is_outdated(top))
        r = top_ask_model(top);
    return r || top->over || sig_pending() ? r : top_draw(top);
}

static enum code top_live(struct top *top)
{
    qwend_stream *stream = NULL;
    int r = top_ask_model(top);

    if (!r)
        r = sig_listen();
    if (!r)
        r = sig_listen_resize();
    if (!r)
        r = qwend_subscribe(top->q, top_interval_ms(top->args), top_on_event, top, &stream);
    if (!r)
        r = screen_open(&top->screen);
    while (!r && !top->over && !sig_pending())
        r = top_step(top);
    screen_close(&top->screen);
    qwend_stream_free(stream);
    if (sig_pending())
        return sig_pending() == SIGTERM ? CODE_TERM : CODE_INT;
    return r ? connect_fail(top->args, top->q, r) : top->code;
}

enum code cmd_top(const struct cmd_args *args)
{
    _cleanup_(qwend_closep) qwend *q = NULL;
    const char *term = getenv("TERM");
    struct top top;
    enum code code = connect_open(args, &q);

    if (code)
        return code;
    top_init(&top, args);
    top.q = q;
    if (args->values->once || args->values->json || !args->ui->out_tty || !term || !*term ||
        !strcmp(term, "dumb"))
        return top_once(&top);
    return top_live(&top);
}
