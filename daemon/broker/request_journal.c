/* request_journal.c - writing the journal.  See request_journal.h. */
#include "request_journal.h"

#include <string.h>

#include "broker.h"
#include "client.h"
#include "daemon/util/log.h"
#include "ledger.pb-c.h"
#include "proto/status.h"
#include "request.h"
#include "store.h"

enum {
    JOURNAL_TOKEN_BYTES = 64,   /* an Emit of one token and its text, with its head: 45 measured */
    JOURNAL_TOKENS_MAX = 1024,  /* that are reserved at once: what comes behind is charged as it comes */
    JOURNAL_SLACK_BYTES = 4096, /* Started, Reader, Ended and some Cuts */
    JOURNAL_SMALL_BYTES = 2048, /* the largest of these: an Error with its details has less */
};

/* The rest of an answer that is on its way to a client that asked for nothing more. */
struct parting {
    struct list node;
    uint64_t at; /* of the bytes that the client is sent: here its last one ends */
    uint32_t key;
    struct quota_charge charge;
};

/* charging and writing */
static int request_journal_charge(struct request *request, size_t n)
{
    struct request_journal *journal = &request->journal;
    const size_t used = ledger_key_bytes(&request->broker->store.ledger, journal->key);
    const uint64_t need = used + ledger_record_bytes(n), now = journal->charge.amount;
    int r;

    if (need <= now)
        return 0;
    r = quota_resize(&journal->charge, MAX(need, MIN(2 * now, now + LEDGER_GROW_BYTES)));
    return r ? quota_resize(&journal->charge, need) : 0;
}

/* > 0: its owner may hold no more. */
static int request_journal_put(struct request *request, enum record_type type, const void *payload, size_t n)
{
    int r = request_journal_charge(request, n);

    if (r)
        return r;
    r = store_put(&request->broker->store, request->journal.key, (uint16_t)type, payload, n);
    return r > 0 ? err_origin(-ENOSPC) : r; /* charged, yet there is no room */
}

/* What is too rare or too small to end a request for at once: the next Emit finds it. */
static void request_journal_put_message(struct request *request, enum record_type type,
                                        const ProtobufCMessage *msg)
{
    const size_t n = protobuf_c_message_get_packed_size(msg);
    uint8_t body[JOURNAL_SMALL_BYTES];

    if (!request->journal.key)
        return;
    if (n <= sizeof(body))
        protobuf_c_message_pack(msg, body);
    if (n > sizeof(body) || request_journal_put(request, type, body, n))
        request->journal.failed = true;
}

static int request_journal_refuse(const struct request *request, int r, struct refusal *refusal)
{
    if (r > 0)
        return client_name_quota(request->broker, request->account->key, QUOTA_JOURNAL, refusal);
    log_errno(r, "uid %u: a request cannot be written into the journal", request->uid);
    return fault_set(&refusal->fault, STATUS_INTERNAL, "no memory for the journal");
}

/* opening */
static void request_journal_fill(const struct request *request, Qwl__Opened *opened)
{
    qwl__opened__init(opened);
    opened->has_request_id = opened->has_uid = opened->has_account_key = opened->has_head = true;
    opened->request_id = (ProtobufCBinaryData){.data = (uint8_t *)request->id, .len = POLICY_ID_BYTES};
    opened->uid = request->uid;
    opened->uid_class = (char *)request->client->class->name;
    opened->account = *request->account->name ? request->account->name : NULL;
    opened->account_key = request->account->key;
    opened->head = (ProtobufCBinaryData){.data = request->head, .len = request->n_head};
    opened->has_body_bytes = opened->has_memfd = opened->has_priority = true;
    opened->body_bytes = request->n_body;
    opened->memfd = request->memfd >= 0;
    opened->priority = request->priority;
    opened->has_max_tokens = opened->has_context = opened->has_output = opened->has_weight = true;
    opened->max_tokens = request->max_tokens;
    opened->context = request->context;
    opened->output = request->output;
    opened->weight = request->weight;
    opened->has_max_running = opened->has_seed = opened->has_want_ids = opened->has_detachable = true;
    opened->max_running = request->max_running;
    opened->seed = request->seed;
    opened->want_ids = request->want_ids;
    opened->detachable = request->detachable;
    opened->has_ttft_deadline_ms = opened->has_deadline_ms = opened->has_received_ns = true;
    opened->ttft_deadline_ms = request->ttft_deadline_ms;
    opened->deadline_ms = request->deadline_ms;
    opened->received_ns = request->received_ns;
    opened->has_charged_bytes = opened->has_log_bytes = true;
    opened->log_bytes = request->log_charge.amount;
    opened->charged_bytes = request->journal.charge.amount;
}

/* The bytes, wherever they are: they are not looked at. */
static int request_journal_put_body(struct request *request)
{
    struct store *store = &request->broker->store;
    const size_t n = request->n_body;
    size_t done = 0;
    uint8_t *at;
    int r = store_begin(store, n, &at);

    if (r)
        return r;
    if (request->memfd < 0 && n)
        memcpy(at, buf_head(&request->body), n);
    while (request->memfd >= 0 && done < n) {
        const ssize_t k = pread(request->memfd, at + done, n - done, (off_t)done);

        if (k <= 0)
            return k < 0 ? err_errno() : err_origin(-EIO); /* sealed, so it cannot have become shorter */
        done += (size_t)k;
    }
    return ledger_commit(&store->ledger, request->journal.key, RECORD_BODY, n);
}

