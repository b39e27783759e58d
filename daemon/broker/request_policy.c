/* request_policy.c - what a request's class lets it do, and what it costs its account.  See request.h. */
#include "broker.h"
#include "client.h"
#include "daemon/util/clock.h"
#include "request.h"

static bool request_waits(const struct request *request)
{
    return request->state == REQUEST_RECEIVING || request->state == REQUEST_QUEUED;
}

/* What it may take, as far as is known: an answer without a limit counts as none. */
static uint64_t request_tokens(const struct request *request)
{
    return policy_tokens(request->memfd < 0 ? buf_size(&request->body) : request->n_body,
                         request->max_tokens || request->warms ? request->max_tokens : request->output);
}

/* What the account has beside this request. */
static void request_read_usage(const struct request *request, struct policy_usage *usage)
{
    const struct request *other;

    *usage = (struct policy_usage){.rate_wait_ms = rate_wait_ms(&request->account->rate, clock_now_ns())};
    LIST_FOREACH (other, &request->broker->requests, node)
        if (other != request && other->account == request->account && request_waits(other)) {
            usage->n_queued++;
            usage->queued_tokens += request_tokens(other);
        }
}

int request_take_class(struct request *request, const Qwp__Generate *generate, struct refusal *refusal)
{
    const struct policy_class *class = request->client->class;
    const struct policy_ask ask = {.op = POLICY_OP_GENERATE,
                                   .account = generate->account,
                                   .has_priority = generate->has_priority,
                                   .priority = generate->priority,
                                   .has_max_tokens = generate->has_max_tokens,
                                   .max_tokens = generate->max_tokens};
    struct policy_usage usage = {};
    int r;

    /* first what needs no account: a name that is not allowed makes none */
    r = policy_check(class, &ask, &usage, refusal);
    if (!r)
        r = account_get(&request->broker->accounts, request->client->peer.uid, generate->account, class,
                        clock_now_ns(), &request->account);
    if (r)
        return r;
    request->context = class->max_context;
    request->output = class->max_output;
    request->weight = class->weight;
    request->max_running = class->max_running;
    request_read_usage(request, &usage);
    return policy_check(class, &ask, &usage, refusal);
}

int request_check_queue(const struct request *request, struct refusal *refusal)
{
    const struct policy_ask ask = {.op = POLICY_OP_QUEUE, .tokens = request_tokens(request)};
    struct policy_usage usage;

    request_read_usage(request, &usage);
    return policy_check(request->client->class, &ask, &usage, refusal);
}

void request_fill_terms(const struct request *request, Qwe__Terms *terms)
{
    terms->has_account = *request->account->name;
    terms->account = request->account->key;
    terms->has_context = request->context;
    terms->context = request->context;
    terms->has_score = terms->score = request->is_score;
    terms->has_output = request->output;
    terms->output = request->output;
}

void request_charge_tokens(struct request *request, uint64_t n_tokens)
{
    rate_charge(&request->account->rate, n_tokens, clock_now_ns());
}
