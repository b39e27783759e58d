/* run.h - one request from sending to its end: socket, signals, standard output and time watched in one loop.
 *
 * Whoever stops it (SIGINT, a gone reader, --timeout) the request is cancelled on the daemon, which frees its
 * slot at the next step.  What the user must know that is not the answer is said here, on stderr; the sink
 * gets every event. */
#pragma once

#include "client/lib/qwend.h"
#include "code.h"
#include "ui.h"
#include "wait.h"

enum { RUN_EV_SENT = 0 }; /* an event of our own, before those of the library: the request has its id */

struct run;
typedef int (*run_sink)(struct run *run, const qwend_event *event); /* 0, UI_E_*, or negative errno */

enum run_stop { RUN_GOES_ON, RUN_SIGNAL, RUN_GONE, RUN_TIMEOUT, RUN_OUTPUT, RUN_DETACHED };

struct run {
    /* set by the caller */
    struct ui *ui;
    qwend *q;
    run_sink sink;
    void *user;
    const struct opt_values *values;
    bool hides_thinking; /* the sink shows none of it: then it is said that the model reasons */
    /* filled in while it runs */
    qwend_stream *stream;
    uint64_t start_ns, first_ns; /* sent; first text, 0: none yet */
    enum run_stop stop;
    int output_errno;
    bool over;
    struct wait wait; /* what is said until the first text */
    uint64_t read_ns; /* when the reading of the prompt began */
    uint32_t cached_tokens;
    bool leaves;    /* whoever stops it leaves the request running */
    enum code code; /* how it ended, if nobody stopped it */
};

enum code run_request(struct run *run, const qwend_req *req);
enum code run_attach(struct run *run, const char *id);
double run_first_ms(const struct run *run);        /* from sending to the first text; 0: there was none */
double run_tokens_per_s(const qwend_usage *usage); /* while writing */
const char *run_finish_name(qwend_finish finish);  /* "stop", "length" … */
