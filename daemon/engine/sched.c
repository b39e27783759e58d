/* sched.c - what the next step reads.  See sched.h. */
#include "sched.h"

#include <assert.h>
#include <math.h>

/* How long the prompt pieces of a step may take.  Alone: short enough that a cancel or a new request is
 * noticed soon.  Beside running streams: as long as the step without them, so that the next tokens are late
 * by one step; until that was measured, less than what a reader notices as a stop. */
static const double sched_alone_ns = 250e6, sched_beside_ns = 75e6;
enum {
    SCHED_PIECE_FIRST = 32, /* before anything was measured */
    SCHED_SHALLOW = 512, /* tokens before a row, on average, up to which its attention is taken for nothing */
};
/* Of each new measurement: follows a change of load within some ten steps.  A step in which another process
 * had the core for its slice took a hundred times as long on a fast machine, so no sample counts for more
 * than twice what is believed: one outlier moves it by a fifth. */
static const double sched_smooth = 0.2, sched_outlier = 2;
/* VTC's weight of a decoded token until both costs were measured, and what is believed of them then: a row of
 * a step can hardly be cheaper than a prompt token, and one that seems a thousand times as dear is noise. */
static const double sched_row_price_first = 2, sched_row_price_min = 0.5, sched_row_price_max = 1024;
/* Of the prompt tokens that are read while several bands have some: interactive, normal, batch. */
static const double sched_shares[SCHED_BAND_N] = {0, 0.3, 0.1};
/* How far a band may be behind its share or ahead of it: what happened longer ago is forgotten. */
static const double sched_owed_min = -SCHED_PIECE_MAX, sched_owed_max = 4 * SCHED_PIECE_MAX;

/* costs */

static void sched_smooth_to(double *value, double sample)
{
    *value = *value > 0 ? *value + sched_smooth * (MIN(sample, sched_outlier * *value) - *value) : sample;
}

void sched_cost_add_decode(struct sched_cost *cost, double ns)
{
    sched_smooth_to(&cost->step_ns, ns);
}

void sched_cost_add_piece(struct sched_cost *cost, int n_piece, double ns)
{
    const double least =
        ns / (8.0 * n_piece); /* a step that was faster than a decode step says little; stay above 0 */

    sched_smooth_to(&cost->tok_ns, MAX((ns - cost->step_ns) / n_piece, least));
}

/* What attention adds is told from the rest by where the rows stand: the first tokens of a prompt have little
 * to look back at. */
void sched_cost_add_rows(struct sched_cost *cost, int n_rows, double n_before, double ns)
{
    const int n_more = cost->tile ? CEIL_DIV(n_rows, cost->tile) - 1 : 0;
    const bool deep = n_before > SCHED_SHALLOW * n_rows && cost->one_ns > 0 && (!n_more || cost->more_ns > 0);

    if (!cost->tile)
        return;
    if (deep)
        sched_smooth_to(&cost->deep_ns,
                        MAX((ns - cost->one_ns - n_more * cost->more_ns) / n_before, ns * 1e-9));
    else if (!n_more)
        sched_smooth_to(&cost->one_ns, ns);
    else
        sched_smooth_to(&cost->more_ns, MAX(ns - cost->one_ns, ns / 8) / n_more);
}

/* Whole tiles: a part of one takes as long.  What a token adds within the first tile says nothing of the next
 * one, since the weights are read for all of them at once and the first computes while it waits for them.
 * Half a tile at least, or a prompt would be read token by token beside seven streams; but where attention
 * alone fills the time, as many rows as it has, for half a step's time at least. */
static int sched_budget_tiles(const struct sched_cost *cost, bool alone, int n_rows, int pos)
{
    const double ns = (alone ? MAX(sched_alone_ns, 2 * cost->step_ns) : 2 * cost->step_ns) - cost->one_ns;
    const double attn_ns = cost->deep_ns * pos, tile_ns = cost->tile * attn_ns;
    const double n_tiles =
        CLAMP(1 + (ns - tile_ns) / (cost->more_ns + tile_ns), 1.0, (double)SCHED_PIECE_MAX / cost->tile);
    const int n = MAX((int)n_tiles * cost->tile, ROUND_UP(n_rows + cost->tile / 2, cost->tile)) - n_rows;

    return ns < tile_ns ? (int)CLAMP(MAX(ns, cost->step_ns / 2) / attn_ns, 1.0, (double)n) : n;
}

