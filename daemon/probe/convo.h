/* convo.h - a conversation written as JSON, as the chat template takes it.
 *
 * This is the JSON side of the template: what the reference takes from a message's fields, how parts of a
 * content are joined, and which kinds of content it refuses.  For the verbs render and eval. */
#pragma once

#include "daemon/model/chat.h"
#include "daemon/model/jtext.h"

enum { CONVO_OK, CONVO_E_BAD = 110 };

struct convo {
    struct chat chat; /* borrows from the object's text and from the blocks; flags are the caller's to set */
    void **blocks;    /* owned: decoded strings and arrays */
    size_t n_blocks, cap;
};
void convo_deinit(struct convo *convo);

/* "messages" (needed) and "tools" of the object, whose text must outlive the conversation.  CONVO_E_BAD with
 * a fault that names the member or message; -ENOMEM.  ret_convo is to be deinited, also on failure. */
int convo_read(struct jtext object, struct fault *fault, struct convo *ret_convo);
