/* request.h - one Generate from its first frame to its Usage: the prompt as it came, and every token id made
 * so far.
 *
 * Both are kept until the end, because the engine may die at any moment: the next one gets the same request
 * and the ids, and goes on where the last one stopped.  request.c: life and engine; stream.c: what the client
 * sees. */
#pragma once

#include "client.h"
#include "engine.pb-c.h"
#include "queue.h"
#include "qwend.pb-c.h"
#include "stream.h"

struct frame;

enum { REQUEST_DEATHS_MAX = 3 }; /* in a row, without a new token: then it is refused, 501 */

enum request_state {
    REQUEST_UPLOAD,
    REQUEST_QUEUED,
    REQUEST_PREFILL,
    REQUEST_DECODE,
    REQUEST_REPLAY,
    REQUEST_OVER
};

struct request {
    struct list node;      /* in the broker's list */
    struct broker *broker; /* borrowed */
    struct client *client; /* borrowed; outlives its requests */
    uint32_t stream_id, handle;
    uint8_t id[POLICY_ID_BYTES];
    enum request_state state; /* OVER: the engine is done with it, the client has not got everything yet */
    Qwp__Generate *generate;  /* owned */
    uint8_t *body;            /* owned: of Body frames */
    size_t n_body, cap_body;
    int memfd; /* owned or -1 */
    uint64_t seed;
    struct queue_item queue_item;
    struct quota_charge request_charge, bytes_charge;
    size_t n_charged; /* bytes of generate and body, without the ids */

    uint32_t *ids; /* owned: the replay log */
    size_t n_ids, cap_ids;
    uint32_t n_replays, n_deaths, prompt_tokens, cached_tokens;
    bool has_prompt_tokens;

    uint32_t told_position, told_permille;
    uint64_t received_ns, started_ns, first_ns, over_ns;
    struct stream stream;
};

/* client side */
void request_open(struct client *client, const struct frame *frame,
                  Qwp__Generate *generate); /* takes generate */
void request_on_body(struct request *request, const struct frame *frame, const Qwp__Body *body);
void request_cancel(struct request *request);      /* by its owner: Usage says so */
void request_cancel_client(struct client *client); /* the connection is gone: nothing is said */
uint32_t request_cancel_matching(struct client *asker,
                                 const uint8_t *id);                   /* id NULL: all of the asker's uid */
void request_refuse(struct request *request, const Qwp__Error *error); /* frees */
void request_refuse_text(struct request *request, int code, const char *text); /* frees */
struct request *request_free(struct request *request);

/* engine side */
void request_start_next(struct broker *broker); /* as many as there are free slots */
void request_on_started(struct broker *broker, uint32_t handle, const Qwe__Started *msg);
void request_on_emit(struct broker *broker, uint32_t handle, const uint8_t *body, size_t n);
void request_on_refused(struct broker *broker, uint32_t handle, const Qwe__Refused *msg);
void request_on_engine_death(struct broker *broker);
void request_replay_all(struct broker *broker);
void request_fail_all(struct broker *broker, const char *note);
void request_tell_all(struct broker *broker); /* positions and load progress that changed */

unsigned request_n_started(const struct broker *broker); /* in the engine, or waiting for the next one */
unsigned request_n_active(const struct broker *broker);  /* of these, not paused */
void request_engine_done(struct request *request);       /* frees its slot */
