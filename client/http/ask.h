/* ask.h - what a client asks the model, in no dialect: read from JSON by tables of fields.  Pure: no sockets.
 *
 * A field that a table does not name changes nothing and is named to the client (X-Qwend-Ignored); one that
 * is known and cannot be served is refused.  null is as good as absent. */
#pragma once

#include "client/lib/qwend.h"
#include "jin.h"
#include "proto/buf.h"

enum {
    ASK_MODEL_BYTES = 128,
    ASK_CHOICES = 8,
    ASK_STOPS = 16,
    ASK_STOP_BYTES = 256,
    ASK_TURNS = 4096,
    ASK_BIASES = 512,
    ASK_TOP_LOGPROBS = 20,
    ASK_TEXT_BYTES = 8 << 20,
    ASK_PARAM_BYTES = 32 << 10, /* 16 stop strings of 256 bytes, escaped */
};

enum ask_tool_mode { ASK_REFUSE_TOOLS, ASK_IGNORE_TOOLS, ASK_CALL_TOOLS };
enum ask_tool_choice { ASK_TOOLS_AUTO, ASK_TOOLS_NONE, ASK_TOOLS_FORCED };

struct tool_use {
    char *name, *arguments; /* owned; a JSON object */
};
struct turn {
    qwend_role role;
    struct buf text, reasoning;
    bool has_reasoning;
    struct tool_use *uses; /* owned; calls that the assistant made */
    size_t n_uses;
};

struct ask {
    qwend_req *req;     /* owned; complete after ask_finish() */
    struct turn *turns; /* owned, [n_turns] */
    size_t n_turns, n_stops;
    struct buf params, stops; /* JSON, for an upstream: members, strings */
    char *up_body;            /* owned; the request in OpenAI's dialect; NULL: it stays here */
    size_t n_up_body;
    bool biases, local_only, suffix_first;
    struct buf raw, suffix;           /* a text to go on with, and what stands behind the gap */
    char model[ASK_MODEL_BYTES + 1];  /* as the request has it, ""; a longer one is cut */
    uint64_t conversation;            /* the same for all turns of one */
    struct buf head;                  /* a system message given beside the messages, for ask_put_head() */
    bool is_raw, has_ids, has_suffix; /* raw: no turns */
    bool is_nothing;                  /* Ollama's question whether the model is there */
    bool stream, include_usage, echo, logprobs, has_seed, thinks, has_thinking, ignores_eos;
    bool caches; /* false: no_cache */
    int64_t n, seed, top_logprobs;
    int64_t max_tokens, max_tokens_old;   /* 0: absent; old: the name that the newer one wins over */
    int64_t text_ms;                      /* the answer ends so long after its first token; 0: it does not */
    bool only_reads;                      /* the prompt, for the cache */
    bool fits;                            /* max_tokens may be more than the context has room for */
    bool wants_progress;                  /* while a long prompt is read */
    bool wants_ids, shows_ids;            /* of the answer's tokens; of those in log-probabilities */
    json_t *fields;                       /* owned; of the answer these alone; NULL: all */
    size_t n_body;                        /* bytes that it was read from */
    bool has_tools, one_call, some_tools; /* some_tools: the choice is among some of those that are shown */
    json_t *offered;                      /* owned; functions; NULL: no tools were named */
    json_t *tools; /* owned; name -> schema of those that may be called; NULL: none may */
    enum ask_tool_choice tool_choice;
    char ignored[400]; /* names, with commas */
};

enum ask_kind {
    ASK_SET_INT,  /* opt, lo..hi */
    ASK_SET_REAL, /* opt, lo..hi */
    ASK_INT,      /* int64_t at offset, lo..hi */
    ASK_BOOL,     /* bool at offset */
    ASK_READ,     /* read() */
    ASK_REFUSED,  /* unless null, false, an empty array or text, or `none`; why says why */
};
struct ask_field {
    const char *name;
    enum ask_kind kind;
    qwend_opt opt;
    size_t offset;
    double lo, hi;
    int (*read)(struct ask *ask, const json_t *value, const char *param, struct refusal *refusal);
    const char *why;
};
#define ASK_END                                                                                              \
    {                                                                                                        \
        .name = NULL                                                                                         \
    }

