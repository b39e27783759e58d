/* lsp_verb.h - the things that can be done with a piece of text, and what the model is asked for each.  Pure.
 */
#pragma once

#include "lsp_doc.h"

struct lsp_verb {
    const char *command, *title, *kind; /* kind: CodeActionKind */
    const char *ask;
    enum { LSP_VERB_REPLACE, LSP_VERB_APPEND, LSP_VERB_TELL } does;
    bool wants_words; /* the user says what he wants: no code action, only a command */
};

const struct lsp_verb *lsp_verbs(size_t *ret_n);
const struct lsp_verb *lsp_verb_find(const char *command); /* NULL: no such command */
/* The question, to be freed; words: the user's own, or NULL; complaint: what is wrong, as the editor knows
 * it, or NULL. NULL: no memory. */
char *lsp_verb_question(const struct lsp_verb *verb, const struct lsp_doc *doc, size_t begin, size_t end,
                        const char *name, const char *words, const char *complaint);
/* The code of an answer: the first fenced block, else all of it, ending in a line break exactly if `old`
 * does. Returns where it starts in text, which may be written to and has room for one byte more. */
char *lsp_verb_code(char *text, size_t n, bool has_break, size_t *ret_n);