int sched_budget(const struct sched_cost *cost, bool alone, int n_rows, int pos)
{
    const double beside = cost->step_ns > 0 ? cost->step_ns : sched_beside_ns;
    const double budget = alone ? MAX(sched_alone_ns - cost->step_ns, cost->step_ns) : beside;

    if (cost->tok_ns <= 0)
        return SCHED_PIECE_FIRST;
    if (cost->step_ns > 0 && cost->one_ns > 0 && cost->more_ns > 0)
        return sched_budget_tiles(cost, alone, n_rows, pos);
    return (int)CLAMP(budget / cost->tok_ns, 1.0, (double)SCHED_PIECE_MAX);
}

double sched_row_price(const struct sched_cost *cost, int n_decode)
{
    if (cost->step_ns <= 0 || cost->tok_ns <= 0)
        return sched_row_price_first;
    return CLAMP(cost->step_ns / (n_decode * cost->tok_ns), sched_row_price_min, sched_row_price_max);
}

/* accounts */

static struct sched_account *sched_find_account(struct sched *sched, uint64_t key)
{
    for (int i = 0; i < sched->n_accounts; i++)
        if (sched->accounts[i].key == key)
            return &sched->accounts[i];
    return NULL;
}

/* An entry for a new account; of those that are remembered, the one longest without a sequence goes. */
static struct sched_account *sched_take_account(struct sched *sched)
{
    struct sched_account *oldest = NULL;

    if (sched->n_accounts < SCHED_ACCOUNTS)
        return &sched->accounts[sched->n_accounts++];
    for (int i = 0; i < SCHED_ACCOUNTS; i++) {
        struct sched_account *account = &sched->accounts[i];

        if (!account->n_live && (!oldest || account->left < oldest->left))
            oldest = account;
    }
    assert(oldest); /* SCHED_ITEMS_MAX are live at most */
    return oldest;
}

int sched_join(struct sched *sched, uint64_t key, uint32_t weight)
{
    struct sched_account *account = sched_find_account(sched, key);

    assert(weight && weight <= SCHED_WEIGHT_MAX);
    if (!account) {
        account = sched_take_account(sched);
        *account = (struct sched_account){.key = key};
    }
    account->weight = weight;
    account->n_live++;
    return (int)(account - sched->accounts);
}

void sched_leave(struct sched *sched, int account)
{
    sched->accounts[account].n_live--;
    sched->accounts[account].left = ++sched->n_left;
}

static bool sched_is_decode(const struct sched_item *item)
{
    return item->n_pending == 1;
}

static bool sched_is_prompt(const struct sched_item *item)
{
    return item->n_pending > 1;
}

/* The level at which accounts begin to read: that of the least served one that is reading; where nobody is,
 * those that begin together begin level. */
static double sched_level(const struct sched *sched)
{
    double least = INFINITY, most = 0;

    for (int i = 0; i < sched->n_accounts; i++) {
        const struct sched_account *account = &sched->accounts[i];

        if (account->reads && account->read)
            least = MIN(least, account->counter);
        else if (account->reads)
            most = MAX(most, account->counter);
    }
    return isinf(least) ? most : least;
}

/* Notes who has a prompt to read now, and lifts those who had none in the last step. */
static void sched_lift(struct sched *sched, const struct sched_item *items, int n_items)
{
    for (int i = 0; i < sched->n_accounts; i++) {
        sched->accounts[i].read = sched->accounts[i].reads;
        sched->accounts[i].reads = false;
        sched->accounts[i].granted = 0;
    }
    for (int i = 0; i < n_items; i++)
        if (sched_is_prompt(&items[i]))
            sched->accounts[items[i].account].reads = true;
    sched->floor = MAX(sched->floor, sched_level(sched));
    for (int i = 0; i < sched->n_accounts; i++) {
        struct sched_account *account = &sched->accounts[i];

        if (account->reads && !account->read)
            account->counter = MAX(account->counter, sched->floor);
    }
}

