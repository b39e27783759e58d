/* gpu_run.h - a model on a backend, stepped by gpu_driver's verbs. */
#pragma once

#include "daemon/model/model.h"

struct gpu_run {
    struct gguf *gguf;
    struct kern *kern;
    struct model *model;
    struct state *state;
    int n_vocab, n_seq, chunk;
    int32_t *pages;            /* [n_seq][CEIL_DIV(max_ctx, KERN_PAGE_TOK)] */
    int n_page;                /* of each */
    float *logits;             /* [n_seq][n_vocab] */
    struct kern_top_row *tops; /* [n_seq] */
};

/* Each sequence has short_ctx positions of its own; sequence 0 has max_ctx, in the others' memory where they
 * are more: it is alone then.  0, or < 0 and what was wrong has been said; gpu_run_close() either way. */
int gpu_run_open(struct gpu_run *run, const char *backend, const char *path, int n_seq, int chunk,
                 int max_ctx, int short_ctx, enum kern_kv_type kv_type, enum weights_table table);
void gpu_run_close(struct gpu_run *run);
int gpu_run_clear(struct gpu_run *run, int seq);
/* n tokens of sequence 0 at pos; logits of the last, or NULL. */
int gpu_run_step(struct gpu_run *run, const int32_t *ids, int n, int pos, float *ret_logits);
/* One token of each of n_seq sequences, all at pos; as for an engine: tops of all, or logits where the
 * backend gives no tops. */
int gpu_run_decode(struct gpu_run *run, int n_seq, int pos);
