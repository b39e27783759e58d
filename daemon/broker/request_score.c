/* request_score.c - a Score: runs like a Generate, and is answered once, by ScoreReply.  See request.h. */
#include <string.h>

#include "broker.h"
#include "client.h"
#include "proto/frame.h"
#include "proto/status.h"
#include "request.h"

void request_open_score(struct client *client, struct client_stream *stream, const Qwp__Score *score,
                        uint16_t flags, int *memfd)
{
    Qwp__Generate generate = QWP__GENERATE__INIT;

    generate.has_request_id = score->has_request_id;
    generate.request_id = score->request_id;
    generate.has_body = score->has_body;
    generate.body = score->body;
    generate.has_thinking = score->has_thinking;
    generate.thinking = score->thinking;
    generate.has_priority = score->has_priority;
    generate.priority = score->priority;
    generate.account = score->account;
    request_open(client, stream, &generate, flags, memfd, true);
}

/* Room for as many logprobs as the replay log has for ids.  > 0: the uid may hold no more. */
static int request_reserve_scores(struct request *request)
{
    const size_t n_bytes = request->cap_ids * sizeof(*request->logprobs);
    float *logprobs;
    int r;

    if (request->score_charge.amount == n_bytes)
        return 0;
    r = request->score_charge.user ? quota_resize(&request->score_charge, n_bytes)
                                   : quota_charge(&request->broker->quota, request->account->key, QUOTA_BYTES,
                                                  n_bytes, &request->score_charge);
    if (r)
        return r;
    logprobs = realloc(request->logprobs, n_bytes);
    if (!logprobs)
        return err_origin(-ENOMEM);
    request->logprobs = logprobs;
    return 0;
}

static void request_answer_score(struct request *request)
{
    Qwp__ScoreReply reply = QWP__SCORE_REPLY__INIT;
    struct fault fault;

    reply.ids = request->ids;
    reply.logprobs = request->logprobs;
    reply.n_ids = reply.n_logprobs = request->n_ids;
    reply.has_sum = true;
    for (size_t i = 0; i < request->n_ids; i++)
        reply.sum += (double)request->logprobs[i];
    reply.has_prompt_tokens = reply.has_cached_tokens = request->has_started;
    reply.prompt_tokens = request->prompt_tokens;
    reply.cached_tokens = request->cached_tokens;
    if (client_offer(request->client, request->stream, MSG_SCORE_REPLY, FRAME_END_STREAM, &reply.base)) {
        fault_set(&fault, STATUS_SLOW_CONSUMER, "the connection has no room for %zu scores", request->n_ids);
        request_fail(request, &fault);
        return;
    }
    metrics_on_finish(request_metrics(request), request->finish);
    request_free(request);
}

int request_take_scores(struct request *request, const Qwe__Emit *emit)
{
    const size_t at = request->n_ids - emit->n_ids;
    struct fault fault;
    int r;

    if (emit->n_logprobs != emit->n_ids)
        return err_origin(-EBADMSG);
    r = request_reserve_scores(request);
    if (r) {
        if (r < 0)
            fault_set(&fault, STATUS_INTERNAL, "out of memory for %zu scores", request->n_ids);
        else
            fault_set(&fault, STATUS_CONCURRENCY, "%zu scores would exceed what uid %u may hold",
                      request->n_ids, request->client->peer.uid);
        request_fail(request, &fault);
        return 0;
    }
    for (size_t i = 0; i < emit->n_ids; i++)
        request->logprobs[at + i] = emit->logprobs[i]->logprob;
    if (request->state == REQUEST_DONE)
        request_answer_score(request);
    return 0;
}

void request_cancel_score(struct request *request)
{
    struct fault fault;

    fault_set(&fault, STATUS_CANCELLED, "the question was cancelled");
    request_fail(request, &fault);
}
