/* client_refuse.c - saying no: Error frames and the numbers that explain them.  See client.h. */
#include <stdio.h>

#include "broker.h"
#include "client.h"
#include "proto/frame.h"
#include "proto/status.h"

void client_put_error(struct client *client, uint32_t stream, const Qwp__Error *error)
{
    Qwp__Error copy = *error;

    if (status_is_retryable((int)copy.code) && !copy.has_retry_after_ms) {
        copy.has_retry_after_ms = true;
        copy.retry_after_ms = 1000;
    }
    client_put(client, stream, MSG_ERROR, FRAME_END_STREAM, &copy.base);
}

void client_refuse(struct client *client, uint32_t stream, const struct fault *fault)
{
    Qwp__Error error = QWP__ERROR__INIT;

    error.has_code = true;
    error.code = (uint32_t)fault->code;
    error.text = (char *)fault->text;
    client_put_error(client, stream, &error);
}

void client_refuse_limit(struct client *client, uint32_t stream, const struct refusal *refusal)
{
    char used[24], limit[24];
    Qwp__Detail details[] = {QWP__DETAIL__INIT, QWP__DETAIL__INIT}, *list[] = {&details[0], &details[1]};
    Qwp__Error error = QWP__ERROR__INIT;

    snprintf(used, sizeof(used), "%llu", (unsigned long long)refusal->used);
    snprintf(limit, sizeof(limit), "%llu", (unsigned long long)refusal->limit);
    details[0].key = (char *)(refusal->names[0] ? refusal->names[0] : "used");
    details[0].value = used;
    details[1].key = (char *)(refusal->names[1] ? refusal->names[1] : "limit");
    details[1].value = limit;
    error.has_code = true;
    error.code = (uint32_t)refusal->fault.code;
    error.text = (char *)refusal->fault.text;
    error.details = list;
    error.n_details = refusal->used || refusal->limit ? ARRAY_SIZE(list) : 0;
    error.has_retry_after_ms = refusal->retry_after_ms > 0;
    error.retry_after_ms = refusal->retry_after_ms;
    client_put_error(client, stream, &error);
}

/* Another connection or request is refused to whoever has most; to the others the service is full. */
int client_name_quota(const struct broker *broker, uint64_t owner, enum quota_slot slot,
                      struct refusal *refusal)
{
    const struct quota *quota = &broker->quota;
    const bool is_uid = owner <= UINT32_MAX;

    refusal->used = quota_used(quota, owner, slot);
    refusal->limit = quota_share(quota, owner, slot);
    return fault_set(&refusal->fault,
                     quota_is_own_doing(quota, owner, slot) ? STATUS_CONCURRENCY : STATUS_QUEUE_FULL,
                     "%s %u holds %llu %s, at most %llu now", is_uid ? "uid" : "account",
                     (uint32_t)(is_uid ? owner : owner - UINT32_MAX), (unsigned long long)refusal->used,
                     quota_slot_name(slot), (unsigned long long)refusal->limit);
}

int client_over_quota(const struct client *client, enum quota_slot slot, struct refusal *refusal)
{
    return client_name_quota(client->broker, client->peer.uid, slot, refusal);
}
