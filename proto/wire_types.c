/* wire_types.c - which protobuf message is the body of which frame type.  See wire.h. */
#include "engine.pb-c.h"
#include "frame.h"
#include "qwend.pb-c.h"
#include "wire.h"

static const struct {
    uint16_t type;
    const ProtobufCMessageDescriptor *message;
} wire_types[] = {
    {MSG_HELLO, &qwp__hello__descriptor},
    {MSG_WELCOME, &qwp__welcome__descriptor},
    {MSG_ERROR, &qwp__error__descriptor},
    {MSG_PING, &qwp__ping__descriptor},
    {MSG_PONG, &qwp__pong__descriptor},
    {MSG_EVENT, &qwp__event__descriptor},
    {MSG_GENERATE, &qwp__generate__descriptor},
    {MSG_BODY, &qwp__body__descriptor},
    {MSG_ACCEPTED, &qwp__accepted__descriptor},
    {MSG_DELTA, &qwp__delta__descriptor},
    {MSG_USAGE, &qwp__usage__descriptor},
    {MSG_CREDIT, &qwp__credit__descriptor},
    {MSG_CANCEL, &qwp__cancel__descriptor},
    {MSG_CANCELLED, &qwp__cancelled__descriptor},
    {MSG_ATTACH, &qwp__attach__descriptor},
    {MSG_TOKENIZE, &qwp__tokenize__descriptor},
    {MSG_TOKENS, &qwp__tokens__descriptor},
    {MSG_DETOKENIZE, &qwp__detokenize__descriptor},
    {MSG_TEXT, &qwp__text__descriptor},
    {MSG_RENDER, &qwp__render__descriptor},
    {MSG_STATUS, &qwp__status__descriptor},
    {MSG_STATUS_REPLY, &qwp__status_reply__descriptor},
    {MSG_LIST_REQUESTS, &qwp__list_requests__descriptor},
    {MSG_REQUESTS, &qwp__requests__descriptor},
    {MSG_SCORE, &qwp__score__descriptor},
    {MSG_SCORE_REPLY, &qwp__score_reply__descriptor},
    {MSG_SUBSCRIBE, &qwp__subscribe__descriptor},
    {MSG_SAMPLE, &qwp__sample__descriptor},
    {MSG_ADMIN, &qwp__admin__descriptor},
    {MSG_DONE, &qwp__done__descriptor},
    {MSG_USE, &qwp__use__descriptor},
    {MSG_USE_PROGRESS, &qwp__use_progress__descriptor},
    {MSG_USED, &qwp__used__descriptor},
    {MSG_SERVED, &qwp__served__descriptor},
    {MSG_E_START, &qwe__start__descriptor},
    {MSG_E_SUBMIT, &qwe__submit__descriptor},
    {MSG_E_CANCEL, &qwe__cancel_seq__descriptor},
    {MSG_E_PAUSE, &qwe__pause__descriptor},
    {MSG_E_RESUME, &qwe__resume__descriptor},
    {MSG_E_TEXT, &qwe__text_op__descriptor},
    {MSG_E_PREEMPT, &qwe__preempt__descriptor},
    {MSG_E_PUBLISH, &qwe__publish__descriptor},
    {MSG_E_UNPUBLISH, &qwe__unpublish__descriptor},
    {MSG_E_CHECK, &qwe__check__descriptor},
    {MSG_E_LOADING, &qwe__loading__descriptor},
    {MSG_E_READY, &qwe__ready__descriptor},
    {MSG_E_FAILED, &qwe__failed__descriptor},
    {MSG_E_STARTED, &qwe__started__descriptor},
    {MSG_E_EMIT, &qwe__emit__descriptor},
    {MSG_E_REFUSED, &qwe__refused__descriptor},
    {MSG_E_TEXT_REPLY, &qwe__text_reply__descriptor},
    {MSG_E_BEAT, &qwe__beat__descriptor},
    {MSG_E_WEIGHTS, &qwe__weights__descriptor},
    {MSG_E_PUBLISHED, &qwe__published__descriptor},
    {MSG_E_CHECKED, &qwe__checked__descriptor},
};

const ProtobufCMessageDescriptor *wire_message_type(uint16_t type)
{
    for (size_t i = 0; i < ARRAY_SIZE(wire_types); i++)
        if (wire_types[i].type == type)
            return wire_types[i].message;
    return NULL;
}
