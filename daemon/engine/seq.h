/* seq.h - one request while it runs: what it has read, what it has said, and when it is over.
 *
 * ids holds the prompt and then the answer; the model has read the first n_read of them, so n_ids - n_read
 * are pending. A fresh sequence has its whole prompt pending, and behind it the forced ids, which an earlier
 * engine sampled and the broker has delivered: they go through the same text pipeline with their pieces
 * thrown away, so that what follows is what would have followed.  All memory is taken by seq_new(); nothing
 * here allocates afterwards. */
#pragma once

#include "pieces.h"
#include "sample.h"

enum { SEQ_MARKS_MAX = 4 };

enum seq_finish { SEQ_RUNNING, SEQ_STOP, SEQ_LENGTH };

struct seq_config {
    uint32_t handle;
    const int32_t *prompt, *forced; /* copied */
    int n_prompt, n_forced;         /* n_prompt > 0, n_forced <= max_tokens */
    int max_tokens;                 /* > 0; n_prompt + max_tokens fits the context */
    struct sample_params sampling;  /* checked; the bias is copied */
    int n_logprobs;                 /* -1: none */
    bool ignore_eos, paused;
    const bool *stops_at; /* borrowed, [n_vocab]: ids that end the answer */
    struct pieces_config text;
};

struct seq {
    uint32_t handle;
    int slot;          /* state slot, set by the owner */
    uint64_t order;    /* arrival, set by the owner */
    int account, band; /* set by the owner, for sched.h, as is */
    uint64_t deadline_ns;
    /* of the prefix cache and the pages, set by the owner (cache.c) */
    uint64_t owner;                    /* a uid, or a number above all of them: a gateway's user */
    bool uses_cache, keeps_end;        /* keeps_end: a prompt may go on where its answer ends */
    bool waits;                        /* for its beginning, which is read from disk */
    bool yields;                       /* reads only while no other runs */
    bool warms;                        /* is only read, so that the cache has it */
    uint64_t lender;                   /* the public owner whose pages it begins with; 0: none */
    int n_pages;                       /* of its slot's table */
    int n_cached;                      /* tokens that another had read */
    int marks[SEQ_MARKS_MAX], n_marks; /* positions still ahead at which its state is to be kept, ascending */
    int last_mark;                     /* the last one behind it; 0: none */
    int32_t *ids;                      /* owned, [n_prompt + max_tokens] */
    int n_ids, n_read, n_prompt, n_forced, max_tokens;
    int n_reasoning; /* of the answer's ids, those sampled while reasoning, </think> included */
    struct sample_params sampling;
    struct sample_bias *bias; /* owned, what sampling.bias points to */
    int n_logprobs;
    bool ignore_eos, paused;
    const bool *stops_at; /* borrowed */
    struct pieces pieces; /* items: what the last id released */
    enum seq_finish finish;
    /* score.c: ids holds the whole continuation, of which n_scored have their log-probability */
    bool scores;
    int n_scored;
};

int seq_new(const struct seq_config *config, struct fault *fault,
            struct seq **ret_seq); /* 0, STOP_E_INVALID, < 0 */
struct seq *seq_free(struct seq *seq);
CLEANUP_FUNC(struct seq, seq_free)

static inline int seq_n_pending(const struct seq *seq)
{
    return seq->n_ids - seq->n_read;
}
static inline int seq_n_answer(const struct seq *seq)
{
    return seq->n_ids - seq->n_prompt;
}

/* The next token of the answer: sets pieces.items and, if it was the last one, finish. */
void seq_push(struct seq *seq, int32_t id);
