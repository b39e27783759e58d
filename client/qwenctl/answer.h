/* answer.h - one answer as text, as JSON or as a code block, for the verbs that have one. */
#pragma once

#include "cmd.h"

struct answer {
    const struct cmd_args *args;
    qwend *q;
    const qwend_req *req;
    const char *attach_id; /* go on with this request instead of sending one */
    bool plain;            /* no Markdown: the answer goes on with a text */
    FILE *copy;            /* the answer's text is written here as well; NULL: nowhere */
};

/* Shows it as the options say.  CODE_CUT: it was cut off, with --strict; CODE_NO: --extract found no block.
 */
enum code answer_run(const struct answer *answer, struct fault *fault);
