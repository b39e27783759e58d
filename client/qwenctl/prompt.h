/* prompt.h - what a request asks about: the document (standard input and files) and the question behind it.
 *
 * The long and constant part comes first, so that ten questions about one document share its prefix in the
 * daemon's cache. */
#pragma once

#include "cmd.h"

struct prompt {
    char *document, *question; /* owned */
    size_t n_document, n_question;
};

/* Reads standard input (unless it is a terminal) and the files of --file, and joins the words; words go into
 * the place of {{question}} in pattern, which is NULL if there is none.  max: bytes of the document. */
enum code prompt_gather(const struct cmd_args *args, const char *pattern, size_t max,
                        struct prompt *ret_prompt, struct fault *fault);
/* Document and question as one text; the caller frees.  NULL: out of memory. */
char *prompt_join(const struct prompt *prompt, bool raw, size_t *ret_n);
void prompt_deinit(struct prompt *prompt);

/* The system message that --system asks for: its text, or with @F what is in the file F ("@@" is one @).
 * NULL: it asks for none.  The caller frees. */
enum code prompt_system(const struct opt_values *values, char **ret_text, struct fault *fault);

/* How the document is cut where the context is too short: --overflow. */
struct prompt_cut {
    const struct cmd_args *args;
    qwend *q;
    const char *rest[2], *turns; /* what else the prompt has: its tokens are counted; NULL: nothing */
    size_t n_rest[2], n_turns;
    size_t n_messages;
};
/* Shortens prompt->document if it must be.  *ret_kept of *ret_all: bytes. */
enum code prompt_cut(const struct prompt_cut *cut, struct prompt *prompt, size_t *ret_kept, size_t *ret_all,
                     struct fault *fault);
