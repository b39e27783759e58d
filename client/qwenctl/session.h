/* session.h - conversations that are kept: one file each, $XDG_STATE_HOME/qwend/sessions/NAME.ndjson, 0600.
 *
 * A line is one message: {"role":"user","content":"...","at":UNIX-SECONDS}; a later system message takes the
 * place of an earlier one, "undo" takes the last turn away, "clear" all of them.  Question and answer are
 * appended in one write under a lock, so two asks of one session keep both of theirs; a line that a crash
 * left half is dropped by the next write.  The daemon keeps nothing of them. */
#pragma once

#include <stdio.h>

#include "code.h"
#include "talk.h"

enum {
    SESSION_BYTES = 16 << 20, /* of one file: a context of a million tokens is less */
    SESSION_NAME_BYTES = 64,
};

/* Fills talk from the file; a session that is not there is an empty one.  CODE_OK, CODE_USAGE, CODE_TOO_LONG.
 */
enum code session_load(const char *name, struct talk *talk, struct fault *fault);
/* Adds what the text of a file says; path is for faults.  talk is to be freed in any case. */
enum code session_parse(struct talk *talk, const char *path, const char *text, size_t n, struct fault *fault);
/* Appends a turn, and the system message if it is not the session's (NULL or equal: it stays). */
enum code session_add(const char *name, const char *system, const struct talk_turn *turn,
                      struct fault *fault);

/* Takes turns away: what is "undo" or "clear". */
enum code session_take_back(const char *name, const char *what, struct fault *fault);

/* The session that was written to last.  CODE_USAGE: there is none. */
enum code session_latest(char ret_name[SESSION_NAME_BYTES + 1], struct fault *fault);

/* The file; the caller frees.  CODE_USAGE: no name for a session, or there is no home. */
enum code session_path(const char *name, char **ret_path, struct fault *fault);
bool session_exists(const char *name);

struct session_info {
    char name[SESSION_NAME_BYTES + 1];
    int64_t at; /* seconds, of the last write */
    uint64_t bytes;
};
/* Newest first; the caller frees. */
enum code session_list(struct session_info **ret_list, size_t *ret_n, struct fault *fault);
