/* map_slot.c - one record on its way: from its fields to a request, from events to a line.  See map.h. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "gen.h"
#include "json.h"
#include "map.h"
#include "proto/status.h"
#include "run.h"
#include "tick.h"

enum {
    SLOT_ANSWER_BYTES = 64 << 20, /* as of qwend_ask(): 1 M tokens of 8 bytes, eight times over */
    SLOT_RETRY_MS = 500,          /* where the daemon does not say how long; and twice as long each time */
};

static int slot_build(struct map_slot *slot, struct fault *fault)
{
    struct map *map = slot->map;
    struct opt_values sent = *map->values;
    _cleanup_(freep) char *text = NULL;
    size_t n;
    int r = map_template_put(&map->template, &slot->record, &text, &n, fault);

    if (r)
        return r;
    if (!sent.priority.given)
        sent.priority = (struct opt_int){true, 3}; /* batch */
    slot->held_bytes = n;
    map->held_bytes += n;
    slot->req = qwend_req_new();
    if (!slot->req)
        return err_origin(-ENOMEM);
    if (gen_set(slot->req, &sent, fault))
        return MAP_E_BAD;
    if (map->system)
        r = qwend_req_message(slot->req, QWEND_SYSTEM, map->system, (size_t)-1);
    return r ? r : qwend_req_message(slot->req, QWEND_USER, text, n);
}

int map_slot_take(struct map_slot *slot, struct map_record *record, const char *key, struct fault *fault)
{
    int r;

    slot->record = *record;
    *record = (struct map_record){};
    snprintf(slot->key, sizeof(slot->key), "%s", key);
    slot->order = slot->map->n_read++;
    slot->n_tries = 0;
    slot->not_before_ns = 0;
    slot->state = MAP_WAITING;
    r = slot_build(slot, fault);
    /* what was asked is in the request; what it was asked about is not needed twice */
    freep(&slot->record.text);
    return r;
}

static void slot_drop_answer(struct map_slot *slot)
{
    if (slot->answer)
        fclose(slot->answer);
    slot->answer = NULL;
    freep(&slot->text);
    slot->n = 0;
}

void map_slot_free(struct map_slot *slot)
{
    if (slot->state == MAP_RUNNING)
        slot->map->n_running--;
    qwend_stream_free(slot->stream);
    slot->stream = NULL;
    qwend_req_free(slot->req);
    slot->req = NULL;
    slot->map->held_bytes -= slot->held_bytes;
    slot->held_bytes = 0;
    slot_drop_answer(slot);
    map_record_deinit(&slot->record);
    slot->state = MAP_FREE;
}

/* The request is over; slot->stream is freed by whoever is outside of its callback. */
static void slot_stop(struct map_slot *slot, enum map_state state)
{
    slot->map->n_running--;
    slot->state = state;
}

void map_slot_again(struct map_slot *slot, uint64_t not_before_ns)
{
    slot_stop(slot, MAP_WAITING);
    slot_drop_answer(slot);
    slot->not_before_ns = not_before_ns;
}

static void slot_fail(struct map_slot *slot, int code, const char *text)
{
    slot_drop_answer(slot);
    map_fail(slot->map, &slot->record, slot->key, code, text);
    slot_stop(slot, MAP_DONE);
}

/* The line: nothing in it depends on when and beside what the record was asked. */
static void slot_finish(struct map_slot *slot, const qwend_usage *usage)
{
    _cleanup_(freep) char *answer = NULL;
    struct map *map = slot->map;
    size_t n_answer;

    fclose(slot->answer);
    answer = steal(&slot->text);
    n_answer = slot->n;
    slot->answer = open_memstream(&slot->text, &slot->n);
    if (!slot->answer || !answer) {
        slot_fail(slot, 0, "out of memory");
        return;
    }
    struct json json = {.file = slot->answer};
    json_open(&json, NULL, '{');
    json_text(&json, "_key", slot->key, (size_t)-1);
    json_text(&json, "_h", map->journal.hash, (size_t)-1);
    json_text(&json, "text", answer, n_answer);
    json_text(&json, "finish", run_finish_name(usage->finish), (size_t)-1);
    json_open(&json, "usage", '{');
    json_uint(&json, "prompt", usage->prompt_tokens);
    json_uint(&json, "think", usage->reasoning_tokens);
    json_uint(&json, "output", usage->answer_tokens);
    json_close(&json, '}');
    json_close(&json, '}');
    fputc('\n', slot->answer);
    fclose(slot->answer);
    slot->answer = NULL;
    map->n_running_max = MIN(map->n_running_max + 1, map->n_granted);
    map_speed_note(&map->speed, usage);
    map->bar.done++;
    map->bar.tokens += usage->reasoning_tokens + usage->answer_tokens;
    map->used_tokens += usage->prompt_tokens + usage->reasoning_tokens + usage->answer_tokens;
    slot_stop(slot, MAP_DONE);
}

