/* map_run.c - the loop of map: input, requests, output and signals, all watched at once.  See map.h. */
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "json.h"
#include "map.h"
#include "proto/status.h"
#include "sig.h"
#include "tick.h"

enum {
    RUN_PATIENCE_MS = 30000, /* for a daemon that is being started again, as libqwend has it */
    RUN_PAUSE_MS = 100,
    RUN_FAILURES_MIN = 20, /* records before a share of failures means anything */
};

void map_stop(struct map *map, enum code code)
{
    if (!map->stopping)
        map->code = code;
    map->stopping = map->input_over = true;
}

/* failures */

static void fail_put(struct map *map, const struct map_record *record, const char *key, int code,
                     const char *text)
{
    struct json json = {.file = map->errors};

    if (!map->errors) {
        ui_error(map->args->ui, "record %" PRIu64 " (line %" PRIu64 "): %s%s%s", record->number, record->line,
                 text, code ? ", " : "", code ? status_name(code) : "");
        return;
    }
    json_open(&json, NULL, '{');
    if (key)
        json_text(&json, "_key", key, (size_t)-1);
    json_uint(&json, "record", record->number);
    json_uint(&json, "line", record->line);
    json_uint(&json, "code", (uint64_t)code);
    json_text(&json, "msg", text, (size_t)-1);
    json_close(&json, '}');
    fputc('\n', map->errors);
    fflush(map->errors);
}

static bool fail_is_too_much(const struct map *map)
{
    const char *limit = map->values->max_failures;
    const uint64_t n = limit ? strtoull(limit, NULL, 10) : 0;

    if (!limit)
        return false;
    if (!strchr(limit, '%'))
        return map->bar.failed > n;
    return map->bar.done >= RUN_FAILURES_MIN && map->bar.failed * 100 > n * map->bar.done;
}

void map_fail(struct map *map, const struct map_record *record, const char *key, int code, const char *text)
{
    map->bar.done++;
    map->bar.failed++;
    fail_put(map, record, key, code, text);
    if (!map->stopping && fail_is_too_much(map)) {
        ui_error(map->args->ui, "more failures than --max-failures allows: stopped");
        map_stop(map, CODE_SOME);
    }
}

/* input */

static struct map_slot *run_free_slot(struct map *map)
{
    for (size_t i = 0; i < map->n_slots; i++)
        if (map->slots[i].state == MAP_FREE)
            return &map->slots[i];
    return NULL;
}

/* A key that came before gets a number: two equal lines are two records. */
static int run_key(struct map *map, const struct map_record *record, char key[MAP_KEY_BYTES],
                   struct fault *fault)
{
    int64_t n;
    int r = map_key_of(record, map->key_names, map->n_key_names, key, fault);

    if (r)
        return r;
    n = map_keys_add(&map->seen, key);
    if (n == -E2BIG)
        return fault_set(fault, (int)n, "more than %d records", MAP_RECORDS_MAX);
    if (n > 0)
        snprintf(key + strlen(key), MAP_KEY_BYTES - strlen(key), "#%" PRId64, n + 1);
    return (int)MIN(n, (int64_t)0);
}

static int run_accept(struct map *map, struct map_slot *slot, struct map_record *record, struct fault *fault)
{
    char key[MAP_KEY_BYTES];
    int r = run_key(map, record, key, fault);

    if (r == MAP_E_BAD)
        map_fail(map, record, NULL, 0, fault->text);
    if (r)
        return MIN(r, 0);
    if (map_keys_has(&map->journal.done, key)) {
        map->bar.kept++;
        return 0;
    }
    r = map_slot_take(slot, record, key, fault);
    if (r != MAP_E_BAD)
        return r;
    map_fail(map, &slot->record, key, 0, fault->text);
    slot->state = MAP_DONE;
    return 0;
}

