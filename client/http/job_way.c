/* job_way.c - where a job is answered: by the daemon, or by another server if the configuration has some.
 *
 * Those that come first are asked one after the other, then the daemon, then those that come after it; each
 * once, and only as long as not a byte of the answer has been said.  See job.h, upstream.h. */
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "daemon/util/log.h"
#include "job.h"
#include "proto/status.h"

static int way_local(struct job *job, struct refusal *refusal)
{
    const char *why = "";
    int r = 0;

    job->remote = false;
    for (int i = 0; i < job->n && !r; i++) {
        if (job->has_seed) /* n answers from one seed are to differ */
            qwend_req_set_i(job->req, QWEND_OPT_SEED, (int64_t)((uint64_t)job->seed + (uint64_t)i));
        r = link_generate(job->g, &job->choices[i].call, job->req, &why);
    }
    if (!r)
        snprintf(job->id, sizeof(job->id), "%s", qwend_stream_id(job->choices[0].call.stream));
    else if (r == -EMSGSIZE)
        refuse(refusal, 413, "request_too_large", NULL, "%s", why);
    else
        refuse_code(refusal, 0, 1000, why);
    return r ? refusal->status : 0;
}

static void way_draw_id(char id[33])
{
    unsigned char bytes[16] = {};

    if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
        log_warn("no random bytes: an answer's id is not unique");
    for (size_t i = 0; i < sizeof(bytes); i++)
        sprintf(id + 2 * i, "%02x", bytes[i]);
}

/* A server of that policy is left that could be asked. */
static bool way_pick(struct job *job, enum upstream_policy policy)
{
    const struct up_place place = {.model = job->model, .key = job->conversation, .tried = job->tried};

    if (!job->up_body || !job->model)
        return false;
    job->server = upstream_pick(job->g, policy, &place);
    return job->server >= 0;
}

static int way_remote(struct job *job, struct refusal *refusal)
{
    int r = 0;

    job->remote = true;
    job->tried |= 1u << job->server;
    if (!*job->id)
        way_draw_id(job->id);
    for (int i = 0; i < job->n && !r; i++)
        r = upstream_ask(job->g, &job->choices[i].up, job->server, job->owner->name, job->model, job->up_body,
                         job->n_up_body);
    return r ? refuse(refusal, 502, "upstream_failed", NULL, "the upstream could not be asked") : 0;
}

void job_settle_way(struct job *job)
{
    loop_event_free(&job->spill);
    qwend_req_free(steal(&job->req));
    freep(&job->up_body);
    freep(&job->model);
}

/* By the daemon; not for longer in its queue than it may, if somebody else could. */
static int way_stay(struct job *job, struct refusal *refusal)
{
    const uint64_t wait_ms = 1000ull * job->g->options->upstream_wait_s;
    int r = way_local(job, refusal);

    job->was_local = true;
    if (!r && way_pick(job, UPSTREAM_LOCAL_FIRST))
        r = loop_event_new(job->g->base, -1, 0, job_on_spill, job, &job->spill) ||
                    loop_arm_ms(job->spill, wait_ms)
                ? refuse(refusal, 503, "out_of_memory", NULL, "out of memory")
                : 0;
    else if (!r && !job->fits)
        job_settle_way(job);
    return r;
}

int job_begin_way(struct job *job, struct refusal *refusal)
{
    int r = way_pick(job, UPSTREAM_FIRST) ? way_remote(job, refusal) : way_stay(job, refusal);

    if (r && job_switch_way(job, refusal)) {
        *refusal = (struct refusal){};
        return 0;
    }
    return r;
}