static int request_journal_put_opened(struct request *request)
{
    struct store *store = &request->broker->store;
    Qwl__Opened opened;
    uint8_t *at;
    size_t n;
    int r;

    request_journal_fill(request, &opened);
    n = qwl__opened__get_packed_size(&opened);
    r = store_begin(store, n, &at);
    if (r)
        return r;
    qwl__opened__pack(&opened, at);
    return ledger_commit(&store->ledger, request->journal.key, RECORD_OPENED, n);
}

/* As many tokens as the replay log has reserved. */
static uint64_t request_journal_estimate(const struct request *request)
{
    const uint64_t n_tok = (request->log_charge.amount - request->n_head) / sizeof(*request->ids);

    return ledger_record_bytes(request->n_body) + ledger_record_bytes(request->n_head + POLICY_NAME_BYTES) +
           JOURNAL_SLACK_BYTES + MIN(n_tok, (uint64_t)JOURNAL_TOKENS_MAX) * JOURNAL_TOKEN_BYTES;
}

int request_journal_open(struct request *request, struct refusal *refusal)
{
    struct broker *broker = request->broker;
    struct store *store = &broker->store;
    int r;

    if (!store_is_on(store) || request->is_score)
        return 0;
    r = quota_charge(&broker->quota, request->account->key, QUOTA_JOURNAL, request_journal_estimate(request),
                     &request->journal.charge);
    if (r)
        return request_journal_refuse(request, r, refusal);
    request->journal.key = ++store->last_key;
    r = request_journal_put_body(request);
    if (!r)
        r = request_journal_put_opened(request);
    if (r)
        return request_journal_refuse(request, r > 0 ? err_origin(-ENOSPC) : r, refusal);
    return 0;
}

/* as it goes on */
static void request_journal_mark(struct request *request, enum record_type type)
{
    if (request->journal.key && request_journal_put(request, type, NULL, 0))
        request->journal.failed = true;
}

void request_journal_submitted(struct request *request)
{
    request_journal_mark(request, RECORD_SUBMITTED);
}

void request_journal_started(struct request *request)
{
    Qwl__Started started = QWL__STARTED__INIT;

    started.has_prompt_tokens = started.has_cached_tokens = started.has_submitted_ns = true;
    started.prompt_tokens = request->prompt_tokens;
    started.cached_tokens = request->cached_tokens;
    started.submitted_ns = request->submitted_ns;
    request_journal_put_message(request, RECORD_STARTED, &started.base);
}

int request_journal_emit(struct request *request, const uint8_t *raw, size_t n_raw, struct refusal *refusal)
{
    int r;

    if (!request->journal.key)
        return 0;
    r = request->journal.failed ? err_origin(-ENOSPC) : request_journal_put(request, RECORD_EMIT, raw, n_raw);
    return r ? request_journal_refuse(request, r, refusal) : 0;
}

void request_journal_cut(struct request *request, uint64_t seq, size_t n_text)
{
    Qwl__Cut cut = QWL__CUT__INIT;

    cut.has_seq = cut.has_text_bytes = true;
    cut.seq = seq;
    cut.text_bytes = (uint32_t)n_text;
    request_journal_put_message(request, RECORD_CUT, &cut.base);
}

void request_journal_reader(struct request *request, bool present)
{
    Qwl__Reader reader = QWL__READER__INIT;

    reader.has_present = true;
    reader.present = present;
    request_journal_put_message(request, RECORD_READER, &reader.base);
}

void request_journal_ended(struct request *request, const Qwp__Error *error)
{
    Qwl__Ended ended = QWL__ENDED__INIT;

    ended.has_finish = !error;
    ended.finish = request->finish;
    ended.error = (Qwp__Error *)error;
    ended.has_done_ns = !error;
    ended.done_ns = request->done_ns;
    request_journal_put_message(request, RECORD_ENDED, &ended.base);
}

void request_journal_failed(struct request *request, const struct fault *fault)
{
    Qwp__Error error = QWP__ERROR__INIT;

    error.has_code = true;
    error.code = (uint32_t)fault->code;
    error.text = (char *)fault->text;
    request_journal_ended(request, &error);
}

void request_journal_restored(struct request *request)
{
    request_journal_mark(request, RECORD_RESTORED);
}

/* the end */
static void parting_free(struct client *client, struct parting *parting)
{
    store_close_key(&client->broker->store, parting->key);
    quota_release(&parting->charge);
    list_remove(&parting->node);
    free(parting);
}

/* What its client was promised lies in the output of a connection that is alive: until it is sent the journal
 * keeps it, and its owner is charged.  Without memory for that it is closed a moment early. */
static bool request_journal_part(struct request *request)
{
    struct client *client = request->client;
    struct parting *parting;

    if (!client || client->dead || client->state != CLIENT_READY || !buf_size(&client->sock.out))
        return false;
    parting = calloc(1, sizeof(*parting));
    if (!parting)
        return false;
    parting->at = client->sock.n_put;
    parting->key = request->journal.key;
    parting->charge = request->journal.charge;
    list_push(&client->partings, &parting->node);
    return true;
}

void request_journal_close(struct request *request)
{
    struct request_journal *journal = &request->journal;

    if (journal->key && !request_journal_part(request)) {
        store_close_key(&request->broker->store, journal->key);
        quota_release(&journal->charge);
    }
    if (!journal->key)
        quota_release(&journal->charge);
    *journal = (struct request_journal){};
}

void request_journal_on_sent(struct client *client)
{
    struct parting *parting;

    LIST_FOREACH (parting, &client->partings, node) {
        if (parting->at > client->sock.n_sent)
            return;
        parting_free(client, parting);
    }
}

void request_journal_on_client_gone(struct client *client)
{
    struct parting *parting;

    LIST_FOREACH (parting, &client->partings, node)
        parting_free(client, parting);
}
