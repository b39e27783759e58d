/* broker.h - the process: what every part of it needs to reach, and the few decisions that concern all of it.
 *
 * One thread, one event loop.  Nothing that is being used is freed under its user: a connection that breaks
 * in the middle of something is marked dead and freed by a deferred call, and starting requests is deferred
 * the same way. */
#pragma once

#include "account.h"
#include "daemon/util/list.h"
#include "forecast.h"
#include "handover.h"
#include "link.h"
#include "listener.h"
#include "meter.h"
#include "metrics.h"
#include "options.h"
#include "publish.h"
#include "quarantine.h"
#include "queue.h"
#include "quota.h"
#include "scrape.h"
#include "store.h"
#include "supervise.h"
#include "use.h"

enum { BROKER_OK, BROKER_E_START };
enum { BROKER_BOOT_ID_BYTES = 16, BROKER_SIGNALS = 4, BROKER_BUCKETS = 256 };

struct broker {
    struct event_base *base;
    const struct options *options; /* borrowed */
    struct listener listener;
    struct scrape scrape; /* of the metrics */
    struct metrics metrics;
    struct meter read, written; /* tokens of prompts that were not cached; of answers */
    struct policy *policy;      /* owned */
    struct publish *publish;    /* owned */
    struct accounts accounts;
    struct quota quota;
    struct queue queue;
    struct forecast forecast;
    struct store store;         /* what outlives it */
    struct handover handover;   /* from the broker before an upgrade */
    struct link link;           /* to the engine */
    struct supervise supervise; /* of the engine */
    struct use use;             /* of another model */
    struct quarantine quarantine;
    struct list clients;                   /* struct client */
    struct list requests;                  /* struct request, oldest first */
    struct list by_handle[BROKER_BUCKETS]; /* the same: each word of the engine names one */
    struct list textops;                   /* struct textop, oldest first */
    struct list watches;                   /* struct watch */
    struct event *pump, *reap, *tell, *drain, *beat;
    struct event *signals[BROKER_SIGNALS];
    gid_t admin_gid;
    char user[32];                      /* ours, for people */
    bool has_admin_gid, draining, held; /* held: by an administrator, until Resume */
    uint8_t boot_id[BROKER_BOOT_ID_BYTES];
    uint32_t last_handle, n_clients;
    uint64_t last_client, started_ns;
    struct {
        uint64_t requests, prompt_tokens, cached_tokens, output_tokens, preemptions; /* since start */
    } totals;
};

/* options are borrowed, *policy and *publish are taken over, whatever is returned.  The fault says what is
 * wrong for a start that a person can mend; < 0 otherwise. */
int broker_init(struct broker *broker, const struct options *options, struct policy **policy,
                struct publish **publish, struct fault *fault);
int broker_run(struct broker *broker); /* until it has drained */
void broker_deinit(struct broker *broker);

uint32_t broker_new_handle(struct broker *broker);
void broker_give_handle(
    struct request *request); /* a new one; it is forgotten with list_remove(&handle_node) */
void broker_set_handle(struct request *request, uint32_t handle); /* one that its engine knows it by */
struct request *broker_find_request(struct broker *broker, uint32_t handle); /* or NULL */
void broker_kick(struct broker *broker); /* something changed that may let a request start; deferred */
void broker_reap(struct broker *broker); /* a client is dead; deferred */
