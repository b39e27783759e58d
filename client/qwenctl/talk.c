/* talk.c - a conversation.  See talk.h. */
#include "talk.h"

#include <stdio.h>
#include <string.h>

bool talk_undo(struct talk *talk)
{
    if (!talk->n_turns)
        return false;
    talk->n_turns--;
    free(talk->turns[talk->n_turns].user);
    free(talk->turns[talk->n_turns].assistant);
    return true;
}

void talk_clear(struct talk *talk)
{
    while (talk_undo(talk))
        ;
}

void talk_deinit(struct talk *talk)
{
    talk_clear(talk);
    free(talk->turns);
    free(talk->system);
    *talk = (struct talk){};
}

int talk_set_system(struct talk *talk, const char *text)
{
    char *copy = *text ? strdup(text) : NULL;

    if (*text && !copy)
        return err_origin(-ENOMEM);
    free(talk->system);
    talk->system = copy;
    return 0;
}

/* A copy without the bytes that no prompt may hold: a model can write a NUL, yet not be told that it did. */
static char *talk_copy(const char *text, size_t n, size_t *ret_n)
{
    char *copy = malloc(n + 1);
    size_t n_copy = 0;

    if (!copy)
        return NULL;
    for (size_t done = 0; done < n; done++) {
        size_t k = qwend_utf8_valid(text + done, n - done);

        memcpy(copy + n_copy, text + done, k);
        n_copy += k;
        done += k;
    }
    copy[n_copy] = 0;
    *ret_n = n_copy;
    return copy;
}

int talk_add(struct talk *talk, const char *user, size_t n_user, const char *assistant, size_t n_assistant)
{
    _cleanup_(freep) char *u = talk_copy(user, n_user, &n_user);
    _cleanup_(freep) char *a = talk_copy(assistant, n_assistant, &n_assistant);

    if (talk->n_turns == talk->cap) {
        size_t cap = talk->cap ? 2 * talk->cap : 16;
        struct talk_turn *turns = realloc(talk->turns, cap * sizeof(*turns));

        if (!turns)
            return err_origin(-ENOMEM);
        talk->turns = turns;
        talk->cap = cap;
    }
    if (!u || !a)
        return err_origin(-ENOMEM);
    talk->turns[talk->n_turns++] = (struct talk_turn){steal(&u), steal(&a), n_user, n_assistant};
    return 0;
}

char *talk_text(const struct talk *talk, size_t *ret_n)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, ret_n);

    if (!out)
        return NULL;
    for (size_t i = 0; i < talk->n_turns; i++) {
        fwrite(talk->turns[i].user, 1, talk->turns[i].n_user, out);
        fputc('\n', out);
        fwrite(talk->turns[i].assistant, 1, talk->turns[i].n_assistant, out);
        fputc('\n', out);
    }
    if (!fclose(out))
        return text;
    free(text);
    return NULL;
}

int talk_fill(const struct talk *talk, const char *user, size_t n, qwend_req *req)
{
    int r = 0;

    if (talk->system)
        r = qwend_req_message(req, QWEND_SYSTEM, talk->system, (size_t)-1);
    for (size_t i = 0; !r && i < talk->n_turns; i++) {
        r = qwend_req_message(req, QWEND_USER, talk->turns[i].user, talk->turns[i].n_user);
        if (!r)
            r = qwend_req_message(req, QWEND_ASSISTANT, talk->turns[i].assistant, talk->turns[i].n_assistant);
    }
    return r ? r : qwend_req_message(req, QWEND_USER, user, n);
}
