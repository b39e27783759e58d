/* use.h - another model instead of the one that is served, without a restart (Use).
 *
 * - CHECKING: an engine beside the one that serves looks whether the file could be loaded (trial.h); whatever
 *   is wrong with it costs nobody anything
 * - DRAINING: what waits or runs is the old model's and goes on to its end; what comes waits behind
 *   it (queue.h)
 * - LOADING: the old engine ends, and the first one of the new model starts
 * - RETURNING: that one could not serve: the old model is loaded again
 *
 * Memory never has to hold both.  Where it is certain to, the old weights are kept until the new model
 * serves, so that going back to them reads no file.  Up to LOADING it can be called off.  The connection that
 * asked may close at any time: the rest goes on.
 *
 * Which model is served outlives the broker with its journal (a crash, an upgrade) and not the service. */
#pragma once

#include "kept.h"
#include "qwend.pb-c.h"
#include "trial.h"

struct broker;
struct client;
struct client_stream;

/* One that served before its broker died deserves more than one. */
enum { USE_TRIES_RESUMED = 3 };

enum use_stage { USE_NONE, USE_CHECKING, USE_DRAINING, USE_LOADING, USE_RETURNING };

struct use {
    struct broker *broker; /* borrowed */
    enum use_stage stage;
    struct trial trial;
    char *model, *before;  /* owned; what is to be served, what was; NULL: USE_NONE */
    bool keeps;            /* memory holds both */
    struct kept kept;      /* of before */
    uid_t uid;             /* who asked */
    struct client *client; /* borrowed; where the answer goes, NULL: nowhere any more */
    uint32_t stream;
    unsigned n_tries; /* LOADING: engines that may die without a word before it is given up */
    struct fault why; /* RETURNING: why it had to */
    uint64_t began_ns, told_ns;
    Qwp__UseProgress told;
};

void use_init(struct use *use, struct broker *broker);
void use_deinit(struct use *use);
static inline bool use_is_on(const struct use *use)
{
    return use->stage != USE_NONE;
}

/* clients.  On a stream just opened: it stays open until the end, or is refused. */
void use_open(struct client *client, struct client_stream *stream, const Qwp__Use *use);
void use_cancel(struct use *use); /* on its stream; too late, nothing happens */
void use_on_client_gone(struct client *client);
void use_stop(struct use *use); /* the service is being stopped */
/* > 0: what cannot be done now, since one is under way. */
int use_check(const struct use *use, const char *what, struct fault *fault);

/* trial.c */
void use_on_fit(struct use *use, const Qwe__Checked *checked);
void use_on_unfit(struct use *use, const struct fault *why);

/* the engine */
void use_pump(struct use *use);              /* something may have ended, or be worth telling */
bool use_wants_quiet(const struct use *use); /* the old engine gets nothing new */
/* An engine that cannot serve is not the service's end. */
static inline bool use_is_loading(const struct use *use)
{
    return use->stage == USE_LOADING;
}
void use_on_failed(struct use *use, int code, const char *text); /* it says so; its death follows */
/* Of one that was loading: true, and the old model's is started instead. */
bool use_on_death(struct use *use, const char *how);
void use_on_ready(struct use *use);
void use_on_given_up(struct use *use, const struct fault *why); /* no engine will be started any more */

/* Requests of the old model that have not ended. */
uint32_t use_n_left(const struct use *use);

/* For "%.*s": as much of a text as fits. */
#define USE_FIT(text, max) supervise_fit((text), (max)), (text)

/* use_record.c: in the journal.  recorded: what was served when the last broker ended, if the configuration
 * still says what it said then; else what it says now; the caller's, NULL: out of memory. */
char *use_recorded(const struct broker *broker);
int use_record(struct broker *broker); /* LEDGER_E_FULL, < 0 */
int use_resume(struct use *use);       /* it is to be loaded, and nothing serves yet */

/* use_tell.c */
void use_fill_progress(const struct use *use, Qwp__UseProgress *progress); /* not of USE_NONE */
void use_tell(struct use *use, bool now);                                  /* progress, if it has moved */
void use_answer(struct use *use, bool already);                            /* Used */
void use_refuse(struct use *use, const struct fault *fault);