/* A service that is full is waited for, as long as it takes. */
static bool slot_may_wait(int code)
{
    return status_is_retryable(code) || code == STATUS_TOKEN_RATE || code == STATUS_CONCURRENCY ||
           code == STATUS_PENALISED;
}

/* What broke is tried again --retry times; that a connection was lost says nothing about the record. */
static void slot_on_error(struct map_slot *slot, const qwend_event *event)
{
    struct map *map = slot->map;
    const struct opt_int *retry = &map->values->retry;
    const bool waits = slot_may_wait(event->code), lost = !event->code;
    const bool broke = event->code == STATUS_CANCELLED || event->code / 100 == 5;
    const uint64_t pause_ms = lost ? 0 : (uint64_t)SLOT_RETRY_MS << MIN(slot->n_tries, 5);

    if (waits || lost || (broke && slot->n_tries < (retry->given ? retry->value : 2))) {
        slot->n_tries += broke;
        if (waits) /* half as many at a time, until answers come again */
            map->n_running_max = MAX(map->n_running_max / 2, (size_t)1);
        map_slot_again(slot,
                       tick_ns() + (event->retry_after_ms ? event->retry_after_ms : pause_ms) * 1000000u);
        return;
    }
    slot_fail(slot, event->code, event->text);
    if (event->code == STATUS_DENIED) /* as it would every other one */
        map_stop(map, CODE_DENIED);
}

static void slot_on_end(struct map_slot *slot, const qwend_usage *usage)
{
    if (usage->finish == QWEND_FINISH_CANCEL)
        slot_fail(slot, STATUS_CANCELLED, "the request was cancelled");
    else if (usage->finish == QWEND_FINISH_DEADLINE)
        slot_fail(slot, STATUS_DEADLINE, "out of time (--deadline)");
    else
        slot_finish(slot, usage);
}

static int slot_on_event(qwend_stream *stream, const qwend_event *event, void *user)
{
    struct map_slot *slot = user;

    if (slot->state != MAP_RUNNING || slot->stream != stream)
        return 0;
    if (event->type == QWEND_EV_STARTED)
        slot->map->primed = true;
    switch (event->type) {
    case QWEND_EV_ANSWER:
        fwrite(event->text, 1, event->n, slot->answer);
        if (ftell(slot->answer) > SLOT_ANSWER_BYTES)
            slot_fail(slot, 0, "the answer is longer than 64 MiB");
        break;
    case QWEND_EV_END:
        slot_on_end(slot, event->usage);
        break;
    case QWEND_EV_ERROR:
        slot_on_error(slot, event);
        break;
    default:
        break;
    }
    return slot->state != MAP_RUNNING;
}

int map_slot_start(struct map_slot *slot)
{
    int r;

    slot_drop_answer(slot);
    slot->answer = open_memstream(&slot->text, &slot->n);
    if (!slot->answer)
        return err_origin(-ENOMEM);
    r = qwend_generate(slot->map->q, slot->req, slot_on_event, slot, &slot->stream);
    if (r == -EMSGSIZE) { /* it is larger than this daemon takes */
        map_fail(slot->map, &slot->record, slot->key, 0, qwend_error(slot->map->q));
        slot->state = MAP_DONE;
        slot_drop_answer(slot);
        return 0;
    }
    if (r)
        return r;
    slot->state = MAP_RUNNING;
    slot->map->n_running++;
    return 0;
}
