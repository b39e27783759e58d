/* publish.h - beginnings of prompts that everybody's requests may have: sections [public NAME] of qwend.conf.
 *
 * The files are opened at the start and on a reload only, and their bytes go into sealed memfds that each
 * engine gets, one after the other; what is in them is the engine's to read, and to refuse. */
#pragma once

#include "daemon/util/conf.h"
#include "engine.pb-c.h"

struct broker;

enum { PUBLISH_DEATHS_MAX = 2, PUBLISH_MAX = 16, PUBLISH_NAME_BYTES = 32, PUBLISH_BYTES_MAX = 1 << 20 };
enum { PUBLISH_OK, PUBLISH_E_INVALID };

enum publish_state { PUBLISH_WAITING, PUBLISH_SENT, PUBLISH_READY, PUBLISH_REFUSED };

struct publish_item {
    char name[PUBLISH_NAME_BYTES];
    char *path; /* owned */
    int fd;     /* owned; the sealed memfd, -1: not loaded */
    enum publish_state state;
    uint32_t handle, tokens; /* handle: the engine's, 0: it has not got it */
    unsigned n_deaths;       /* of engines that had begun it and not ended */
    char text[512];          /* why it was refused */
};

struct publish {
    struct publish_item items[PUBLISH_MAX];
    size_t n;
    uint32_t gone[2 * PUBLISH_MAX]; /* handles that the engine is to forget */
    size_t n_gone;
};

/* All of it: sections from the files in order, then the files that they name.  The fault names section and
 * file. */
int publish_read(const struct conf_files *files, struct publish **ret_publish, struct fault *fault);
/* The keys of a section, for qwend-doc. */
void publish_table(struct publish_item *defaults, struct conf_table *ret_table);
/* The first half of one file, for fuzzing. */
int publish_read_stream(struct publish *publish, FILE *file, const char *path, struct fault *fault);
struct publish *publish_free(struct publish *publish);
CLEANUP_FUNC(struct publish, publish_free)

/* A reload: what is the same stays as it is, the rest is forgotten and read.  Takes over *publish. */
void publish_replace(struct broker *broker, struct publish **publish);
/* Handles that the engine has, or is to forget: how many, at most 2 * PUBLISH_MAX. */
size_t publish_handles(const struct publish *publish, uint32_t ret_handles[2 * PUBLISH_MAX]);
void publish_forget(struct publish *publish, const uint32_t *handles, size_t n); /* another broker's */
/* The engine is let go of: whatever it is at the moment is not to blame. */
void publish_on_switch(struct publish *publish);
void publish_on_ready(struct broker *broker); /* an engine that knows none */
void publish_pump(struct broker *broker);     /* the next one, if there is nothing under way */
int publish_on_published(struct broker *broker, uint32_t handle, const Qwe__Published *published);
