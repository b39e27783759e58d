/* request_restore.c - requests of the broker before this one, made again from its journal.  See request.h,
 * request_journal.h.
 *
 * They stand where they stood, but for three things: nobody reads them until somebody attaches, each waits
 * for an engine in the order in which it came, and fairness begins anew.  One that is not detachable is given
 * linger_s for its client to come back. */
#include <inttypes.h>
#include <string.h>

#include "broker.h"
#include "daemon/util/clock.h"
#include "daemon/util/log.h"
#include "daemon/util/memfd.h"
#include "ledger.pb-c.h"
#include "proto/status.h"
#include "proto/wire.h"
#include "request.h"
#include "store.h"

enum {
    /* Brokers that may die one after the other with a request at work and without a new token of it: more
     * than of engines, since a broker is killed rather than killed by what it is asked. */
    RESTORE_DEATHS_MAX = 5,
    RESTORE_READINGS_MAX = 3, /* that may die of what they find in the journal */
};

struct restore_one {
    uint32_t key;
    struct request *request;     /* borrowed; NULL: given up */
    unsigned n_restored, n_idle; /* brokers that died with it; since its last token */
    bool submitted;              /* in the life of the last one */
    uint32_t handle;             /* at its end, if it left; 0: it was in no engine */
};

struct restore {
    struct broker *broker;
    struct restore_one *ones; /* owned, by key, as requests are opened */
    size_t n_ones;
    size_t n_lost;
    size_t n_used; /* of the journal, without what is written into it meanwhile */
};

static struct restore_one *restore_find(struct restore *restore, uint32_t key)
{
    size_t lo = 0, hi = restore->n_ones;

    while (lo < hi) {
        const size_t mid = (lo + hi) / 2;

        if (restore->ones[mid].key < key)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < restore->n_ones && restore->ones[lo].key == key && restore->ones[lo].request
               ? &restore->ones[lo]
               : NULL;
}

/* A request that cannot be made again: its client hears that nobody knows it. */
static void restore_give_up(struct restore *restore, uint32_t key, const char *why)
{
    log_warn("a request of the last broker is lost: %s", why);
    store_close_key(&restore->broker->store, key);
    restore->n_lost++;
}

/* a request */
static const struct policy_class *restore_class(const struct broker *broker, const char *name)
{
    for (size_t i = 0; name && i < broker->policy->n; i++)
        if (!strcmp(broker->policy->classes[i].name, name))
            return &broker->policy->classes[i];
    return &broker->policy->otherwise;
}

static void restore_fields(struct request *request, const Qwl__Opened *opened)
{
    memcpy(request->id, opened->request_id.data, POLICY_ID_BYTES);
    request->uid = opened->uid;
    request->n_body = opened->body_bytes;
    request->priority = opened->priority;
    request->max_tokens = opened->max_tokens;
    request->context = opened->context;
    request->output = opened->output;
    request->weight = CLAMP(opened->weight, 1u, (uint32_t)QUEUE_WEIGHT_MAX);
    request->max_running = opened->max_running;
    request->seed = opened->seed;
    request->want_ids = opened->want_ids;
    request->detachable = opened->detachable;
    request->orphan = !opened->detachable;
    request->ttft_deadline_ms = opened->ttft_deadline_ms;
    request->deadline_ms = opened->deadline_ms;
    request->received_ns = opened->received_ns;
}

static int restore_body(struct request *request, const Qwl__Opened *opened, const uint8_t *body, size_t n)
{
    request->head = malloc(opened->head.len + 1);
    if (!request->head)
        return err_origin(-ENOMEM);
    memcpy(request->head, opened->head.data, opened->head.len);
    request->n_head = opened->head.len;
    return opened->memfd ? memfd_sealed("qwend-prompt", body, n, &request->memfd)
                         : buf_append(&request->body, body, n);
}

/* What it was charged for then it is charged for now, whatever its owner's share has become. */
static int restore_charges(struct request *request, const Qwl__Opened *opened,
                           const struct policy_class *class)
{
    struct broker *broker = request->broker;
    const uint64_t owner = request->account->key;
    const size_t n_ledger = ledger_key_bytes(&broker->store.ledger, request->journal.key);
    int r = quota_restore(&broker->quota, owner, QUOTA_REQUESTS, 1, &request->request_charge);

    if (!r)
        quota_cap(&request->request_charge, QUOTA_BYTES, (uint64_t) class->max_mib << 20);
    if (!r)
        r = quota_restore(&broker->quota, owner, QUOTA_BYTES,
                          MAX(opened->log_bytes, (uint64_t)request->n_head), &request->log_charge);
    if (!r)
        r = quota_restore(&broker->quota, owner, QUOTA_BYTES, request->body.cap, &request->body_charge);
    if (!r)
        r = quota_restore(&broker->quota, owner, QUOTA_JOURNAL,
                          MAX(opened->charged_bytes, (uint64_t)n_ledger), &request->journal.charge);
    return r;
}

static int restore_make(struct request *request, const Qwl__Opened *opened, const struct ledger_record *body)
{
    struct broker *broker = request->broker;
    const struct policy_class *class = restore_class(broker, opened->uid_class);
    int r;

    restore_fields(request, opened);
    r = stream_init(request, POLICY_CREDIT_BYTES_DEFAULT);
    if (!r)
        r = stream_begin_past(request);
    if (!r)
        r = restore_body(request, opened, body->payload, body->n_bytes);
    if (!r)
        r = account_restore(&broker->accounts, request->uid, opened->account, opened->account_key, class,
                            clock_now_ns(), &request->account);
    return r ? r : restore_charges(request, opened, class);
}

static int restore_new(struct broker *broker, const Qwl__Opened *opened, const struct ledger_record *body,
                       struct request **ret_request)
{
    struct request *request = calloc(1, sizeof(*request));
    int r;