int ask_init(struct ask *ask, struct refusal *refusal);
void ask_deinit(struct ask *ask);

/* Each member of object by the first of tables [n] that knows it.  prefix: "options." or "". */
int ask_read(struct ask *ask, const json_t *object, const char *prefix, const struct ask_field *const *tables,
             size_t n, struct refusal *refusal);
/* Everything read: turns, numbers and switches go into req. */
int ask_finish(struct ask *ask, struct refusal *refusal);

extern const struct ask_field ask_sampling[]; /* what OpenAI's, vLLM's and llama.cpp's dialects share */

struct turn *ask_turn(struct ask *ask, qwend_role role, const char *param,
                      struct refusal *refusal); /* NULL: refused */
/* Where a message's text goes.  The model's template has one system message, at its front: those that stand
 * there are one, and what comes as one further on is read at the end of the turn before it, of a user or a
 * tool: one of its own behind a tool's would be a question to the template, which then drops what was thought
 * before. */
struct turn *ask_turn_of(struct ask *ask, qwend_role role, const char *param, struct refusal *refusal);
int ask_put_head(struct ask *ask, const char *param, struct refusal *refusal); /* before all messages */
void ask_note_ignored(struct ask *ask, const char *prefix, const char *name);
int ask_append(struct buf *text, const char *more, size_t n, const char *param, struct refusal *refusal);
/* A string, or an array of parts of which only text is known; parts of several are joined. */
int ask_content(const json_t *value, const char *param, struct buf *text, struct refusal *refusal);

/* readers */
int ask_read_prompt(struct ask *ask, const json_t *value, const char *param, struct refusal *refusal);
int ask_read_suffix(struct ask *ask, const json_t *value, const char *param, struct refusal *refusal);
int ask_read_thinking(struct ask *ask, const json_t *value, const char *param, struct refusal *refusal);
int ask_read_effort(struct ask *ask, const json_t *value, const char *param, struct refusal *refusal);
int ask_refuse_set(int r, const char *param, struct refusal *refusal); /* of a qwend_req_*() call */
int ask_read_messages(struct ask *ask, const json_t *value, const char *param, struct refusal *refusal);
/* Each of an array of at most ASK_TURNS, which is named "messages[3]" in what is wrong with it. */
typedef int ask_message_fn(struct ask *ask, const json_t *message, const char *param,
                           struct refusal *refusal);
int ask_each_message(struct ask *ask, const json_t *value, const char *param, ask_message_fn *read_one,
                     struct refusal *refusal);
int ask_read_one(struct ask *ask, const json_t *value, const char *param,
                 struct refusal *refusal); /* must be 1 */
int ask_read_seed(struct ask *ask, const json_t *value, const char *param, struct refusal *refusal);
int ask_read_stop(struct ask *ask, const json_t *value, const char *param, struct refusal *refusal);
int ask_read_tools(struct ask *ask, const json_t *value, const char *param, struct refusal *refusal);
int ask_read_tool_choice(struct ask *ask, const json_t *value, const char *param, struct refusal *refusal);
int ask_read_parallel(struct ask *ask, const json_t *value, const char *param, struct refusal *refusal);
int ask_judge_tools(struct ask *ask, enum ask_tool_mode mode, struct refusal *refusal); /* everything read */
int ask_add_call(struct turn *turn, const char *name, const char *arguments, size_t n, const char *place,
                 struct refusal *refusal);
int ask_read_call(struct turn *turn, const json_t *name, const json_t *arguments, const char *place,
                  struct refusal *refusal);
int ask_read_calls(struct turn *turn, const json_t *value, const char *param, struct refusal *refusal);
void ask_free_uses(struct tool_use *uses, size_t n);
int ask_read_word(struct ask *ask, const json_t *value, const char *param,
                  struct refusal *refusal); /* any text; says nothing */
int ask_read_model(struct ask *ask, const json_t *value, const char *param, struct refusal *refusal);
