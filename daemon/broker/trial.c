/* trial.c - Check, and the one word that answers it.  See trial.h. */
#include "trial.h"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

#include "broker.h"
#include "daemon/util/loop.h"
#include "proto/frame.h"
#include "proto/status.h"
#include "proto/wire.h"
#include "spawn.h"

enum {
    TRIAL_FRAME_BYTES = 4 << 10, /* three numbers, or a line of text */
    TRIAL_READ_BYTES = 4 << 10,
    TRIAL_IN_BYTES = FRAME_HEADER_BYTES + TRIAL_FRAME_BYTES + TRIAL_READ_BYTES,
    TRIAL_OUT_BYTES = 64 << 10, /* a path or three */
};

enum { TRIAL_OVER, TRIAL_E_AGAIN, TRIAL_E_SILENT }; /* SILENT: it will say nothing more */

void trial_init(struct trial *trial, struct broker *broker)
{
    *trial = (struct trial){.broker = broker, .sock.fd = -1};
}

void trial_stop(struct trial *trial)
{
    if (trial->pid)
        kill(trial->pid, SIGKILL); /* supervise.c waits for it */
    trial->pid = 0;
    loop_event_free(&trial->readable);
    loop_event_free(&trial->patience);
    sock_deinit(&trial->sock);
    trial->sock.fd = -1;
}

static void trial_unfit(struct trial *trial, int code, const char *text)
{
    struct fault fault;

    fault_set(&fault, code, "%s", text);
    trial_stop(trial);
    use_on_unfit(&trial->broker->use, &fault);
}

/* False: it is not what an engine answers. */
static bool trial_take(struct trial *trial, const struct frame *frame)
{
    ProtobufCMessage *msg;

    if ((frame->type != MSG_E_CHECKED && frame->type != MSG_E_FAILED) || frame->flags ||
        wire_unpack(wire_message_type(frame->type), frame->body, frame->length, NULL, &msg))
        return false;
    if (frame->type == MSG_E_CHECKED) {
        trial_stop(trial);
        use_on_fit(&trial->broker->use, (const Qwe__Checked *)msg);
    } else {
        const Qwe__Failed *failed = (const Qwe__Failed *)msg;

        trial_unfit(trial, failed->has_code && failed->code ? (int)failed->code : STATUS_INTERNAL,
                    failed->text ? failed->text : "the engine cannot serve it");
    }
    wire_free(msg);
    return true;
}

static int trial_read(struct trial *trial)
{
    struct frame frame;
    int r, end;

    do
        end = sock_read(&trial->sock, TRIAL_READ_BYTES);
    while (!end);
    r = frame_next(&trial->sock.in, TRIAL_FRAME_BYTES, &frame);
    if (r == FRAME_E_AGAIN)
        return end == SOCK_E_AGAIN ? TRIAL_E_AGAIN : TRIAL_E_SILENT;
    if (r || !trial_take(trial, &frame))
        trial_unfit(trial, STATUS_INTERNAL, "the engine that looked at it said what is not in engine.proto");
    return TRIAL_OVER;
}

static void trial_on_readable(int fd, short what, void *arg)
{
    struct trial *trial = arg;

    if (trial_read(trial) == TRIAL_E_AGAIN)
        loop_watch(trial->readable); /* SILENT: its death says more, and is told to trial_on_child() */
}

static void trial_on_patience(int fd, short what, void *arg)
{
    trial_unfit(arg, STATUS_INTERNAL, "the engine that looked at it did not come to an end in time");
}

void trial_on_child(struct trial *trial)
{
    char how[96], text[200];
    int status;

    if (!trial->pid || waitpid(trial->pid, &status, WNOHANG) != trial->pid)
        return;
    trial->pid = 0;
    if (trial_read(trial) == TRIAL_OVER)
        return;
    spawn_describe_exit(status, how, sizeof(how));
    snprintf(text, sizeof(text), "the engine that looked at it %s", how);
    trial_unfit(trial, STATUS_INTERNAL, text);
}

static int trial_ask(struct trial *trial, const char *model)
{
    const struct supervise *supervise = &trial->broker->supervise;
    const Qwe__Ready *ready = supervise->ready;
    Qwe__Check check = QWE__CHECK__INIT;
    Qwe__Start start;
    uint8_t *body;
    int r;

    supervise_fill_start(supervise, model, &start);
    check.start = &start;
    check.has_held_bytes = true;
    check.held_bytes = ready ? ready->weights_bytes + ready->state_bytes + ready->cache_bytes : 0;
    r = frame_open(&trial->sock.out, 0, MSG_E_CHECK, 0, qwe__check__get_packed_size(&check), &body);
    if (r)
        return r < 0 ? r : err_origin(-ENOBUFS);
    qwe__check__pack(&check, body);
    sock_appended(&trial->sock);
    return sock_flush(&trial->sock) ? err_origin(-EPIPE) : 0; /* a socket just made takes all of it */
}

static int trial_open(struct trial *trial, const char *model)
{
    struct broker *broker = trial->broker;
    int fd, r = spawn_engine(broker->supervise.engine, broker->options->verbose, &trial->pid, &fd);

    if (r)
        return r;
    sock_init(&trial->sock, fd, TRIAL_IN_BYTES, TRIAL_OUT_BYTES);
    r = loop_event_new(broker->base, fd, EV_READ, trial_on_readable, trial, &trial->readable);
    if (!r)
        r = loop_event_new(broker->base, -1, 0, trial_on_patience, trial, &trial->patience);
    if (!r)
        r = trial_ask(trial, model);
    if (!r)
        r = loop_watch(trial->readable);
    return r ? r : loop_arm_ms(trial->patience, broker->options->load_timeout_s * 1000ull);
}

int trial_start(struct trial *trial, const char *model)
{
    int r = trial_open(trial, model);

    if (r)
        trial_stop(trial);
    return r;
}