/* Records for all slots that are free: 0, MAP_E_AGAIN: more input is wanted, or negative. */
static int run_read(struct map *map)
{
    struct map_slot *slot;
    int r = 0;

    while (r >= 0 && !map->input_over && (slot = run_free_slot(map))) {
        struct map_record record = {};
        struct fault fault = {};

        r = map_input_next(&map->input, &record, &fault);
        if (r == MAP_E_AGAIN)
            return r;
        if (r == MAP_E_END)
            map->input_over = true;
        else if (r == MAP_E_BAD)
            map_fail(map, &record, NULL, 0, fault.text);
        else if (!r)
            r = run_accept(map, slot, &record, &fault);
        map_record_deinit(&record);
        if (r < 0)
            fault_set(&map->fault, r, "%s", *fault.text ? fault.text : strerror(-r));
    }
    return MIN(r, 0);
}

/* requests */

static struct map_slot *run_next_waiting(struct map *map, uint64_t now_ns, uint64_t *ret_when_ns)
{
    struct map_slot *first = NULL;

    for (size_t i = 0; i < map->n_slots; i++) {
        struct map_slot *slot = &map->slots[i];

        if (slot->state != MAP_WAITING)
            continue;
        if (slot->not_before_ns > now_ns)
            *ret_when_ns = MIN(*ret_when_ns, slot->not_before_ns);
        else if (!first || slot->order < first->order)
            first = slot;
    }
    return first;
}

/* What all prompts begin with is read once, with the first of them, and not beside itself in each slot. */
static bool run_may_start(const struct map *map)
{
    return map->n_running < map->n_running_max && (map->primed || !map->n_running);
}

/* *ret_when_ns: when a record that waits may be tried again. */
static int run_start(struct map *map, uint64_t *ret_when_ns)
{
    const uint64_t now_ns = tick_ns();
    struct map_slot *slot;
    int r = 0;

    while (!r && run_may_start(map) && (slot = run_next_waiting(map, now_ns, ret_when_ns)))
        r = map_slot_start(slot);
    return r == -EAGAIN || r == -EBUSY || r == -ENOBUFS
               ? 0
               : r; /* the connection is being made again: qwend_timeout_ms() says when */
}

static void run_free_streams(struct map *map)
{
    for (size_t i = 0; i < map->n_slots; i++)
        if (map->slots[i].stream && map->slots[i].state != MAP_RUNNING) {
            qwend_stream_free(map->slots[i].stream);
            map->slots[i].stream = NULL;
        }
}

/* output */

static enum code run_put(struct map *map, struct map_slot *slot)
{
    enum code code = CODE_OK;

    if (slot->text)
        code = map_journal_write(&map->journal, map->args->ui, slot->text, slot->n, &map->fault);
    map_slot_free(slot);
    map->n_out++;
    return code;
}

static enum code run_flush(struct map *map)
{
    enum code code = CODE_OK;

    for (size_t i = 0; !code && i < map->n_slots; i++) {
        struct map_slot *slot = &map->slots[i];

        if (slot->state != MAP_DONE || (!map->values->unordered && slot->order != map->n_out))
            continue;
        code = run_put(map, slot);
        if (!map->values->unordered)
            i = (size_t)-1; /* the next one may be anywhere */
    }
    return code;
}

/* the connection */

static void run_drop_connection(struct map *map)
{
    for (size_t i = 0; i < map->n_slots; i++)
        if (map->slots[i].state == MAP_RUNNING)
            map_slot_again(&map->slots[i], 0);
    run_free_streams(map);
    qwend_close(map->q);
    map->q = NULL;
}

static bool run_sleep(int ms)
{
    struct pollfd pollfd = {.fd = sig_fd(), .events = POLLIN};

    poll(&pollfd, 1, ms);
    return !sig_pending();
}

/* What ran is asked again.  CODE_NO_DAEMON: nobody has come back. */
static enum code run_connect(struct map *map)
{
    const uint64_t until_ns = tick_ns() + RUN_PATIENCE_MS * 1000000ull;
    int r;

    if (map->q) {
        ui_note(map->args->ui, "%s; connecting again", qwend_error(map->q));
        run_drop_connection(map);
    }
    while ((r = qwend_open_as(&map->q, map->values->socket, QWEND_NONBLOCK | QWEND_RESUME,
                              "qwenctl " QWEND_VERSION))) {
        if (tick_ns() >= until_ns || (r != -ECONNREFUSED && r != -ENOENT && r != -EAGAIN))
            return (enum code)fault_set(&map->fault, code_of_errno(r), "%s", qwend_error(NULL));
        if (!run_sleep(RUN_PAUSE_MS))
            return sig_pending() == SIGINT ? CODE_INT : CODE_TERM;
    }
    return CODE_OK;
}