    if (!request)
        return err_origin(-ENOMEM);
    *request = (struct request){.broker = broker, .memfd = -1, .state = REQUEST_QUEUED};
    request->body = BUF_INIT(POLICY_BODY_BYTES_MAX);
    broker_give_handle(request);
    request->journal.key = body->key;
    list_push(&broker->requests, &request->node);
    r = restore_make(request, opened, body);
    if (r) {
        request_free(request);
        return r;
    }
    *ret_request = request;
    return 0;
}

/* first: what there is, and where Deltas ended */
static int restore_push(struct restore *restore, uint32_t key, struct request *request)
{
    struct restore_one *ones = restore->ones;

    if (!(restore->n_ones & (restore->n_ones - 1))) { /* grows at powers of two */
        ones = realloc(ones, MAX(2 * restore->n_ones, (size_t)1) * sizeof(*ones));
        if (!ones)
            return err_origin(-ENOMEM);
        restore->ones = ones;
    }
    ones[restore->n_ones++] = (struct restore_one){.key = key, .request = request};
    return 0;
}

static bool restore_is_sound(const Qwl__Opened *opened, const struct ledger_record *body)
{
    return opened->request_id.len == POLICY_ID_BYTES && opened->body_bytes == body->n_bytes &&
           body->n_bytes <= POLICY_BODY_BYTES_MAX && opened->has_uid && opened->has_priority;
}

/* body: the record before it. */
static void restore_on_opened(struct restore *restore, const struct ledger_record *record,
                              const struct ledger_record *body)
{
    ProtobufCMessage *msg = NULL;
    struct fault fault = {};
    struct request *request = NULL;
    int r;

    if (body->type != RECORD_BODY || body->key != record->key)
        r = fault_set(&fault, LEDGER_E_BAD, "its prompt is not in the journal");
    else
        r = wire_unpack(&qwl__opened__descriptor, record->payload, record->n_bytes, &fault, &msg);
    if (!r && !restore_is_sound((Qwl__Opened *)msg, body))
        r = fault_set(&fault, LEDGER_E_BAD, "its record contradicts itself");
    if (!r)
        r = restore_new(restore->broker, (Qwl__Opened *)msg, body, &request);
    if (!r)
        r = restore_push(restore, record->key, request);
    wire_free(msg);
    if (r && request)
        request_free(request);
    if (r)
        restore_give_up(restore, record->key, r > 0 ? fault.text : strerror(-r));
}

static void restore_on_cut(struct restore_one *one, const struct ledger_record *record)
{
    ProtobufCMessage *msg;
    const Qwl__Cut *cut;

    if (wire_unpack(&qwl__cut__descriptor, record->payload, record->n_bytes, NULL, &msg))
        return; /* at worst its reader finds a gap */
    cut = (const Qwl__Cut *)msg;
    (void)stream_note_cut(one->request, cut->seq, cut->text_bytes);
    wire_free(msg);
}

static void restore_serving(struct store *store, const struct ledger_record *record)
{
    uint8_t *copy = malloc(record->n_bytes + 1);

    if (!copy)
        return; /* then it is not compared */
    memcpy(copy, record->payload, record->n_bytes);
    free(store->serving);
    store->serving = copy;
    store->n_serving = record->n_bytes;
}

/* Its broker died between two records: nobody was told that it was let in. */
static void restore_drop_body(struct store *store, const struct ledger_record *body,
                              const struct ledger_record *next)
{
    if (body->type == RECORD_BODY && (next->type != RECORD_OPENED || next->key != body->key))
        store_close_key(store, body->key);
}

static void restore_find_all(struct restore *restore)
{
    struct store *store = &restore->broker->store;
    struct ledger_record record, before = {};
    struct restore_one *one;
    size_t at = 0;

    for (; at < restore->n_used && ledger_next(&store->ledger, &at, &record); before = record) {
        restore_drop_body(store, &before, &record);
        if (record.key == STORE_KEY && record.type == RECORD_SERVING)
            restore_serving(store, &record);
        else if (record.type == RECORD_OPENED && ledger_is_live(&store->ledger, &record))
            restore_on_opened(restore, &record, &before);
        else if (record.type == RECORD_CUT && (one = restore_find(restore, record.key)))
            restore_on_cut(one, &record);
    }
    restore_drop_body(store, &before, &(struct ledger_record){});
}

/* second: what happened to each */
static int restore_on_emit(struct restore_one *one, const struct ledger_record *record, struct fault *fault)
{
    ProtobufCMessage *msg;
    const Qwe__Emit *emit;
    int r = wire_unpack(&qwe__emit__descriptor, record->payload, record->n_bytes, fault, &msg);

    if (r < 0)
        return fault_set(fault, STATUS_INTERNAL, "out of memory");
    if (r)
        return fault_set(fault, STATUS_INTERNAL, "the journal of this request cannot be read");
    emit = (const Qwe__Emit *)msg;
    if (emit->n_ids)
        one->n_idle = 0;
    r = request_restore_emit(one->request, emit, record->payload, record->n_bytes, fault);
    wire_free(msg);
    return r;
}

static int restore_on_started(struct restore_one *one, const struct ledger_record *record,
                              struct fault *fault)
{
    struct request *request = one->request;
    ProtobufCMessage *msg;
    const Qwl__Started *started;
    int r = wire_unpack(&qwl__started__descriptor, record->payload, record->n_bytes, fault, &msg);

