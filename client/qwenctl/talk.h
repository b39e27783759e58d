/* talk.h - a conversation, kept by the client: turns of user and assistant, and what the next request
 * carries.
 *
 * Reasoning of past turns is not part of it: Qwen's template drops it, and the context is the user's to
 * spend. */
#pragma once

#include "client/lib/qwend.h"
#include "proto/base.h"

struct talk_turn {
    char *user, *assistant; /* owned */
    size_t n_user, n_assistant;
};

struct talk {
    char *system; /* owned; NULL: none */
    struct talk_turn *turns;
    size_t n_turns, cap;
};

void talk_deinit(struct talk *talk);
int talk_set_system(struct talk *talk, const char *text); /* "" takes it away; 0 or -ENOMEM */
int talk_add(struct talk *talk, const char *user, size_t n_user, const char *assistant, size_t n_assistant);
bool talk_undo(struct talk *talk);  /* takes the last turn away; false: there was none */
void talk_clear(struct talk *talk); /* the turns; the system message stays */

/* All turns as one text, to count its tokens; the caller frees.  NULL: out of memory. */
char *talk_text(const struct talk *talk, size_t *ret_n);

/* Adds system message, turns and the new user message to req: 0 or negative errno. */
int talk_fill(const struct talk *talk, const char *user, size_t n, qwend_req *req);
