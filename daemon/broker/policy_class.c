/* policy_class.c - what a class lets its users do.  See policy_class.h. */
#include "policy_class.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "proto/status.h"

enum { POLICY_TOKEN_BYTES = 4 }; /* of English text in Qwen's vocabulary */

/* finding */
static bool policy_is_in_group(const struct policy_who *who, gid_t gid)
{
    if (who->gid == gid)
        return true;
    for (size_t i = 0; i < who->n_groups; i++)
        if (who->groups[i] == gid)
            return true;
    return false;
}

static bool policy_matches(const struct policy_match *match, const struct policy_who *who)
{
    switch (match->kind) {
    case POLICY_ANY:
        return true;
    case POLICY_UID:
        return who->uid == match->id;
    case POLICY_GID:
        return policy_is_in_group(who, match->id);
    }
    return false;
}

const struct policy_class *policy_class_find(const struct policy *policy, const struct policy_who *who)
{
    for (size_t i = policy->n; i-- > 0;)
        for (size_t k = 0; k < policy->classes[i].n_matches; k++)
            if (policy_matches(&policy->classes[i].matches[k], who))
                return &policy->classes[i];
    return &policy->otherwise;
}

/* asking */
static const char *const policy_priority_names[] = {"interactive", "normal", "batch"};
static const char *const policy_admin_names[] = {"drain", "reload", "kill"};

static int policy_deny(const struct policy_class *class, const char *what, struct refusal *refusal)
{
    return fault_set(&refusal->fault, STATUS_DENIED, "class %s may not %s", class->name, what);
}

static int policy_over(struct refusal *refusal, const char *used_name, uint64_t used, const char *limit_name,
                       uint64_t limit)
{
    refusal->names[0] = used_name;
    refusal->used = used;
    refusal->names[1] = limit_name;
    refusal->limit = limit;
    return refusal->fault.code;
}

static int policy_check_streams(const struct policy_class *class, uint32_t n_streams, struct refusal *refusal)
{
    const uint32_t max = class->max_streams ? class->max_streams : POLICY_STREAMS_MAX;

    if (n_streams < max)
        return 0;
    fault_set(&refusal->fault, STATUS_CONCURRENCY, "this connection has %u streams open, as many as it may",
              n_streams);
    return policy_over(refusal, "used", n_streams, "limit", max);
}

static int policy_check_account(const struct policy_class *class, const char *account,
                                struct refusal *refusal)
{
    const size_t n = strlen(account);

    if (!class->accounts)
        return policy_deny(class, "name an account", refusal);
    if (!n || n > POLICY_ACCOUNT_BYTES_MAX)
        return fault_set(&refusal->fault, STATUS_INVALID, "account has %zu bytes, must be 1 to %d", n,
                         POLICY_ACCOUNT_BYTES_MAX);
    for (const char *p = account; *p; p++)
        if (!isascii((unsigned char)*p) || !isgraph((unsigned char)*p))
            return fault_set(&refusal->fault, STATUS_INVALID,
                             "account: byte %d is not a printable ASCII character", (int)(p - account));
    return 0;
}

bool policy_has_priority(const struct policy_class *class, Qwp__Priority priority)
{
    return class->priorities & (1u << (priority - 1));
}

static int policy_check_priority(const struct policy_class *class, Qwp__Priority priority,
                                 struct refusal *refusal)
{
    char list[64] = "";

    if (policy_has_priority(class, priority))
        return 0;
    for (size_t i = 0; i < ARRAY_SIZE(policy_priority_names); i++)
        if (class->priorities & (1u << i))
            snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s%s", *list ? ", " : "",
                     policy_priority_names[i]);
    return fault_set(&refusal->fault, STATUS_DENIED, "class %s has no priority %s, only %s", class->name,
                     policy_priority_names[priority - 1], list);
}

static int policy_check_max_tokens(const struct policy_class *class, uint32_t max_tokens,
                                   struct refusal *refusal)
{
    if (class->max_output && max_tokens > class->max_output) {
        fault_set(&refusal->fault, STATUS_CTX_LIMIT, "max_tokens is %u, class %s gets at most %u", max_tokens,
                  class->name, class->max_output);
        return policy_over(refusal, "max_tokens", max_tokens, "max_output", class->max_output);
    }
    if (class->max_context && max_tokens >= class->max_context) {
        fault_set(&refusal->fault, STATUS_CTX_LIMIT,
                  "max_tokens is %u, class %s gets %u for prompt and answer together", max_tokens,
                  class->name, class->max_context);
        return policy_over(refusal, "max_tokens", max_tokens, "context", class->max_context);
    }
    return 0;
}

