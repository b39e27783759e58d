/* engine.h - the process that owns the model and may die at any moment.
 *
 * One thread: frames from the broker between steps, then a step of all sequences that can run; another one
 * for long text beside them (textwork.h).  The engine keeps no truth: everything it knows about a request
 * came in one Submit, and the broker can send the same again, with the ids emitted so far, to the next
 * engine.  Files: load (Start), intake (frames), step (the loop's body), emit (answers). */
#pragma once

#include "ahead.h"
#include "daemon/model/model.h"
#include "daemon/model/tokenizer.h"
#include "engine.pb-c.h"
#include "pages.h"
#include "prefix.h"
#include "prompt.h"
#include "sched.h"
#include "seq.h"
#include "spill.h"
#include "textwork.h"
#include "uplink.h"

enum { ENGINE_PUBLICS_MAX = 16 };

struct engine {
    struct uplink up;
    bool serving; /* Start was answered by Ready */
    int part_fd;  /* owned; came before Start: the part in main memory of its weights; -1: none did */

    /* what Start made */
    struct kern *kern;
    struct model *model;
    struct tokenizer *tokenizer;
    struct state *state;
    struct sampler *sampler;
    int n_slots, context, n_vocab, max_tok;
    size_t max_raw; /* pieces_max_raw() */
    bool *banned, *stops_at,
        *stops_fim; /* [n_vocab] never chosen; ends an answer; ends one that fills a gap */
    int pages_per_slot;
    struct ahead ahead;
    struct pages pages;    /* all of the state's: as many as slots can use, and the cache's beside them */
    int32_t *tables;       /* [n_slots][pages_per_slot] which pages each slot's sequence has */
    struct prefix *prefix; /* NULL: off */
    struct spill *spill;   /* the cache's files; NULL: none */
    struct engine_saver {
        int node;             /* whose checkpoint is being written; 0: none */
        uint64_t made, id;    /* which checkpoint, which file */
        uint64_t rest_ns;     /* nothing is written before */
        bool is_done;         /* nothing is left to write */
        int32_t *ids, *pages; /* [context], [pages_per_slot] on the way to the node */
    } saver;
    struct engine_warmer {            /* reads files ahead of requests, into slot 0 and the saver's pages */
        struct spill_leaf last, leaf; /* the last one that is dealt with; whose way is being read */
        uint64_t id;                  /* the file of it */
        int n_tok, n_pages, n_read;   /* n_read: checkpoints so far */
        bool reads, is_done;
    } warmer;
    struct engine_reader {
        struct seq *seq; /* borrowed, whose beginning is being read; NULL: none */
        uint64_t id, until_ns;
        int n_tok;
    } reader;

    /* what Publish made */
    struct engine_public {
        uint32_t handle; /* 0: the place is free */
        char name[32];
        int n_tok; /* 0: it is being read */
    } publics[ENGINE_PUBLICS_MAX];
    struct engine_publishing {
        struct engine_public *item; /* borrowed; NULL: none is being read */
        int fd;                     /* owned; its text, until the tokens are known; -1 */
        struct token_ids ids;       /* its tokens */
        struct seq *seq;            /* borrowed; NULL: it waits until nothing runs */
    } publishing;

    /* what Submit made */
    struct seq **seqs; /* [n_slots], NULL: the slot is free */
    uint64_t next_order;
    struct textwork textwork;
    struct engine_job
        *reading; /* owned, but the thread's while it works: text that is read beside the steps */

    /* scratch of a step, all sized by Start */
    struct sched_item *items; /* [n_slots], the first n_items are in use */
    int n_items;
    struct sched_pick *picks; /* [n_slots] */
    int *item_slots;          /* [n_slots] the slot of each item */
    struct kern_span *spans;  /* [n_slots] */
    int32_t *ids;             /* [max_tok] */
    int *rows;                /* [n_slots] */
    float *logits; /* [n_slots][n_vocab]; with tops, one row: that of which they did not tell enough */
    struct kern_top_row *tops; /* [n_slots] of the rows; NULL: the backend gives the rows themselves */
    int32_t *asked;            /* [n_slots] the id of each row that is scored; -1: none */
    uint64_t n_fetched;        /* rows that were needed whole */
    struct sched sched;
    uint64_t n_steps, beat_ns, beat_cache_bytes, beat_disk_bytes; /* the last three: of the last Beat */
    uint64_t
        text_ns; /* of text work that running streams waited for, and that steps have not made up for yet */
};

int engine_init(struct engine *e, int fd); /* takes fd */
void engine_deinit(struct engine *e);
int engine_run(struct engine *e); /* 0: the broker is gone, or all was said; < 0 */
/* One round of the loop: frames, then at most one step.  block: sleeps while there is nothing to do.  0,
 * UPLINK_E_EOF, ENGINE_E_ENDS, < 0. */
int engine_turn(struct engine *e, bool block);

/* load.c.  fd: the memory of start->weights, or -1; taken.  Answers with Ready or Failed.  0;
 * ENGINE_E_ENDS: said so, the process is to end; UPLINK_E_EOF, < 0. */
enum { ENGINE_OK, ENGINE_E_ENDS = 10 };
int engine_load(struct engine *e, const Qwe__Start *start, int fd);

