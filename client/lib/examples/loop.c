/* loop.c - libqwend in an event loop: two questions at once on one connection, answers printed as they come.
 *
 * Any loop does: watch qwend_fd() for qwend_events(), wait at most qwend_timeout_ms(), then call
 * qwend_dispatch(). */
#include <poll.h>
#include <qwend.h>
#include <stdio.h>

static int n_running;

static int loop_on_event(qwend_stream *stream, const qwend_event *event, void *user)
{
    const char *name = user;

    switch (event->type) {
    case QWEND_EV_ANSWER:
        printf("%s: %s\n", name, event->text);
        break;
    case QWEND_EV_END:
        printf("%s: %u tokens\n", name, event->usage->answer_tokens);
        n_running--;
        break;
    case QWEND_EV_ERROR:
        printf("%s: refused with %d: %s\n", name, event->code, event->text);
        n_running--;
        break;
    default:
        break;
    }
    return 0;
}

static int loop_ask(qwend *q, const char *question, char *name)
{
    qwend_req *req = qwend_req_new();
    qwend_stream *stream;
    int r;

    if (!req || qwend_req_message(req, QWEND_USER, question, (size_t)-1))
        return -1;
    r = qwend_generate(q, req, loop_on_event, name, &stream);
    qwend_req_free(req);
    n_running += r == 0;
    return r;
}

int main(int argc, char **argv)
{
    char red[] = "red", blue[] = "blue";
    qwend *q = NULL;
    int r;

    r = qwend_open(&q, argc > 1 ? argv[1] : NULL, QWEND_NONBLOCK);
    if (r == 0)
        r = loop_ask(q, "Name a red fruit.", red);
    if (r == 0)
        r = loop_ask(q, "Name a blue flower.", blue);
    while (r == 0 && n_running > 0) {
        struct pollfd pollfd = {.fd = qwend_fd(q), .events = qwend_events(q)};

        poll(&pollfd, 1, qwend_timeout_ms(q));
        r = qwend_dispatch(q, pollfd.revents);
    }
    if (r)
        fprintf(stderr, "%s: %s\n", argv[0], qwend_error(q));
    qwend_close(q);
    return r != 0;
}