static int policy_check_load(const struct policy_class *class, const struct policy_usage *usage,
                             struct refusal *refusal)
{
    if (usage->rate_wait_ms) {
        fault_set(&refusal->fault, STATUS_TOKEN_RATE,
                  "class %s gets %u tokens a minute, and they are used up for %.1f s", class->name,
                  class->tokens_per_min, (double)usage->rate_wait_ms / 1e3);
        refusal->retry_after_ms = (uint32_t)MIN(usage->rate_wait_ms, (uint64_t)UINT32_MAX);
        return policy_over(refusal, "tokens_per_min", class->tokens_per_min, "burst", class->burst);
    }
    if (class->max_queued && usage->n_queued >= class->max_queued) {
        fault_set(&refusal->fault, STATUS_QUEUE_FULL, "%u requests of yours wait, class %s may have %u",
                  usage->n_queued, class->name, class->max_queued);
        return policy_over(refusal, "used", usage->n_queued, "limit", class->max_queued);
    }
    return 0;
}

static int policy_check_generate_op(const struct policy_class *class, const struct policy_ask *ask,
                                    const struct policy_usage *usage, struct refusal *refusal)
{
    int r = 0;

    if (ask->account)
        r = policy_check_account(class, ask->account, refusal);
    if (!r && ask->has_priority)
        r = policy_check_priority(class, ask->priority, refusal);
    if (!r && ask->has_max_tokens)
        r = policy_check_max_tokens(class, ask->max_tokens, refusal);
    return r ? r : policy_check_load(class, usage, refusal);
}

/* One request is always taken, or a prompt that is longer than the cap could never be asked. */
static int policy_check_queue(const struct policy_class *class, const struct policy_ask *ask,
                              const struct policy_usage *usage, struct refusal *refusal)
{
    const uint64_t sum = usage->queued_tokens + ask->tokens;

    if (!class->max_queued_tokens || !usage->queued_tokens || sum <= class->max_queued_tokens)
        return 0;
    fault_set(&refusal->fault, STATUS_QUEUE_FULL,
              "requests of yours that wait would take some %llu tokens, class %s may have %u",
              (unsigned long long)sum, class->name, class->max_queued_tokens);
    return policy_over(refusal, "used", usage->queued_tokens, "limit", class->max_queued_tokens);
}

static int policy_check_admin(const struct policy_class *class, uint32_t admin, struct refusal *refusal)
{
    if (class->admin & admin)
        return 0;
    for (size_t i = 0; i < ARRAY_SIZE(policy_admin_names); i++)
        if (admin & (1u << i))
            return policy_deny(class, policy_admin_names[i], refusal);
    return policy_deny(class, "do that", refusal);
}

int policy_check(const struct policy_class *class, const struct policy_ask *ask,
                 const struct policy_usage *usage, struct refusal *refusal)
{
    if (ask->op == POLICY_OP_STREAM)
        return policy_check_streams(class, usage->n_streams, refusal);
    if (ask->op == POLICY_OP_ADMIN)
        return policy_check_admin(class, ask->admin, refusal);
    if (!class->allow)
        return policy_deny(class, "use this service", refusal);
    if (ask->op == POLICY_OP_GENERATE)
        return policy_check_generate_op(class, ask, usage, refusal);
    if (ask->op == POLICY_OP_QUEUE)
        return policy_check_queue(class, ask, usage, refusal);
    return 0;
}

/* what it comes to */
Qwp__Priority policy_priority(const struct policy_class *class)
{
    static const Qwp__Priority order[] = {QWP__PRIORITY__PRIORITY_NORMAL,
                                          QWP__PRIORITY__PRIORITY_INTERACTIVE};

    for (size_t i = 0; i < ARRAY_SIZE(order); i++)
        if (policy_has_priority(class, order[i]))
            return order[i];
    return QWP__PRIORITY__PRIORITY_BATCH;
}

uint32_t policy_context(const struct policy_class *class, uint32_t limit)
{
    return class->max_context ? MIN(class->max_context, limit) : limit;
}

uint32_t policy_output(const struct policy_class *class, uint32_t limit)
{
    return class->max_output ? MIN(class->max_output, limit) : limit;
}

uint64_t policy_tokens(uint64_t n_body_bytes, uint32_t max_tokens)
{
    return CEIL_DIV(n_body_bytes, (uint64_t)POLICY_TOKEN_BYTES) + max_tokens;
}
