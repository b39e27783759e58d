/* quarantine.h - finds what engines die of, so that one request cannot take everybody's answers down with it.
 *
 * After a crash (the engine's own fault, a hang included; a kill from outside never is) whatever was at work
 * in the engine is a suspect.  Nothing else runs then; the suspects do, one at a time, the newest first, each
 * until it has brought new tokens, and is then held until all are through.  The one that runs when an engine
 * crashes again is the culprit: it ends with 207 POISONED, its uid gets a penalty, and the others are clear.
 * So whoever has nothing to do with it is paused twice at most.
 *
 * A suspect whose client leaves is judged by what the others do: if all of them come through, it was that
 * one. */
#pragma once

#include <sys/types.h>

#include "penalty.h"

struct broker;
struct client;
struct refusal;
struct request;
struct textop;

struct quarantine {
    bool on;
    uint32_t tested;  /* handle of the suspect that runs; 0: none */
    uint32_t last;    /* of the one before: it may still be in a step, until the engine has answered a
                         question that was asked behind its Pause or Cancel; 0: nothing is unclear */
    uint32_t barrier; /* handle of that question; 0: not asked yet */
    unsigned n_fled;  /* uids of suspects that left: none, one, or several */
    uid_t fled;
    struct penalty penalty;
};

/* Before the requests are told that their engine is gone.  how: "killed by signal 6 (Aborted)". */
void quarantine_on_death(struct broker *broker, bool is_crash, const char *how);
void quarantine_pump(struct broker *broker); /* the engine serves: lets the next suspect run, or ends it */
/* True: it was our own question. */
bool quarantine_on_answer(struct broker *broker, uint32_t handle);

/* A suspect: has brought tokens; has ended; waits for its reader, who keeps nobody else waiting; or is about
 * to be freed. */
void quarantine_on_progress(struct request *request);
void quarantine_clear(struct request *request);
void quarantine_on_leave(struct request *request);
void quarantine_clear_textop(struct textop *textop);
void quarantine_on_leave_textop(struct textop *textop);

/* STATUS_PENALISED, with when to come again. */
int quarantine_check(const struct client *client, struct refusal *refusal);
