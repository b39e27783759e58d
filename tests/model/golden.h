/* golden.h - the reference data of one model (tests/golden/README.md) and this engine's answers to the same
 * questions. */
#pragma once

#include "daemon/probe/run.h"

#include <jansson.h>

struct golden_prompt {
    int *ids; /* owned, [n_ids + n_greedy - 1]: the prompt, then what the reference chose */
    int n_ids;
    int *positions; /* owned, [n_positions]; the last one is where greedy_last_row stands */
    int n_positions;
    const int *greedy; /* [n_greedy], into ids */
    double *margin;    /* owned, [n_greedy] */
    int n_greedy;
};

struct golden {
    char gguf[512];
    int n_vocab, n_rows;
    struct golden_prompt *prompts; /* owned */
    int n_prompts;
    float *logits;              /* owned, [n_rows][n_vocab], in the order of prompts and positions */
    double llama_rms, llama_kl; /* how far llama.cpp's CPU code is from them */
    bool is_f32;
};

/* dir/name.json and its logits; fails the test if anything is missing. */
void golden_read(const char *dir, const char *name, struct golden *ret_golden);
void golden_deinit(struct golden *g);

struct golden_setup {
    struct probe_model_options options;
    int longest; /* prompts of more ids are left out; 0: none */
    bool adopt;  /* the weights come from the fd of another backend that packed them */
};
#define GOLDEN_SETUP(...) (&(struct golden_setup){.options = {__VA_ARGS__}})

/* This engine's logits for all of g's positions, in the same order; owned by the caller, *ret_n_rows of them.
 */
float *golden_run(const struct golden *g, const struct golden_setup *setup, int *ret_n_rows);

struct golden_distance {
    double max, rms, kl; /* kl: mean over rows, in nats, of the reference from ours */
};
struct golden_distance golden_compare(const float *ref, const float *ours, int n_rows, int n_vocab);
