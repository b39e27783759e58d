/* think.c - where the reasoning ends and the answer begins.  See think.h. */
#include "think.h"

#include <string.h>

/* No proper suffix of the mark is a prefix of it ('<' occurs once), so after a mismatch matching starts
 * afresh. */
static const char think_mark[] = "</think>";
enum { THINK_MARK_BYTES = sizeof(think_mark) - 1, THINK_GAP_MAX = 2 };

void think_init(struct think *t, bool reasoning, bool by_text)
{
    *t = (struct think){.part = reasoning ? THINK_REASONING : THINK_ANSWER, .by_text = by_text};
}

void think_close(struct think *t)
{
    if (t->part == THINK_REASONING)
        t->part = THINK_GAP;
    t->n_held = 0;
}

static void think_take(const char **text, size_t *n, size_t k)
{
    *text += k;
    *n -= k;
}

static void think_skip_gap(struct think *t, const char **text, size_t *n)
{
    while (*n && **text == '\n' && t->n_gap < THINK_GAP_MAX) {
        think_take(text, n, 1);
        t->n_gap++;
    }
    if (*n)
        t->part = THINK_ANSWER;
}

/* Takes what continues the mark. */
static void think_match(struct think *t, const char **text, size_t *n)
{
    while (*n && t->n_held < THINK_MARK_BYTES && **text == think_mark[t->n_held]) {
        think_take(text, n, 1);
        t->n_held++;
    }
}

/* One run of reasoning; n = 0 if the bytes taken were (perhaps) the mark. */
static struct think_run think_next_reasoning(struct think *t, const char **text, size_t *n)
{
    struct think_run run = {.s = *text, .n = *n};
    const char *lt = t->by_text ? memchr(*text, think_mark[0], *n) : NULL;

    if (!t->n_held && lt != *text) { /* up to what may be the mark */
        run.n = lt ? (size_t)(lt - *text) : *n;
        think_take(text, n, run.n);
        return run;
    }
    think_match(t, text, n);
    run.n = 0;
    if (t->n_held == THINK_MARK_BYTES) {
        think_close(t);
    } else if (*n) { /* it was not */
        run = (struct think_run){.s = think_mark, .n = t->n_held};
        t->n_held = 0;
    }
    return run;
}

bool think_next(struct think *t, const char **text, size_t *n, struct think_run *ret_run)
{
    struct think_run run = {0};

    while (*n && !run.n) {
        if (t->part == THINK_REASONING) {
            run = think_next_reasoning(t, text, n);
            continue;
        }
        if (t->part == THINK_GAP)
            think_skip_gap(t, text, n);
        run = (struct think_run){true, *text, *n};
        think_take(text, n, *n);
    }
    *ret_run = run;
    return run.n > 0;
}

bool think_flush(struct think *t, struct think_run *ret_run)
{
    const size_t n = t->n_held;

    t->n_held = 0;
    *ret_run = (struct think_run){.s = think_mark, .n = n};
    return n > 0;
}
