/* policy.c - ranges of a request's fields.  See policy.h.  Ranges of the sampling fields: docs/MODEL.md. */
#include "policy.h"

#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>

#include "proto/frame.h"
#include "proto/status.h"

static int policy_refuse(struct fault *fault, const char *field, double value, const char *range)
{
    return fault_set(fault, STATUS_INVALID, "%s is %g, must be %s", field, value, range);
}

/* NaN fails every comparison, so each check asks for what is right. */
static bool policy_is_within(double v, double min, double max)
{
    return v >= min && v <= max;
}

static int policy_check_sampling(const Qwp__Sampling *s, struct fault *fault)
{
    const struct {
        const char *name;
        bool is_set;
        double value, min, max;
        const char *range;
    } rows[] = {
        {"temperature", s->has_temperature, s->temperature, 0, 100, "from 0 to 100"},
        {"top_k", s->has_top_k, s->top_k, 0, POLICY_TOKENS_MAX, "at most 1048576"},
        {"top_p", s->has_top_p, s->top_p, 0, 1, "from 0 to 1"},
        {"min_p", s->has_min_p, s->min_p, 0, 1, "from 0 to 1"},
        {"repeat_penalty", s->has_repeat_penalty, s->repeat_penalty, 0.01f, 100, "from 0.01 to 100"},
        {"presence_penalty", s->has_presence_penalty, s->presence_penalty, -100, 100, "from -100 to 100"},
        {"frequency_penalty", s->has_frequency_penalty, s->frequency_penalty, -100, 100, "from -100 to 100"},
        {"penalty_last_n", s->has_penalty_last_n, s->penalty_last_n, -1, POLICY_TOKENS_MAX,
         "from -1 to 1048576"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        if (rows[i].is_set && !policy_is_within(rows[i].value, rows[i].min, rows[i].max))
            return policy_refuse(fault, rows[i].name, rows[i].value, rows[i].range);
    for (size_t i = 0; i < s->n_logit_bias; i++)
        if (!s->logit_bias[i]->has_id || !isfinite(s->logit_bias[i]->bias))
            return fault_set(fault, STATUS_INVALID, "logit_bias[%zu] has no id or no finite bias", i);
    return 0;
}

static int policy_check_stop(const Qwp__Generate *g, struct fault *fault)
{
    if (g->n_stop > POLICY_STOPS_MAX)
        return fault_set(fault, STATUS_INVALID, "%zu stop strings, at most %d", g->n_stop, POLICY_STOPS_MAX);
    for (size_t i = 0; i < g->n_stop; i++) {
        const size_t n = strlen(g->stop[i]);

        if (!n || n > POLICY_STOP_BYTES_MAX)
            return fault_set(fault, STATUS_INVALID, "stop[%zu] has %zu bytes, must be 1 to %d", i, n,
                             POLICY_STOP_BYTES_MAX);
    }
    return 0;
}

static int policy_check_body(const Qwp__Generate *g, uint16_t flags, struct fault *fault)
{
    const bool more = flags & FRAME_MORE, fd = flags & FRAME_HAS_FD, inline_body = g->has_body;

    if (more + fd + inline_body == 1)
        return 0;
    if (more + fd + inline_body == 0)
        return fault_set(fault, STATUS_INVALID, "no prompt: neither body, nor MORE, nor HAS_FD");
    return fault_set(fault, STATUS_INVALID, "the prompt comes in more than one way:%s%s%s",
                     inline_body ? " body" : "", more ? " MORE" : "", fd ? " HAS_FD" : "");
}

static int policy_check_deadlines(const Qwp__Generate *g, struct fault *fault)
{
    if (g->has_ttft_deadline_ms && !policy_is_within(g->ttft_deadline_ms, 1, POLICY_DEADLINE_MS_MAX))
        return policy_refuse(fault, "ttft_deadline_ms", g->ttft_deadline_ms, "from 1 to 86400000");
    if (g->has_deadline_ms && !policy_is_within(g->deadline_ms, 1, POLICY_DEADLINE_MS_MAX))
        return policy_refuse(fault, "deadline_ms", g->deadline_ms, "from 1 to 86400000");
    if (g->has_ttft_deadline_ms && g->has_deadline_ms && g->ttft_deadline_ms > g->deadline_ms)
        return fault_set(fault, STATUS_INVALID, "ttft_deadline_ms is %u, later than deadline_ms, %u",
                         g->ttft_deadline_ms, g->deadline_ms);
    return 0;
}

static int policy_check_limits(const Qwp__Generate *g, struct fault *fault)
{
    if (g->has_request_id && g->request_id.len != POLICY_ID_BYTES)
        return fault_set(fault, STATUS_INVALID, "request_id has %zu bytes, must be %d", g->request_id.len,
                         POLICY_ID_BYTES);
    if (g->has_max_tokens && !policy_is_within(g->max_tokens, 0, POLICY_TOKENS_MAX))
        return policy_refuse(fault, "max_tokens", g->max_tokens, "at most 1048576");
    if (g->has_logprobs && g->logprobs > POLICY_LOGPROBS_MAX)
        return policy_refuse(fault, "logprobs", g->logprobs, "at most 20");
    if (g->has_credit_bytes &&
        !policy_is_within(g->credit_bytes, POLICY_CREDIT_BYTES_MIN, POLICY_CREDIT_BYTES_MAX))
        return policy_refuse(fault, "credit_bytes", g->credit_bytes, "from 4 to 2097152");
    return 0;
}

int policy_check_generate(const Qwp__Generate *generate, uint16_t flags, struct fault *fault)
{
    int r = policy_check_body(generate, flags, fault);

    if (!r)
        r = policy_check_limits(generate, fault);
    if (!r)
        r = policy_check_deadlines(generate, fault);
    if (!r)
        r = policy_check_stop(generate, fault);
    if (!r && generate->sampling)
        r = policy_check_sampling(generate->sampling, fault);
    return r;
}

int policy_check_attach(const Qwp__Attach *a, struct fault *fault)
{
    if (a->request_id.len != POLICY_ID_BYTES)
        return fault_set(fault, STATUS_INVALID, "request_id has %zu bytes, must be %d", a->request_id.len,
                         POLICY_ID_BYTES);
    if (a->has_credit_bytes &&
        !policy_is_within(a->credit_bytes, POLICY_ATTACH_BYTES_MIN, POLICY_CREDIT_BYTES_MAX))
        return policy_refuse(fault, "credit_bytes", a->credit_bytes, "from 65536 to 2097152");
    return 0;
}

int policy_check_memfd(int fd, struct fault *fault, uint64_t *ret_n_bytes)
{
    const int wanted = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
    const int seals = fcntl(fd, F_GET_SEALS);
    struct stat st;

    /* Only files of a memory file system answer F_GET_SEALS at all. */
    if (seals < 0)
        return fault_set(fault, STATUS_INVALID, "the passed fd is not a memfd");
    if ((seals & wanted) != wanted)
        return fault_set(
            fault, STATUS_INVALID, "the memfd is not sealed: missing%s%s%s%s",
            seals & F_SEAL_WRITE ? "" : " F_SEAL_WRITE", seals & F_SEAL_SHRINK ? "" : " F_SEAL_SHRINK",
            seals & F_SEAL_GROW ? "" : " F_SEAL_GROW", seals & F_SEAL_SEAL ? "" : " F_SEAL_SEAL");
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return fault_set(fault, STATUS_INVALID, "the passed fd is not a regular file");
    if (!st.st_size)
        return fault_set(fault, STATUS_INVALID, "the memfd is empty");
    if (st.st_size > POLICY_BODY_BYTES_MAX)
        return fault_set(fault, STATUS_TOO_LONG, "the prompt body has %lld bytes, at most %d",
                         (long long)st.st_size, POLICY_BODY_BYTES_MAX);
    *ret_n_bytes = (uint64_t)st.st_size;
    return 0;
}

int policy_check_input(uint64_t n_body, uint64_t n_input, uint64_t n, struct fault *fault)
{
    if (n_body + n > POLICY_BODY_BYTES_MAX)
        return fault_set(fault, STATUS_TOO_LONG, "the prompt body has more than %d bytes",
                         POLICY_BODY_BYTES_MAX);
    if (n_input + n > POLICY_INPUT_BYTES_MAX)
        return fault_set(fault, STATUS_CONCURRENCY,
                         "the unfinished prompts of this connection exceed %d bytes", POLICY_INPUT_BYTES_MAX);
    return 0;
}

int policy_check_credit(uint64_t open_bytes, const Qwp__Credit *credit, struct fault *fault)
{
    if (!credit->has_bytes || !credit->bytes)
        return fault_set(fault, STATUS_INVALID, "Credit of 0 bytes");
    if (credit->bytes > POLICY_CREDIT_BYTES_MAX - MIN(open_bytes, (uint64_t)POLICY_CREDIT_BYTES_MAX))
        return fault_set(fault, STATUS_INVALID,
                         "Credit of %u bytes on top of %llu that are open, at most %d together",
                         credit->bytes, (unsigned long long)open_bytes, POLICY_CREDIT_BYTES_MAX);
    return 0;
}
