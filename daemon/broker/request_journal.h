/* request_journal.h - what of a request goes into the journal, so that the next broker can go on with it.
 *
 * In order: the prompt's bytes, Opened, and then, as they happen, Started, each Emit as it came, before any
 * of it becomes a Delta, a Cut where a Delta ends for want of credit, Reader as readers come and go, Ended
 * where no Emit says so.  From these the same Deltas are made again (request_restore.c).  It is closed when
 * nobody can ask for it any more; of one that is not detachable that is when its last bytes have left the
 * broker: the end of an answer that a client has not been sent is not lost either.  Scores and questions
 * about text are not kept; they can be asked again. */
#pragma once

#include "proto/base.h"
#include "quota.h"
#include "qwend.pb-c.h"

struct client;
struct refusal;
struct request;

enum record_type {
    RECORD_BODY = 1, /* the prompt, as the engine gets it */
    RECORD_OPENED,   /* qwl.Opened, as are those below their qwl messages */
    RECORD_STARTED,
    RECORD_EMIT, /* qwe.Emit */
    RECORD_CUT,
    RECORD_READER,
    RECORD_ENDED,
    RECORD_SUBMITTED, /* to an engine: no payload, nor has the next */
    RECORD_RESTORED,  /* a broker has taken it over; of STORE_KEY: all of them */
    RECORD_SERVING,   /* of STORE_KEY */
    RECORD_READING,   /* of STORE_KEY: a broker begins to take requests over; no payload */
    RECORD_LEFT,      /* of STORE_KEY */
    RECORD_RUNNING,   /* before it */
    RECORD_USED,      /* of STORE_KEY */
};

struct request_journal { /* embedded in the request */
    uint32_t key;        /* 0: it is not in the journal */
    bool failed;         /* something could not be written: it must not go on as if it had been */
    struct quota_charge charge;
};

/* Its prompt is there and it is let in.  0, the status code to refuse it with, < 0. */
int request_journal_open(struct request *request, struct refusal *refusal);
void request_journal_submitted(struct request *request);
void request_journal_started(struct request *request);
/* Before anything else is done with it.  0, or the status code that the request ends with. */
int request_journal_emit(struct request *request, const uint8_t *raw, size_t n_raw, struct refusal *refusal);
void request_journal_cut(struct request *request, uint64_t seq, size_t n_text);
void request_journal_reader(struct request *request, bool present);
void request_journal_ended(struct request *request, const Qwp__Error *error); /* NULL: with finish */
void request_journal_failed(struct request *request, const struct fault *fault);
void request_journal_restored(struct request *request);
void request_journal_close(struct request *request); /* it is about to be freed */

/* Of requests that are gone, but for what their client was not sent yet. */
void request_journal_on_sent(struct client *client);
void request_journal_on_client_gone(struct client *client);
