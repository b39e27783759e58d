/* supervise.h - keeps an engine running: starts it, watches that it gets on, replaces it when it dies.
 *
 * The engine is allowed to die at any instant; all that is lost is time.  What ends the service is an engine
 * that says itself that it cannot serve (Failed, at the first start), or that dies over and over without
 * finishing a step. */
#pragma once

#include <sys/stat.h>

#include "engine.pb-c.h"
#include "kept.h"
#include "proto/base.h"

struct broker;
struct event;

enum supervise_state {
    SUPERVISE_OFF,     /* not started, or stopped */
    SUPERVISE_LOADING, /* an engine runs and is not ready */
    SUPERVISE_SERVING,
    SUPERVISE_BACKOFF, /* none runs; the next starts soon */
    SUPERVISE_FAILED,  /* none runs, none will */
};

enum { SUPERVISE_DEATHS_MAX = 10 }; /* in a minute, without a finished step in between */

struct supervise {
    struct broker *broker; /* borrowed */
    enum supervise_state state;
    char *engine; /* owned; path of the binary */
    char *model;  /* owned; what is served, or will be */
    struct supervise_file {
        dev_t device;
        ino_t inode;
        off_t bytes;
        struct timespec mtime;
    } file;            /* what stood there when the engine started; inode 0: nothing did */
    pid_t pid;         /* 0: none */
    Qwe__Ready *ready; /* owned; of the last engine that was; NULL before the first */
    struct kept kept;  /* weights for the next engine */
    uint32_t load_permille, n_restarts, backoff_ms;
    uint64_t cache_used_bytes, cache_dir_used_bytes; /* as the last Beat has them */
    uint64_t progress_ns;                            /* when the engine last showed that it gets on */
    uint64_t deaths_ns[SUPERVISE_DEATHS_MAX + 1];
    unsigned n_deaths;
    int failed_code;     /* with SUPERVISE_FAILED: what requests are refused with */
    char note[512];      /* why it is degraded or failed, or what the engine had to say; "" if nothing */
    char why[520];       /* this engine's end, in its own words (Failed.text, whole) or ours; "": see its exit
                            status */
    char fell_back[200]; /* why qwend-engine serves instead of qwend-engine-cuda; "": it does not */
    bool is_closed;      /* its socket has ended, so it is about to */
    bool is_leaving;     /* we closed it: another model's engine starts when this one is gone */
    bool is_killed;      /* by us: it hung, or spoke nonsense */
    struct event *restart, *watch;
};

int supervise_init(struct supervise *supervise, struct broker *broker, struct fault *fault);
void supervise_deinit(struct supervise *supervise); /* ends the engine and waits for it */
void supervise_start(struct supervise *supervise);
/* An engine that serves already, instead of starting one: takes ready. */
void supervise_adopt(struct supervise *supervise, pid_t pid, Qwe__Ready *ready);
/* One that cannot be used: it is killed, and its death is told as any other's. */
void supervise_disown(struct supervise *supervise, pid_t pid);
/* Another model: the present engine ends, then the first one with that starts.  Takes model, and gives away
 * the weights that were kept. */
void supervise_change(struct supervise *supervise, char **model, struct kept *ret_kept);
/* None runs: the first engine of the model before.  Takes both. */
void supervise_return(struct supervise *supervise, char **model, struct kept *kept);
/* Is that file what the engine was started with, and does it serve? */
bool supervise_serves(const struct supervise *supervise, const char *path, const struct stat *st);
/* Borrows. */
void supervise_fill_start(const struct supervise *supervise, const char *model, Qwe__Start *start);
void supervise_on_child(struct supervise *supervise); /* SIGCHLD */
void supervise_kill(struct supervise *supervise, const char *why);
void supervise_on_eof(struct supervise *supervise); /* its socket was closed: it dies, or will be helped to */

/* Notes and reasons go out as UTF-8, so what does not fit is cut between characters: the bytes of text to
 * print. */
int supervise_fit(const char *text, size_t max);

/* 0 if requests can be served now or soon; else the status code, with the note. */
int supervise_check(const struct supervise *supervise, struct fault *fault);
uint32_t supervise_slots(const struct supervise *supervise);
/* working: the engine owes us something, so it must show progress within engine_timeout_s. */
void supervise_watch(struct supervise *supervise, bool working);

int supervise_on_loading(struct supervise *supervise, const Qwe__Loading *loading);
/* Takes both, the fd if one came. */
int supervise_on_weights(struct supervise *supervise, Qwe__Weights **weights, int *fd);
int supervise_on_ready(struct supervise *supervise, Qwe__Ready *ready); /* takes it */
int supervise_on_failed(struct supervise *supervise, const Qwe__Failed *failed);
void supervise_on_progress(struct supervise *supervise, bool step_finished);