/* check.c.  Answers with Checked or Failed; returns as engine_load() does, and never 0. */
int engine_check(struct engine *e, const Qwe__Check *check);

/* intake.c.  fd: what came with the frame, owned by the callee, or -1. */
int engine_on_frame(struct engine *e, const struct frame *frame, int fd);
int engine_take_text(struct engine *e); /* what was read beside the steps, waited for if there are none */
void engine_drop_text(struct engine *e);

/* cache_disk.c */
int engine_disk_open(struct engine *e, const Qwe__Start *start, const char *kv_name);
void engine_disk_close(struct engine *e);
/* Whether a file has much more of the sequence's beginning than n_have tokens of its first n_max: the
 * sequence then waits for it, and Started is said when it is there. */
bool engine_disk_begin(struct engine *e, struct seq *seq, int n_max, int n_have);
void engine_disk_drop(struct engine *e, const struct seq *seq); /* nobody waits any more */
int engine_disk_turn(struct engine *e);                         /* a slice of reading, or of writing */
int engine_disk_wait_ms(const struct engine *e);                /* until its next turn; -1: none is due */
void engine_disk_rest(struct engine *e, uint64_t now_ns);       /* a step was made */
void engine_disk_stop(struct engine *e);                        /* the end: what is not written yet */

/* cache_warm.c */
bool engine_warm_is_due(const struct engine *e);
int engine_warm_turn(struct engine *e);
void engine_warm_drop(struct engine *e); /* slot and pages are needed */

/* cache.c.  A new sequence: its state is fresh, or that of the longest beginning of its tokens that is known.
 */
int engine_cache_begin(struct engine *e, struct seq *seq, const struct prompt *prompt);
/* From memory, or from its first token on: the file that it waited for, which ended at pos, was not to be
 * had. */
int engine_cache_begin_again(struct engine *e, struct seq *seq, int pos);
int engine_cache_keep(struct engine *e, struct seq *seq,
                      uint64_t file);                           /* where it is; file: has the same; 0: none */
int engine_cache_cut(const struct seq *seq, int n_tok);         /* n_tok, or fewer: to the next mark */
int engine_cache_on_read(struct engine *e, struct seq *seq);    /* n_read has moved */
int engine_cache_on_end(struct engine *e, struct seq *seq);     /* its answer is whole */
int engine_cache_on_preempt(struct engine *e, struct seq *seq); /* it will come again */
int engine_cache_forget(struct engine *e, const struct seq *seq); /* its numbers broke */
int engine_save_state(struct engine *e, int ckpt, int slot);      /* state_save() */
/* Pages for the next n_tok tokens: there always are some, since the cache never holds more than its own. */
void engine_take_pages(struct engine *e, struct seq *seq, int n_tok);
void engine_drop_pages(struct engine *e, struct seq *seq);
int32_t *engine_table(const struct engine *e, const struct seq *seq);

/* publish.c.  fd: of the sealed memfd that has the text; borrowed. */
int engine_publish(struct engine *e, uint32_t handle, const char *name, int fd);
void engine_unpublish(struct engine *e, uint32_t handle);
int engine_publish_turn(struct engine *e);                     /* begins, or ends, what is being read */
bool engine_publish_is_due(const struct engine *e);            /* its turn has something to do */
int engine_publish_yield(struct engine *e);                    /* its slot is needed, if it has one */
int engine_publish_distrust(struct engine *e, uint64_t owner); /* its numbers broke */
void engine_publish_close(struct engine *e);

/* step.c */
bool engine_has_work(const struct engine *e);
int engine_step(struct engine *e);

/* rows.c - what a step's rows say, whether the backend gives them or the best of each.  row counts from 0 in
 * the order of the step.  SAMPLE_OK, SAMPLE_E_NAN, < 0. */
int engine_forward(struct engine *e, const struct kern_batch *batch, int n_rows);
int engine_row_pick(struct engine *e, const struct seq *seq, int row, struct sample_choice *ret_choice);
int engine_row_score(struct engine *e, int row, int32_t id, float *ret_logprob);

/* selftest.c.  0; STATUS_NUMERICS with the fault set; < 0. */
int engine_selftest(struct engine *e, struct fault *fault);

/* emit.c */
enum { ENGINE_TEXT_BYTES = sizeof(((struct fault *)0)->text) };
/* A fault may quote a file's bytes and may be cut in the middle of a character; on the wire it must be UTF-8.
 */
char *engine_clean_text(const char *text, char clean[ENGINE_TEXT_BYTES]); /* returns clean */
/* All: 0, UPLINK_E_EOF, < 0. */
int engine_put_refused(struct engine *e, uint32_t handle, const struct fault *fault);
/* code: STATUS_TOO_LONG, or STATUS_CTX_LIMIT where the context is that of a class. */
int engine_put_too_long(struct engine *e, uint32_t handle, int code, uint32_t context, uint32_t n_prompt,
                        const uint32_t *max_tokens);
int engine_put_started(struct engine *e, const struct seq *seq);
/* What the last push of the sequence released; choice NULL: nothing was sampled (a replay that was already
 * over). */
int engine_emit(struct engine *e, const struct seq *seq, const struct sample_choice *choice);
int engine_put_beat(struct engine *e, uint64_t now_ns);

void engine_drop_seq(struct engine *e, int slot);
