/* use_record.c - which model is served, in the journal.  See use.h. */
#include <string.h>

#include "broker.h"
#include "ledger.pb-c.h"
#include "proto/wire.h"
#include "request_journal.h"

static Qwl__Used *use_read_record(const struct store *store)
{
    struct ledger_record record, last = {};
    ProtobufCMessage *msg;
    size_t at = 0;

    while (ledger_next(&store->ledger, &at, &record))
        if (record.key == STORE_KEY && record.type == RECORD_USED)
            last = record;
    if (!last.payload || wire_unpack(&qwl__used__descriptor, last.payload, last.n_bytes, NULL, &msg))
        return NULL;
    return (Qwl__Used *)msg;
}

static bool use_record_holds(const Qwl__Used *used, const char *configured)
{
    return used && used->model_path && *used->model_path && used->instead_of &&
           !strcmp(used->instead_of, configured);
}

char *use_recorded(const struct broker *broker)
{
    const char *configured = broker->options->model;
    Qwl__Used *used = store_is_on(&broker->store) ? use_read_record(&broker->store) : NULL;
    char *model = strdup(use_record_holds(used, configured) ? used->model_path : configured);

    wire_free((ProtobufCMessage *)used);
    return model;
}

int use_record(struct broker *broker)
{
    const char *model = broker->supervise.model, *configured = broker->options->model;
    Qwl__Used used = QWL__USED__INIT;
    uint8_t *at;
    size_t n;
    int r;

    used.model_path = (char *)(strcmp(model, configured) ? model : "");
    used.instead_of = (char *)configured;
    n = qwl__used__get_packed_size(&used);
    r = store_begin(&broker->store, n, &at);
    if (r)
        return r;
    qwl__used__pack(&used, at);
    return ledger_commit(&broker->store.ledger, STORE_KEY, RECORD_USED, n);
}