/* picking */

/* What a step has room for. */
struct sched_room {
    int of_band[SCHED_BAND_N]; /* prompt tokens until no more of that band are read, those of others included
                                */
    bool is_alone[SCHED_BAND_N]; /* nobody whom that band may not delay waits for the step */
    int n_decode;
};

/* Batch streams may be late for prompts that are none. */
static struct sched_room sched_measure(const struct sched *sched, const struct sched_item *items, int n_items,
                                       int max_tok)
{
    bool decodes = false, hurries = false; /* anything; anything that is not batch */
    struct sched_room room = {};

    for (int i = 0; i < n_items; i++)
        if (sched_is_decode(&items[i])) {
            room.n_decode++;
            decodes = true;
            hurries |= items[i].band != SCHED_BAND_BATCH;
        }
    for (int b = 0; b < SCHED_BAND_N; b++) {
        room.is_alone[b] = b == SCHED_BAND_BATCH ? !decodes : !hurries;
        room.of_band[b] =
            MIN(sched_budget(&sched->cost, room.is_alone[b], room.n_decode, 0), max_tok - room.n_decode);
    }
    return room;
}

/* A band that is owed a whole step goes before those that are not. */
static int sched_rank(const struct sched *sched, const struct sched_room *room, enum sched_band band)
{
    return (int)band - (sched->owed[band] >= room->of_band[band] ? SCHED_BAND_N : 0);
}

/* Counter with what this step has granted already. */
static double sched_served(const struct sched_account *account)
{
    return account->counter + account->granted * SCHED_WEIGHT / account->weight;
}

/* Within an account; 0, no deadline, comes last. */
static bool sched_is_sooner(const struct sched_item *a, const struct sched_item *b)
{
    if (a->deadline != b->deadline)
        return a->deadline - 1 < b->deadline - 1;
    return a->order < b->order;
}

static bool sched_precedes(const struct sched *sched, const struct sched_room *room,
                           const struct sched_item *a, const struct sched_item *b)
{
    const int rank_a = sched_rank(sched, room, a->band), rank_b = sched_rank(sched, room, b->band);
    const double served_a = sched_served(&sched->accounts[a->account]),
                 served_b = sched_served(&sched->accounts[b->account]);

    if (rank_a != rank_b)
        return rank_a < rank_b;
    if (a->account == b->account)
        return sched_is_sooner(a, b);
    return served_a != served_b ? served_a < served_b : a->account < b->account;
}

/* The prompt that is read next, for which there is room after the granted tokens; grants: of those that are
 * in the step already.  -1: none. */
static int sched_find_prompt(const struct sched *sched, const struct sched_room *room,
                             const struct sched_item *items, int n_items, const int *grants, int granted)
{
    int first = -1;

    for (int i = 0; i < n_items; i++)
        if (sched_is_prompt(&items[i]) && !grants[i] && granted < room->of_band[items[i].band] &&
            (first < 0 || sched_precedes(sched, room, &items[i], &items[first])))
            first = i;
    return first;
}

/* Up to where a prompt is read that has room for n tokens, if it ends at end and is not read whole: a piece
 * and what is left of it have cut_tok tokens at least.  first: nothing else was granted yet, so a piece it
 * must be. */
static int sched_cut(int cut_tok, int pos, int end, int n, bool first)
{
    const int last = end / cut_tok * cut_tok - cut_tok, least = ROUND_UP(pos, cut_tok) + cut_tok;
    const int to = MIN((pos + n) / cut_tok * cut_tok, last);

    if (to >= least)
        return to;
    if (!first)
        return pos;
    return least <= last ? least : end;
}

/* Of the item's tokens, where there is room for n; 0: it waits for a step that has more. */
static int sched_grant(const struct sched *sched, const struct sched_item *item, int n, bool first)
{
    const int n_prompt = item->n_pending - item->n_again;

    if (sched->cut_tok <= 1)
        return MIN(n, item->n_pending);
    if (n_prompt <= 0)
        return MIN(MIN(n, item->n_pending), sched->again_tok);
    return n_prompt <= n ? n_prompt
                         : sched_cut(sched->cut_tok, item->pos, item->pos + n_prompt, n, first) - item->pos;
}