/* What another server could do better; not what the user may not, or asked for wrongly. */
static bool way_may_leave(const struct refusal *refusal)
{
    static const int codes[] = {STATUS_TOO_LONG, STATUS_QUEUE_FULL, STATUS_DEADLINE_UNMEETABLE,
                                STATUS_DRAINING, STATUS_LOADING,    STATUS_ENGINE_LOST,
                                STATUS_OOM};

    for (size_t i = 0; i < ARRAY_SIZE(codes); i++)
        if (refusal->code == codes[i])
            return true;
    return !refusal->code && !strcmp(refusal->reason, "daemon_unreachable");
}

static void way_leave(struct job *job)
{
    for (int i = 0; i < job->n; i++) {
        job_end_choice(&job->choices[i]);
        job->choices[i].over = false;
    }
    job->n_over = 0;
}

static uint32_t way_number(const qwend_event *error, const char *name)
{
    for (size_t i = 0; i < error->n_details; i++)
        if (!strcmp(error->details[2 * i], name))
            return (uint32_t)strtoul(error->details[2 * i + 1], NULL, 10);
    return 0;
}

/* Some dialects' max_tokens is a bound only, which clients set as high as the largest model there is: the
 * room in the context, or what the caller's class gets.  It shrinks each time, so that there is an end to it.
 */
bool job_fit(struct job *job, const qwend_event *error)
{
    const uint32_t most = way_number(error, "max_output"), context = way_number(error, "context"),
                   prompt = MAX(way_number(error, "prompt_tokens"), 1);
    const uint32_t room = most ? most : context - MIN(context, prompt);
    struct refusal refusal = {};

    if (!job->req || job->remote || !room || room >= job->fits ||
        (error->code != STATUS_TOO_LONG && error->code != STATUS_CTX_LIMIT))
        return false;
    job->fits = room;
    job->fitted = !most;
    way_leave(job);
    return !qwend_req_set_i(job->req, QWEND_OPT_MAX_TOKENS, room) && !way_local(job, &refusal);
}

/* Where it goes next; -1: here; -2: nowhere. */
static int way_next(struct job *job, const struct refusal *refusal)
{
    if (job->has_said || !job->up_body || !job->req)
        return -2;
    if (!job->was_local)
        return way_pick(job, UPSTREAM_FIRST) ? job->server : -1;
    if (!job->remote && !way_may_leave(refusal))
        return -2;
    return way_pick(job, UPSTREAM_LOCAL_FIRST) ? job->server : -2;
}

bool job_switch_way(struct job *job, struct refusal *refusal)
{
    const struct servers *servers = &job->g->options->servers;
    int next, r = 1;

    while (r && (next = way_next(job, refusal)) != -2) {
        loop_event_free(&job->spill);
        way_leave(job);
        log_info("%s: request %s goes on %s%s: %s", job->owner->name, job->id,
                 next < 0 ? "here" : "at upstream ", next < 0 ? "" : servers->all[next].name,
                 refusal->reason);
        r = next < 0 ? way_stay(job, refusal) : way_remote(job, refusal);
    }
    return !r;
}

void job_pause_choice(struct choice *choice, bool paused)
{
    if (choice->job->remote)
        up_pause(&choice->up, paused);
    else
        call_pause(&choice->call, paused);
}

void job_end_choice(struct choice *choice)
{
    call_end(&choice->call);
    up_end(&choice->up);
}

void job_on_event(struct call *call, const qwend_event *event)
{
    job_on_choice((struct choice *)call, event);
}

void job_on_up_event(struct up_call *call, const qwend_event *event)
{
    job_on_choice((struct choice *)((char *)call - offsetof(struct choice, up)), event);
}

/* It has waited here for as long as it may. */
void job_on_spill(int fd, short what, void *arg)
{
    struct job *job = arg;
    struct refusal refusal;

    if (job->prompt_tokens ||
        !way_pick(job, UPSTREAM_LOCAL_FIRST)) /* it has begun, or nobody is well any more */
        return;
    refuse_code(&refusal, STATUS_QUEUE_FULL, 0, "it waits in the daemon's queue");
    job_fail(job, &refusal); /* which asks them */
}
