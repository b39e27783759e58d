/* model.h - a loaded Qwen 3.5: configuration, weights in backend memory, and the forward pass over a batch.
 *
 * model_open() reads the file once and packs the weights into one kern_mem (model->weights.mem), or two,
 * whose fds a later engine may adopt.  struct state is everything that sequences own: KV pages and DeltaNet
 * slots, sized once. */
#pragma once

#include "config.h"
#include "kernels/kernels.h"
#include "weights.h"

struct model {
    struct kern *kern; /* borrowed; outlives the model */
    struct config config;
    struct weights weights;
    char name[64];  /* general.name; "" if the file has none */
    char file[128]; /* the last part of path, cut to fit, UTF-8 */
    uint64_t file_bytes;
    uint8_t digest[32]; /* SHA-256 of the file's header and of the first 4 KiB of every tensor */
};

enum {
    MODEL_OK,
    MODEL_E_TENSOR = WEIGHTS_E_TENSOR,
    MODEL_E_MEMORY = WEIGHTS_E_MEMORY,
    MODEL_E_READ = WEIGHTS_E_READ,
    MODEL_E_STATE,
    MODEL_E_HOST = WEIGHTS_E_HOST,
};

/* gguf is borrowed for the call; path is for show.  0, GGUF_E_*, CONFIG_E_*, MODEL_E_*, < 0.  Faults name the
 * tensor, what it is and what it should be. */
int model_open(const struct gguf *gguf, const char *path, struct kern *kern, enum weights_table table,
               model_progress_fn progress, void *user, struct fault *fault, struct model **ret_model);

/* The same from weights that an earlier engine packed: fds are taken over, also on failure; see
 * weights_adopt(). digest: the model's, as model_open() made it.  No byte of a tensor is read from the file.
 */
int model_adopt(const struct gguf *gguf, const char *path, struct kern *kern, struct weights_fds fds,
                const uint8_t digest[32], struct fault *fault, struct model **ret_model);
struct model *model_free(struct model *model);
CLEANUP_FUNC(struct model, model_free)

/* state */
struct state_size {
    int n_slots;  /* sequences alive at a time */
    int n_ckpts;  /* DeltaNet states kept beside them */
    int max_ctx;  /* positions of the longest sequence */
    int n_pages;  /* KV pages in all; 0: n_slots * CEIL_DIV(max_ctx, KERN_PAGE_TOK) */
    int max_tok;  /* rows of the largest step */
    int max_rows; /* logit rows of one step */
    enum kern_kv_type kv_type;
};
struct state; /* KV arena, DeltaNet arena, activations; borrows the model */

/* Pieces of the weights that can be moved into huge pages, 0 if the backend does not offer it; one of them,
 * as make_huge in kernels.h. */
int model_n_huge(const struct model *model);
int model_make_huge(struct model *model, int i);

/* What state_new() takes from the backend, but for padding of its layouts (below 2 %); the backend's own
 * scratch is not in it.  Does not allocate. */
uint64_t state_bytes(const struct model *model, const struct state_size *size);
uint64_t state_page_bytes(const struct model *model, enum kern_kv_type kv_type); /* of it, a KV page */
uint64_t state_slot_bytes(const struct model *model); /* and a sequence's or a checkpoint's DeltaNet state */

/* Also plan()s the backend, so one state per opened backend.  0, MODEL_E_STATE (sizes that cannot be),
 * MODEL_E_MEMORY, < 0. */
int state_new(struct model *model, const struct state_size *size, struct fault *fault,
              struct state **ret_state);
struct state *state_free(struct state *state);
CLEANUP_FUNC(struct state, state_free)
int state_clear_slot(struct state *state, int slot); /* a fresh sequence: DeltaNet and conv state zero */
int state_n_pages(const struct state *state);
int state_save(struct state *state, int ckpt,
               int slot); /* a slot's DeltaNet and conv state to a checkpoint */
int state_load(struct state *state, int slot, int ckpt); /* and back */
int state_copy_page(struct state *state, int32_t to, int32_t from);

/* Memory that was never written takes its pages at the first use, unless they were given before: of all
 * scratch, one slot, one checkpoint, one KV page.  For any thread, beside steps; only where the backend can.
 */
enum state_part { STATE_SCRATCH, STATE_SLOTS, STATE_CKPTS, STATE_PAGES, STATE_PART_N };
bool state_can_populate(const struct state *state);
int state_n_parts(const struct state *state, enum state_part part);
void state_populate(struct state *state, enum state_part part, int i);

/* To the host and back, in parts: a page of all attention layers, one DeltaNet layer of a checkpoint or slot.
 * Bytes as the backend has them: of use to the same backend with the same shapes only. */
size_t state_page_part_bytes(const struct state *state);
size_t state_slot_part_bytes(const struct state *state);
int state_n_slot_parts(const struct state *state);
int state_get_page(struct state *state, int32_t page, void *host);
int state_put_page(struct state *state, int32_t page, const void *host);
int state_get_ckpt_part(struct state *state, int ckpt, int part, void *host);
int state_put_slot_part(struct state *state, int slot, int part, const void *host);

/* Runs batch through all layers; then logits of rows[n_rows] (ascending rows of the step) into ret_logits,
 * host, [n_rows][n_vocab].  n_rows may be 0.  The spans' slots and pages are advanced.  Allocates nothing.  0
 * or < 0 (backend unusable).  The caller keeps to the state's sizes: ids below n_vocab, pages below n_pages,
 * slots below n_slots. */
int model_forward(struct model *model, struct state *state, const struct kern_batch *batch, const int *rows,
                  int n_rows, float *ret_logits);

/* The same, but the rows stay where they are, until the next step: of each comes what sampling mostly needs.
 * asked as in struct kern_top.  Only where model->kern->ops->top is. */
int model_forward_top(struct model *model, struct state *state, const struct kern_batch *batch,
                      const int *rows, int n_rows, const int32_t *asked, struct kern_top_row *ret_tops);
/* And one of them whole: rows[i_row] of the last step; ret_logits host, [n_vocab]. */
int model_logits(struct model *model, struct state *state, int i_row, float *ret_logits);