/* Prompt tokens of the item that there is time for after the granted ones. */
static int sched_room_of(const struct sched *sched, const struct sched_room *room,
                         const struct sched_item *item, int granted)
{
    const int n = room->of_band[item->band] - granted;

    return MIN(n,
               sched_budget(&sched->cost, room->is_alone[item->band], room->n_decode + granted, item->pos));
}

static void sched_grant_prompts(struct sched *sched, const struct sched_room *room,
                                const struct sched_item *items, int n_items, int *grants)
{
    int granted = 0, i;

    while ((i = sched_find_prompt(sched, room, items, n_items, grants, granted)) >= 0) {
        const int n = sched_room_of(sched, room, &items[i], granted);
        const bool is_full =
            n < room->of_band[items[i].band] - granted; /* its attention takes the rest of the time */

        grants[i] = sched_grant(sched, &items[i], n, !granted);
        if (!grants[i])
            break; /* nobody behind it goes first */
        sched->accounts[items[i].account].granted += grants[i];
        granted += grants[i];
        if (is_full)
            break;
    }
}

int sched_step(struct sched *sched, const struct sched_item *items, int n_items, int max_tok,
               struct sched_pick *ret_picks)
{
    const struct sched_room room = sched_measure(sched, items, n_items, max_tok);
    int grants[SCHED_ITEMS_MAX], n = 0;

    assert(n_items <= SCHED_ITEMS_MAX);
    sched_lift(sched, items, n_items);
    for (int i = 0; i < n_items; i++)
        grants[i] = sched_is_decode(&items[i]);
    sched_grant_prompts(sched, &room, items, n_items, grants);
    for (int i = 0; i < n_items; i++)
        if (grants[i])
            ret_picks[n++] = (struct sched_pick){i, grants[i]};
    return n;
}

/* charging */

static void sched_charge_accounts(struct sched *sched, const struct sched_item *items,
                                  const struct sched_pick *picks, int n_picks)
{
    int n_decode = 0;

    for (int i = 0; i < n_picks; i++)
        n_decode += sched_is_decode(&items[picks[i].item]);
    for (int i = 0; i < n_picks; i++) {
        const struct sched_item *item = &items[picks[i].item];
        struct sched_account *account = &sched->accounts[item->account];
        const double tokens =
            sched_is_decode(item) ? sched_row_price(&sched->cost, n_decode) : picks[i].n_tok;

        account->counter += tokens * SCHED_WEIGHT / account->weight;
    }
}

/* A band whose prompts are all read, or which is the only one to have some, is owed nothing. */
static void sched_charge_bands(struct sched *sched, const struct sched_item *items, int n_items,
                               const struct sched_pick *picks, int n_picks)
{
    double read[SCHED_BAND_N] = {0}, all = 0;
    bool waits[SCHED_BAND_N] = {0};
    int n_waits = 0;

    for (int i = 0; i < n_items; i++)
        waits[items[i].band] |= sched_is_prompt(&items[i]);
    for (int i = 0; i < n_picks; i++) {
        const struct sched_item *item = &items[picks[i].item];

        if (sched_is_prompt(item)) {
            read[item->band] += picks[i].n_tok;
            all += picks[i].n_tok;
        }
    }
    for (int b = 0; b < SCHED_BAND_N; b++)
        n_waits += waits[b];
    for (int b = 0; b < SCHED_BAND_N; b++) {
        const double owed = sched->owed[b] + sched_shares[b] * all - read[b];

        sched->owed[b] = waits[b] && n_waits > 1 ? CLAMP(owed, sched_owed_min, sched_owed_max) : 0;
    }
}

void sched_charge(struct sched *sched, const struct sched_item *items, int n_items,
                  const struct sched_pick *picks, int n_picks)
{
    sched_charge_accounts(sched, items, picks, n_picks);
    sched_charge_bands(sched, items, n_items, picks, n_picks);
}