    if (r)
        return fault_set(fault, STATUS_INTERNAL, "the journal of this request cannot be read");
    started = (const Qwl__Started *)msg;
    request->has_started = true;
    request->prompt_tokens = started->prompt_tokens;
    request->cached_tokens = started->cached_tokens;
    request->submitted_ns = started->submitted_ns;
    wire_free(msg);
    return 0;
}

/* Its last word was on the way. */
static int restore_on_ended(struct restore_one *one, const struct ledger_record *record, struct fault *fault)
{
    struct request *request = one->request;
    ProtobufCMessage *msg;
    const Qwl__Ended *ended;
    int r = wire_unpack(&qwl__ended__descriptor, record->payload, record->n_bytes, fault, &msg);

    if (r)
        return fault_set(fault, STATUS_INTERNAL, "the journal of this request cannot be read");
    ended = (const Qwl__Ended *)msg;
    if (ended->error) {
        request_fail_with(request, ended->error);
        one->request = NULL; /* it waits with its error, or is gone */
    } else {
        request->state = REQUEST_DONE;
        request->finish = ended->finish;
        request->done_ns = ended->done_ns;
    }
    wire_free(msg);
    return 0;
}

static int restore_on_reader(struct restore_one *one, const struct ledger_record *record)
{
    ProtobufCMessage *msg;

    if (wire_unpack(&qwl__reader__descriptor, record->payload, record->n_bytes, NULL, &msg))
        return 0;
    one->request->out.past->reader = ((const Qwl__Reader *)msg)->present;
    wire_free(msg);
    return 0;
}

static void restore_count_death(struct restore_one *one)
{
    one->n_restored += one->submitted;
    one->n_idle += one->submitted;
    one->submitted = false;
    one->handle = 0;
}

/* That broker was not killed: what was at work in it has nothing to do with its end. */
static void restore_on_left(struct restore *restore)
{
    for (size_t i = 0; i < restore->n_ones; i++)
        restore->ones[i].submitted = false;
}

static void restore_on_running(struct restore_one *one, const struct ledger_record *record)
{
    ProtobufCMessage *msg;

    if (wire_unpack(&qwl__running__descriptor, record->payload, record->n_bytes, NULL, &msg))
        return;
    one->handle = ((const Qwl__Running *)msg)->handle;
    wire_free(msg);
}

static void restore_on_record(struct restore *restore, const struct ledger_record *record)
{
    struct restore_one *one = restore_find(restore, record->key);
    struct fault fault = {};
    int r = 0;

    if (record->key == STORE_KEY && record->type == RECORD_LEFT)
        restore_on_left(restore);
    if (!one)
        return;
    switch (record->type) {
    case RECORD_STARTED:
        r = restore_on_started(one, record, &fault);
        break;
    case RECORD_EMIT:
        r = restore_on_emit(one, record, &fault);
        break;
    case RECORD_READER:
        r = restore_on_reader(one, record);
        break;
    case RECORD_ENDED:
        r = restore_on_ended(one, record, &fault);
        break;
    case RECORD_SUBMITTED:
        one->submitted = true;
        one->handle = 0;
        break;
    case RECORD_RUNNING:
        restore_on_running(one, record);
        break;
    case RECORD_RESTORED:
        restore_count_death(one);
        break;
    }
    if (r > 0)
        request_fail(one->request, &fault);
    if (r)
        one->request = NULL;
}

/* third: it goes on */
/* Its engine goes on with it; or it waits for one as if it had been preempted. */
static void restore_state(struct request *request, uint32_t handle)
{
    struct broker *broker = request->broker;

    if (handle && handover_has_engine(&broker->handover)) {
        broker_set_handle(request, handle);
        queue_start(&broker->queue, &request->item);
        request->preempt.started_ns = clock_now_ns();
        request->state = request->n_ids ? REQUEST_DECODE : REQUEST_PREFILL;
        return;
    }
    request->state = request->has_started ? REQUEST_PREEMPTED : REQUEST_QUEUED;
    request->restart_told = request->has_started;
}

static int restore_queue(struct request *request, uint32_t handle)
{
    static const enum queue_priority bands[] = {
        [QWP__PRIORITY__PRIORITY_INTERACTIVE] = QUEUE_INTERACTIVE,
        [QWP__PRIORITY__PRIORITY_NORMAL] = QUEUE_NORMAL,
        [QWP__PRIORITY__PRIORITY_BATCH] = QUEUE_BATCH,
    };
    struct broker *broker = request->broker;
    int r = queue_push(&broker->queue, request->account->key, bands[request->priority], &request->item);

    if (r)
        return r;
    queue_set_weight(&request->item, request->weight);
    queue_set_max_running(&request->item, request->max_running);
    queue_set_work(&request->item, request->has_started
                                       ? (double)(request->prompt_tokens + request->n_ids)
                                       : forecast_prompt_tok(&broker->forecast, request->n_body));
    restore_state(request, handle);
    return request_restore_deadline(request);
}

static void restore_go_on(struct restore_one *one)
{
    struct request *request = one->request;
    const uint32_t handle = one->handle;
    struct fault fault;
    int r = 0;

    stream_end_past(request);
    restore_count_death(one);
    request_journal_restored(request);
    request->replays = one->n_restored;
    if (one->n_idle >= RESTORE_DEATHS_MAX)
        r = fault_set(&fault, STATUS_ENGINE_LOST,
                      "the service died %u times without a new token of this request", one->n_idle);
    else if (request->state != REQUEST_DONE && restore_queue(request, handle))
        r = fault_set(&fault, STATUS_INTERNAL, "out of memory");
    if (r)
        request_fail(request, &fault);
    else if (request->orphan || request->state == REQUEST_DONE)
        request_linger(request);
}

/* How many brokers in a row have begun to read it and did not come to an end. */
static unsigned restore_count_readings(const struct store *store)
{
    struct ledger_record record;
    unsigned n = 0;
    size_t at = 0;

    while (ledger_next(&store->ledger, &at, &record)) {
        if (record.key != STORE_KEY)
            continue;
        if (record.type == RECORD_READING)
            n++;
        else if (record.type == RECORD_RESTORED)
            n = 0;
    }
    return n;
}

static size_t restore_read(struct restore *restore)
{
    struct store *store = &restore->broker->store;
    struct ledger_record record;
    size_t at = 0, n = 0;

    store->frozen = true;
    restore_find_all(restore);
    while (at < restore->n_used && ledger_next(&store->ledger, &at, &record))
        restore_on_record(restore, &record);
    store->frozen = false;
    for (size_t i = 0; i < restore->n_ones; i++)
        if (restore->ones[i].request) {
            restore_go_on(&restore->ones[i]);
            n++;
        }
    return n;
}

/* What brokers have said about themselves is not kept for ever. */
void request_restore_note(struct broker *broker)
{
    struct store *store = &broker->store;

    if (!store_is_on(store))
        return;
    store_close_key(store, STORE_KEY);
    if (store_put(store, STORE_KEY, RECORD_RESTORED, NULL, 0) ||
        (store->serving && store_put(store, STORE_KEY, RECORD_SERVING, store->serving, store->n_serving)) ||
        use_record(broker))
        log_warn("the journal does not say what is served: after a restart it is not compared");
}

void request_restore_all(struct broker *broker)
{
    struct restore restore = {.broker = broker, .n_used = broker->store.ledger.used_bytes};
    size_t n;

    if (!store_is_on(&broker->store))
        return;
    if (restore_count_readings(&broker->store) >= RESTORE_READINGS_MAX) {
        log_err("the journal is given up: %d brokers have died while they read it", RESTORE_READINGS_MAX);
        if (store_begin_anew(&broker->store))
            log_err("no journal is kept from here on");
        return;
    }
    if (store_put(&broker->store, STORE_KEY, RECORD_READING, NULL, 0))
        log_warn("the journal is full before it is read");
    n = restore_read(&restore);
    request_restore_note(broker);
    if (n || restore.n_lost)
        log_info("%zu requests of the last broker go on, %zu are lost", n, restore.n_lost);
    free(restore.ones);
}

/* what they go on with */
static void restore_fill_serving(const Qwe__Ready *ready, Qwl__Serving *serving)
{
    const Qwp__Model *model = ready->model;

    qwl__serving__init(serving);
    serving->kv_type = ready->kv_type;
    if (!model)
        return;
    serving->model = model->name;
    serving->numerics_id = model->numerics_id;
    serving->has_digest = model->has_digest;
    serving->digest = model->digest;
}

static void restore_end_changed(struct broker *broker, const Qwl__Serving *was, const Qwl__Serving *is)
{
    struct request *request;
    struct fault fault;

    LIST_FOREACH (request, &broker->requests, node) {
        if (!request->n_ids || request->state == REQUEST_DONE)
            continue;
        fault_set(
            &fault, STATUS_ENGINE_LOST,
            "%zu tokens were made by %.64s (%.64s, keys and values %s), which is not what is served now: "
            "%.64s (%.64s, %s)",
            request->n_ids, was->model ? was->model : "?", was->numerics_id ? was->numerics_id : "?",
            was->kv_type ? was->kv_type : "?", is->model ? is->model : "?",
            is->numerics_id ? is->numerics_id : "?", is->kv_type ? is->kv_type : "?");
        request_fail(request, &fault);
    }
}

void request_check_serving(struct broker *broker, const Qwe__Ready *ready)
{
    struct store *store = &broker->store;
    ProtobufCMessage *was = NULL;
    Qwl__Serving serving;
    uint8_t *body;
    size_t n;

    restore_fill_serving(ready, &serving);
    n = qwl__serving__get_packed_size(&serving);
    body = malloc(n + 1);
    if (!body)
        return; /* what was served stays unknown */
    qwl__serving__pack(&serving, body);
    if (store->serving && n == store->n_serving && !memcmp(body, store->serving, n)) {
        free(body);
        return;
    }
    if (store->serving &&
        !wire_unpack(&qwl__serving__descriptor, store->serving, store->n_serving, NULL, &was))
        restore_end_changed(broker, (Qwl__Serving *)was, &serving);
    wire_free(was);
    free(store->serving);
    store->serving = body;
    store->n_serving = n;
    if (store_is_on(store) && store_put(store, STORE_KEY, RECORD_SERVING, body, n))
        log_warn("the journal does not say what is served: after a restart it is not compared");
}
