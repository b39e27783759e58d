/* map_dry.c - `qwenctl map --dry-run`: how many records and tokens, what of them the prefix cache will have,
 * and how long it may take.  Prompts are rendered and tokenised by the daemon; the model reads none of them.
 * See map.h. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "board.h"
#include "map.h"
#include "sig.h"

enum { DRY_CACHED_MIN_TOK = 32 }; /* shorter beginnings are not kept: PREFIX_MIN_TOK of the engine */

struct dry {
    uint64_t n, tokens, longest;
    uint32_t *first; /* owned; of the first prompt, as far as all others begin with the same */
    size_t n_shared;
};

static void dry_share(struct dry *dry, const uint32_t *ids, size_t n)
{
    size_t i = 0;

    while (i < MIN(dry->n_shared, n) && dry->first[i] == ids[i])
        i++;
    dry->n_shared = i;
}

/* Takes over *ids if it is the first. */
static void dry_count(struct dry *dry, uint32_t **ids, size_t n)
{
    if (dry->n++) {
        dry_share(dry, *ids, n);
    } else {
        dry->first = steal(ids);
        dry->n_shared = n;
    }
    dry->tokens += n;
    dry->longest = MAX(dry->longest, (uint64_t)n);
}

static enum code dry_measure(struct map *map, qwend *q, struct map_record *record, struct dry *dry)
{
    _cleanup_(freep) uint32_t *ids = NULL;
    _cleanup_(freep) char *text = NULL;
    struct map_slot *slot = &map->slots[0];
    enum code code = CODE_OK;
    size_t n, n_ids = 0;
    int r = map_slot_take(slot, record, "", &map->fault);

    if (r == MAP_E_BAD)
        map_fail(map, &slot->record, NULL, 0, map->fault.text);
    else if (!r)
        r = qwend_render(q, slot->req, &text, &n);
    if (!r)
        r = qwend_tokenize(q, text, n, QWEND_SPECIAL_ALL, &ids, &n_ids);
    if (r && r != MAP_E_BAD)
        code = connect_fail(map->args, q, r);
    else if (!r && !dry->n)
        code = cmd_print(map->args, text, n);
    map->fault = (struct fault){};
    if (!r)
        dry_count(dry, &ids, n_ids);
    map_slot_free(slot);
    return code;
}

static enum code dry_read(struct map *map, qwend *q, struct dry *dry)
{
    enum code code = CODE_OK;
    int r = MAP_OK;

    while (!code && r != MAP_E_END && !map->stopping) {
        struct map_record record = {};
        struct fault fault = {};

        r = map_input_next(&map->input, &record, &fault);
        if (r == MAP_E_AGAIN && (r = map_input_fill(&map->input)) < 0)
            code = (enum code)fault_set(&map->fault, CODE_FAILED, "reading the records: %s", strerror(-r));
        else if (r == MAP_E_BAD)
            map_fail(map, &record, NULL, 0, fault.text);
        else if (!r && record.number)
            code = dry_measure(map, q, &record, dry);
        map_record_deinit(&record);
        if (sig_pending())
            code = CODE_INT;
    }
    return code;
}

/* Tokens that have to be read: of what all begin with, only those of the first. */
static uint64_t dry_say_sizes(const struct map *map, const struct dry *dry)
{
    const size_t n_shared = dry->n > 1 ? dry->n_shared : 0;
    uint64_t n_read = dry->tokens;

    fprintf(stderr,
            "%s%" PRIu64 " records, %" PRIu64 " tokens of prompts, at most %" PRIu64 " in one; %" PRIu64
            " wrong\n",
            map->args->ui->out_last == '\n' || !dry->n ? "" : "\n", dry->n, dry->tokens, dry->longest,
            map->bar.failed);
    if (!n_shared)
        return n_read;
    if (!map->has_cache) {
        fprintf(
            stderr,
            "%zu tokens of each are the same beginning, and read each time: the daemon has no prefix cache\n",
            n_shared);
    } else if (n_shared < DRY_CACHED_MIN_TOK) {
        fprintf(stderr, "%zu tokens of each are the same beginning: too few for the prefix cache\n",
                n_shared);
    } else {
        n_read -= n_shared * (dry->n - 1);
        fprintf(
            stderr,
            "%zu tokens of each are the same beginning: read once, from then on in the prefix cache; %" PRIu64
            " tokens to read\n",
            n_shared, n_read);
    }
    return n_read;
}

/* As the last map with this model: what each answer took of the daemon's time, so many at a time. */
static void dry_say_time(const struct map *map, const struct dry *dry, uint64_t n_read,
                         const struct map_speed *speed)
{
    const struct opt_int *max = &map->values->max_tokens;
    const double mean = (double)speed->write_tok / (double)speed->n;
    const double answer = max->given ? MIN(mean, (double)max->value) : mean;
    const double read_ms = speed->read_ms / (double)speed->read_tok;
    const double write_ms = speed->write_ms / (double)speed->write_tok;
    const uint64_t lanes = MIN((uint64_t)map->n_granted, dry->n);
    const double ms = ((double)n_read * read_ms + (double)dry->n * answer * write_ms) / (double)lanes;
    char span[8];

    fprintf(stderr,
            "about %s, if it is as in the last map with this model: answers of %.0f tokens, %.2f ms for each "
            "of them and %.2f ms for "
            "each token to read, %" PRIu64 " at a time\n",
            board_span(ms / 1e3, span), answer, write_ms, read_ms, lanes);
}

/* What the daemon does just now, if it does anything: its tokens a second in the last 4 s. */
static int dry_look(qwend *q, double *ret_read_s)
{
    qwend_stream *stream;
    qwend_event event = {};
    int r = qwend_subscribe(q, 0, NULL, NULL, &stream);

    if (r)
        return r;
    r = qwend_next(stream, &event);
    *ret_read_s = r == 1 && event.type == QWEND_EV_SAMPLE ? event.sample->read_s : 0;
    qwend_stream_free(stream);
    return MIN(r, 0);
}

static enum code dry_say_estimate(const struct map *map, qwend *q, const struct dry *dry, uint64_t n_read)
{
    struct map_speed speed = map->speed;
    double read_s = 0;
    char span[8];
    int r;

    if (map_speed_find(&speed)) {
        dry_say_time(map, dry, n_read, &speed);
        return CODE_OK;
    }
    r = dry_look(q, &read_s);
    if (r)
        return connect_fail(map->args, q, r);
    if (read_s > 0)
        fprintf(stderr,
                "%s to read, at the %.0f tokens a second of just now; how long answers take a first map will "
                "show\n",
                board_span((double)n_read / read_s, span), read_s);
    else
        fputs("how long it takes a first map with this model will show\n", stderr);
    return CODE_OK;
}

enum code map_dry_run(struct map *map, qwend *q)
{
    struct dry dry = {};
    enum code code = dry_read(map, q, &dry);

    if (!code && !map->args->ui->quiet) {
        const uint64_t n_read = dry_say_sizes(map, &dry);

        if (dry.n)
            code = dry_say_estimate(map, q, &dry, n_read);
    }
    free(dry.first);
    return code ? code : map->bar.failed ? CODE_SOME : CODE_OK;
}
