/* policy_class.h - who may do how much: the classes of qwend.conf (design: docs/OPERATIONS.md §3).
 *
 * Pure: which class a peer is in and whether it may do something are answered from the arguments alone.  Two
 * classes are always there, "user" (everybody) and "admin" (root and group qwend-admin); the files change
 * them and add others, and the last one that matches counts. */
#pragma once

#include <sys/types.h>

#include "policy.h"

enum {
    POLICY_CLASSES_MAX = 64,
    POLICY_MATCHES_MAX = 32, /* of one class */
    POLICY_NAME_BYTES = 64,  /* of a class, with its NUL */
    POLICY_ACCOUNT_BYTES_MAX = 64,
    POLICY_WEIGHT_DEFAULT = 100,
};

enum policy_kind { POLICY_ANY, POLICY_UID, POLICY_GID };
struct policy_match {
    enum policy_kind kind;
    uint32_t id;
};

enum policy_admin { POLICY_DRAIN = 1 << 0, POLICY_RELOAD = 1 << 1, POLICY_KILL = 1 << 2 };

struct policy_class {
    char name[POLICY_NAME_BYTES];
    struct policy_match matches[POLICY_MATCHES_MAX];
    size_t n_matches;
    bool allow, accounts; /* may ask anything; may name accounts of its own */
    uint32_t weight;      /* of its share when the service is busy */
    /* of one account; 0: no cap of its own */
    uint32_t max_running, max_queued, max_queued_tokens, max_mib, tokens_per_min, burst;
    uint32_t max_streams;             /* of one connection */
    uint32_t max_context, max_output; /* tokens of one request */
    uint32_t priorities;              /* bit i: Qwp__Priority i + 1 */
    uint32_t admin;                   /* enum policy_admin */
};

struct policy {
    struct policy_class classes[POLICY_CLASSES_MAX], otherwise; /* in the order of the files; no match */
    size_t n;
};

struct policy_who {
    uid_t uid;
    gid_t gid;
    const gid_t *groups; /* borrowed; the supplementary ones */
    size_t n_groups;
};
const struct policy_class *policy_class_find(const struct policy *policy, const struct policy_who *who);

/* What is asked, and what its account has already.  Only what the operation looks at needs to be set. */
enum policy_op {
    POLICY_OP_STREAM,   /* another stream on a connection that has n_streams */
    POLICY_OP_TEXT,     /* a question about text */
    POLICY_OP_GENERATE, /* a request: account, priority, max_tokens; n_queued, rate_wait_ms */
    POLICY_OP_QUEUE,    /* its prompt is there: tokens, queued_tokens */
    POLICY_OP_ADMIN,    /* admin: one of enum policy_admin */
};
struct policy_ask {
    enum policy_op op;
    const char *account; /* NULL: none was named */
    bool has_priority, has_max_tokens;
    Qwp__Priority priority;
    uint32_t max_tokens, admin;
    uint64_t tokens; /* what it may take, estimated: see policy_tokens() */
};
struct policy_usage {
    uint32_t n_streams, n_queued;
    uint64_t queued_tokens;
    uint64_t rate_wait_ms; /* 0: the account has tokens left */
};
/* 0, or the status code to refuse with and why. */
int policy_check(const struct policy_class *class, const struct policy_ask *ask,
                 const struct policy_usage *usage, struct refusal *refusal);

bool policy_has_priority(const struct policy_class *class, Qwp__Priority priority);
/* The priority of a request that names none: normal, else the highest that the class has. */
Qwp__Priority policy_priority(const struct policy_class *class);
/* What a class lets a request use, at most limit. */
uint32_t policy_context(const struct policy_class *class, uint32_t limit);
uint32_t policy_output(const struct policy_class *class, uint32_t limit);
/* Tokens that a request is taken for before the engine has counted them. */
uint64_t policy_tokens(uint64_t n_body_bytes, uint32_t max_tokens);
