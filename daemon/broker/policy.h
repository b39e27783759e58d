/* policy.h - what a request may ask for.  Pure functions: the same question always has the same answer. */
#pragma once

#include "proto/base.h"
#include "qwend.pb-c.h"

enum {
    POLICY_BODY_BYTES_MAX = 8 << 20,   /* one prompt: 2 M tokens of Qwen's usual 4 bytes */
    POLICY_INPUT_BYTES_MAX = 16 << 20, /* unfinished prompts of one connection */
    POLICY_STREAMS_MAX = 64,           /* live streams of one connection */
    POLICY_CREDIT_BYTES_MIN = 4,       /* the longest UTF-8 sequence: less could never be spent */
    POLICY_CREDIT_BYTES_MAX = 2 << 20, /* OpenSSH's session window */
    POLICY_CREDIT_BYTES_DEFAULT = 64 << 10,
    POLICY_ATTACH_BYTES_MIN = 64 << 10, /* the longest text of one Delta (wire_caps.c, Piece.text) */
    POLICY_TOKENS_MAX = 1 << 20,        /* the longest context that Qwen 3.5 is extended to */
    POLICY_LOGPROBS_MAX = 20,
    POLICY_SCORES_MAX = 65536, /* tokens of a Score, as in the engine */
    POLICY_STOPS_MAX = 16,
    POLICY_STOP_BYTES_MAX = 256,
    POLICY_ID_BYTES = 16,
    POLICY_DEADLINE_MS_MAX = 24 * 3600 * 1000,
};

/* A refusal for a limit that was met: its numbers go into the details. */
struct refusal {
    struct fault fault;
    uint64_t used, limit;    /* both 0: no numbers */
    const char *names[2];    /* of the two in the details; NULL: used and limit */
    uint32_t retry_after_ms; /* 0: as usual */
};

/* 0, or the status code to refuse with; the fault names the field, its value and its range.  flags: of the
 * frame. */
int policy_check_generate(const Qwp__Generate *generate, uint16_t flags, struct fault *fault);

int policy_check_attach(const Qwp__Attach *attach, struct fault *fault);

/* 0 if the fd is a regular file in memory that can no longer change, at most POLICY_BODY_BYTES_MAX long. */
int policy_check_memfd(int fd, struct fault *fault, uint64_t *ret_n_bytes);

/* A piece of n bytes of a prompt: n_body were there before, n_input is what the connection has unfinished. */
int policy_check_input(uint64_t n_body, uint64_t n_input, uint64_t n, struct fault *fault);

/* Checks a credit grant against the window that is open: 0 or STATUS_INVALID. */
int policy_check_credit(uint64_t open_bytes, const Qwp__Credit *credit, struct fault *fault);