/* the loop */

static int run_min_ms(int a, int b)
{
    return a < 0 ? b : b < 0 ? a : MIN(a, b);
}

static int run_until_ms(uint64_t when_ns)
{
    const uint64_t now_ns = tick_ns();

    if (when_ns == UINT64_MAX)
        return -1;
    return when_ns <= now_ns ? 0 : (int)MIN((when_ns - now_ns) / 1000000u + 1, (uint64_t)INT32_MAX);
}

static int run_wait(struct map *map, bool want_input, uint64_t when_ns)
{
    struct pollfd fds[] = {
        {.fd = qwend_fd(map->q), .events = qwend_events(map->q)},
        {.fd = sig_fd(), .events = POLLIN},
        {.fd = want_input ? map->input.fd : -1, .events = POLLIN},
    };
    int timeout_ms = run_min_ms(qwend_timeout_ms(map->q), map_bar_timeout_ms(&map->bar));
    int r = 0;

    timeout_ms = run_min_ms(timeout_ms, run_until_ms(MIN(when_ns, map->deadline_ns)));
    if (poll(fds, ARRAY_SIZE(fds), timeout_ms) < 0 && errno != EINTR)
        return err_errno();
    if (fds[2].revents)
        r = map_input_fill(&map->input);
    if (r) {
        fault_set(&map->fault, r, "reading the records: %s", strerror(-r));
        map_stop(map, CODE_FAILED);
        return 0;
    }
    return qwend_dispatch(map->q, fds[0].revents);
}

static void run_check_limits(struct map *map)
{
    const struct opt_int *budget = &map->values->budget_tokens;

    if (sig_pending())
        map_stop(map, sig_pending() == SIGINT ? CODE_INT : CODE_TERM);
    if (tick_ns() >= map->deadline_ns) {
        ui_error(map->args->ui, "out of time (--timeout)");
        map_stop(map, CODE_DEADLINE);
    }
    if (budget->given && map->used_tokens >= (uint64_t)budget->value && !map->stopping) {
        ui_error(map->args->ui, "the budget of %lld tokens is used up", (long long)budget->value);
        map_stop(map, CODE_CUT);
    }
}

static bool run_is_over(const struct map *map)
{
    for (size_t i = 0; i < map->n_slots; i++)
        if (map->slots[i].state != MAP_FREE)
            return false;
    return map->input_over;
}

/* One turn: 0, or why it ends. */
static enum code run_turn(struct map *map)
{
    uint64_t when_ns = UINT64_MAX;
    const int more = run_read(map);
    enum code code;
    int r;

    if (more < 0)
        return CODE_FAILED;
    r = run_start(map, &when_ns);
    if (r && r != -EPIPE)
        return (enum code)fault_set(&map->fault, code_of_errno(r), "%s", qwend_error(map->q));
    code = run_flush(map); /* of records that could not be asked */
    if (code || run_is_over(map))
        return code;
    r = r ? r : run_wait(map, more == MAP_E_AGAIN, when_ns);
    run_free_streams(map);
    run_check_limits(map);
    if (r < 0 && !map->stopping)
        code = run_connect(map);
    if (!code)
        code = run_flush(map);
    map_bar_turn(&map->bar);
    return code;
}

enum code map_run(struct map *map)
{
    enum code code = run_connect(map);

    map_bar_init(&map->bar, map->args->ui);
    while (!code && !map->stopping && !run_is_over(map))
        code = run_turn(map);
    if (map->stopping && !code)
        code = map->code;
    if (map->code != CODE_PIPE && !code && map->bar.failed)
        code = CODE_SOME;
    ui_progress_end(map->args->ui);
    for (size_t i = 0; i < map->n_slots; i++)
        map_slot_free(&map->slots[i]); /* what still runs is cancelled */
    return code;
}
