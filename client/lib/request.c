/* request.c - qwend_req: a request under construction, kept as the protocol's own messages, every pointer
 * owned.
 *
 * Setters refuse what can never be right (wrong kind of option, not a number, text that is not UTF-8 or holds
 * a NUL); ranges that depend on the model are the daemon's to judge. */
#include <math.h>
#include <string.h>

#include "conn.h"

struct qwend_req {
    Qwp__Generate head; /* head.body stays empty */
    Qwp__Sampling sampling;
    Qwp__Prompt prompt;
    Qwp__TokenIds ids;
    Qwp__Fim fim; /* of the prompt once something of it is set */
};

qwend_req *qwend_req_new(void)
{
    qwend_req *req = calloc(1, sizeof(*req));

    if (!req)
        return NULL;
    qwp__generate__init(&req->head);
    qwp__sampling__init(&req->sampling);
    qwp__prompt__init(&req->prompt);
    qwp__token_ids__init(&req->ids);
    qwp__fim__init(&req->fim);
    req->head.sampling = &req->sampling;
    return req;
}

static void req_free_strings(char **strings, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(strings[i]);
    free(strings);
}

static void req_free_calls(Qwp__Message *message)
{
    for (size_t i = 0; i < message->n_tool_calls; i++) {
        free(message->tool_calls[i]->name);
        free(message->tool_calls[i]->arguments);
        free(message->tool_calls[i]);
    }
    free(message->tool_calls);
}

static void req_free_fim(Qwp__Fim *fim)
{
    for (size_t i = 0; i < fim->n_extra; i++) {
        free(fim->extra[i]->name);
        free(fim->extra[i]->text);
        free(fim->extra[i]);
    }
    free(fim->extra);
    free(fim->prefix);
    free(fim->suffix);
    free(fim->repo);
    free(fim->file);
}

void qwend_req_free(qwend_req *req)
{
    if (!req)
        return;
    for (size_t i = 0; i < req->prompt.n_messages; i++) {
        free(req->prompt.messages[i]->role);
        free(req->prompt.messages[i]->content);
        free(req->prompt.messages[i]->reasoning);
        req_free_calls(req->prompt.messages[i]);
        free(req->prompt.messages[i]);
    }
    free(req->prompt.messages);
    for (size_t i = 0; i < req->sampling.n_logit_bias; i++)
        free(req->sampling.logit_bias[i]);
    free(req->sampling.logit_bias);
    req_free_strings(req->prompt.tools, req->prompt.n_tools);
    req_free_strings(req->head.stop, req->head.n_stop);
    req_free_fim(&req->fim);
    free(req->prompt.raw);
    free(req->head.account);
    free(req->ids.id);
    free(req);
}

/* A copy of checked text. */
static int req_text(const char *text, size_t n, char **ret_copy)
{
    char *copy;

    if (n == (size_t)-1)
        n = strlen(text);
    if (qwend_utf8_valid(text, n) != n)
        return err_origin(-EILSEQ);
    copy = malloc(n + 1);
    if (!copy)
        return err_origin(-ENOMEM);
    memcpy(copy, text, n);
    copy[n] = 0;
    *ret_copy = copy;
    return 0;
}

/* Room for one more pointer.  Grows by doubling at powers of two, so that the count alone says the capacity.
 */
static int req_grow(void *array, size_t n)
{
    void **grown;

    if (n & (n - 1)) /* the room of the next power of two is there already */
        return 0;
    grown = realloc(*(void ***)array, (n ? 2 * n : 1) * sizeof(*grown));
    if (!grown)
        return err_origin(-ENOMEM);
    *(void ***)array = grown;
    return 0;
}

static int req_push_text(char ***strings, size_t *n_strings, const char *text, size_t n)
{
    char *copy;
    int r;

    r = req_text(text, n, &copy);
    if (r)
        return r;
    r = req_grow(strings, *n_strings);
    if (r) {
        free(copy);
        return r;
    }
    (*strings)[(*n_strings)++] = copy;
    return 0;
}

static const char *req_role_name(qwend_role role)
{
    static const char *const names[] = {[QWEND_SYSTEM] = "system",
                                        [QWEND_USER] = "user",
                                        [QWEND_ASSISTANT] = "assistant",
                                        [QWEND_TOOL] = "tool"};

    return role >= 1 && (size_t)role < ARRAY_SIZE(names) ? names[role] : NULL;
}

int qwend_req_message(qwend_req *req, qwend_role role, const char *text, size_t n)
{
    _cleanup_(freep) char *content = NULL, *name = NULL;
    _cleanup_(freep) Qwp__Message *message = NULL;
    int r;

    if (!req_role_name(role))
        return err_origin(-EINVAL);
    r = req_text(text, n, &content);
    if (r)
        return r;
    name = strdup(req_role_name(role));
    message = malloc(sizeof(*message));
    if (!name || !message)
        return err_origin(-ENOMEM);
    r = req_grow(&req->prompt.messages, req->prompt.n_messages);
    if (r)
        return r;
    qwp__message__init(message);
    message->role = steal(&name);
    message->content = steal(&content);
    req->prompt.messages[req->prompt.n_messages++] = steal(&message);
    return 0;
}

/* The message just added, if it is the assistant's. */
static Qwp__Message *req_last_assistant(qwend_req *req)
{
    Qwp__Message *last = req->prompt.n_messages ? req->prompt.messages[req->prompt.n_messages - 1] : NULL;

    return last && !strcmp(last->role, "assistant") ? last : NULL;
}

int qwend_req_reasoning(qwend_req *req, const char *text, size_t n)
{
    Qwp__Message *last = req_last_assistant(req);
    char *copy;
    int r = last ? req_text(text, n, &copy) : err_origin(-EINVAL);

    if (r)
        return r;
    free(last->reasoning);
    last->reasoning = copy;
    return 0;
}

int qwend_req_call(qwend_req *req, const char *name, const char *arguments, size_t n)
{
    _cleanup_(freep) char *name_copy = NULL, *copy = NULL;
    _cleanup_(freep) Qwp__ToolCall *call = malloc(sizeof(*call));
    Qwp__Message *last = req_last_assistant(req);
    int r = last ? req_text(name, (size_t)-1, &name_copy) : err_origin(-EINVAL);

    if (!r)
        r = req_text(arguments, n, &copy);
    if (!r)
        r = call ? req_grow(&last->tool_calls, last->n_tool_calls) : err_origin(-ENOMEM);
    if (r)
        return r;
    qwp__tool_call__init(call);
    call->name = steal(&name_copy);
    call->arguments = steal(&copy);
    last->tool_calls[last->n_tool_calls++] = steal(&call);
    return 0;
}

int qwend_req_tool(qwend_req *req, const char *json, size_t n)
{
    return req_push_text(&req->prompt.tools, &req->prompt.n_tools, json, n);
}

int qwend_req_ids(qwend_req *req, const uint32_t *ids, size_t n)
{
    uint32_t *copy;

    if (n > CONN_BODY_BYTES) /* an id takes a byte at least */
        return err_origin(-EMSGSIZE);
    copy = malloc(MAX(n, (size_t)1) * sizeof(*copy));
    if (!copy)
        return err_origin(-ENOMEM);
    if (n)
        memcpy(copy, ids, n * sizeof(*copy));
    free(req->ids.id);
    req->ids.id = copy;
    req->ids.n_id = n;
    req->prompt.ids = &req->ids;
    return 0;
}

int qwend_req_fim(qwend_req *req, const char *prefix, size_t n_prefix, const char *suffix, size_t n_suffix)
{
    _cleanup_(freep) char *before = NULL, *behind = NULL;
    int r;

    r = req_text(prefix, n_prefix, &before);
    if (!r)
        r = req_text(suffix, n_suffix, &behind);
    if (r)
        return r;
    free(req->fim.prefix);
    free(req->fim.suffix);
    req->fim.prefix = steal(&before);
    req->fim.suffix = steal(&behind);
    req->prompt.fim = &req->fim;
    return 0;
}

int qwend_req_fim_extra(qwend_req *req, const char *name, const char *text, size_t n)
{
    _cleanup_(freep) char *title = NULL, *content = NULL;
    Qwp__FimExtra *extra;
    int r;

    r = req_text(name, (size_t)-1, &title);
    if (!r)
        r = req_text(text, n, &content);
    if (!r)
        r = req_grow(&req->fim.extra, req->fim.n_extra);
    if (r)
        return r;
    extra = malloc(sizeof(*extra));
    if (!extra)
        return err_origin(-ENOMEM);
    qwp__fim_extra__init(extra);
    extra->name = steal(&title);
    extra->text = steal(&content);
    req->fim.extra[req->fim.n_extra++] = extra;
    req->prompt.fim = &req->fim;
    return 0;
}

int qwend_req_bias(qwend_req *req, uint32_t id, float bias)
{
    Qwp__LogitBias *entry;
    int r;

    if (!isfinite(bias))
        return err_origin(-EINVAL);
    r = req_grow(&req->sampling.logit_bias, req->sampling.n_logit_bias);
    if (r)
        return r;
    entry = malloc(sizeof(*entry));
    if (!entry)
        return err_origin(-ENOMEM);
    qwp__logit_bias__init(entry);
    entry->has_id = entry->has_bias = true;
    entry->id = id;
    entry->bias = bias;
    req->sampling.logit_bias[req->sampling.n_logit_bias++] = entry;
    return 0;
}

/* Sets the field and its has_ flag. */
#define REQ_SET(message, field, value) ((message)->has_##field = true, (message)->field = (value), 0)

static int req_set_sampling_i(Qwp__Sampling *sampling, qwend_opt opt, int64_t value)
{
    switch (opt) {
    case QWEND_OPT_TOP_K:
        if (value < 0 || value > INT32_MAX)
            return err_origin(-EINVAL);
        return REQ_SET(sampling, top_k, (uint32_t)value);
    case QWEND_OPT_PENALTY_LAST_N:
        if (value < -1 || value > INT32_MAX)
            return err_origin(-EINVAL);
        return REQ_SET(sampling, penalty_last_n, (int32_t)value);
    case QWEND_OPT_SEED:
        return REQ_SET(sampling, seed, (uint64_t)value);
    default:
        return err_origin(-EINVAL);
    }
}

enum { REQ_DEADLINE_MS_MAX = 24 * 3600 * 1000 };

/* The range of an integer option of Generate or Prompt; lo > hi: it is none. */
static void req_range(qwend_opt opt, int64_t *ret_lo, int64_t *ret_hi)
{
    static const struct {
        int64_t lo, hi;
    } ranges[] = {
        [QWEND_OPT_MAX_TOKENS] = {0, INT32_MAX},
        [QWEND_OPT_THINKING] = {0, 1},
        [QWEND_OPT_LOGPROBS] = {0, 20},
        [QWEND_OPT_PRIORITY] = {1, 3},
        [QWEND_OPT_RAW_SPECIAL] = {1, 3},
        [QWEND_OPT_WANT_IDS] = {0, 1},
        [QWEND_OPT_IGNORE_EOS] = {0, 1},
        [QWEND_OPT_CREDIT_BYTES] = {1, CONN_CREDIT_BYTES_MAX},
        [QWEND_OPT_TTFT_DEADLINE_MS] = {1, REQ_DEADLINE_MS_MAX},
        [QWEND_OPT_DEADLINE_MS] = {1, REQ_DEADLINE_MS_MAX},
        [QWEND_OPT_NO_CACHE] = {0, 1},
        [QWEND_OPT_DETACHABLE] = {0, 1},
        [QWEND_OPT_FIM_ORDER] = {1, 2},
    };
    bool known = opt >= 1 && (size_t)opt < ARRAY_SIZE(ranges) && ranges[opt].hi;

    *ret_lo = known ? ranges[opt].lo : 1;
    *ret_hi = known ? ranges[opt].hi : 0;
}

int qwend_req_set_i(qwend_req *req, qwend_opt opt, int64_t value)
{
    int64_t lo, hi;

    req_range(opt, &lo, &hi);
    if (lo > hi)
        return req_set_sampling_i(&req->sampling, opt, value);
    if (value < lo || value > hi)
        return err_origin(-EINVAL);
    switch (opt) {
    case QWEND_OPT_MAX_TOKENS:
        return REQ_SET(&req->head, max_tokens, (uint32_t)value);
    case QWEND_OPT_THINKING:
        return REQ_SET(&req->head, thinking,
                       value ? QWP__THINKING__THINKING_ON : QWP__THINKING__THINKING_OFF);
    case QWEND_OPT_LOGPROBS:
        return REQ_SET(&req->head, logprobs, (uint32_t)value);
    case QWEND_OPT_PRIORITY:
        return REQ_SET(&req->head, priority, (Qwp__Priority)value);
    case QWEND_OPT_RAW_SPECIAL:
        return REQ_SET(&req->prompt, raw_special, (Qwp__Special)value);
    case QWEND_OPT_WANT_IDS:
        return REQ_SET(&req->head, want_ids, value != 0);
    case QWEND_OPT_IGNORE_EOS:
        return REQ_SET(&req->head, ignore_eos, value != 0);
    case QWEND_OPT_NO_CACHE:
        return REQ_SET(&req->head, no_cache, value != 0);
    case QWEND_OPT_TTFT_DEADLINE_MS:
        return REQ_SET(&req->head, ttft_deadline_ms, (uint32_t)value);
    case QWEND_OPT_DEADLINE_MS:
        return REQ_SET(&req->head, deadline_ms, (uint32_t)value);
    case QWEND_OPT_DETACHABLE:
        return REQ_SET(&req->head, detachable, value != 0);
    case QWEND_OPT_FIM_ORDER:
        req->prompt.fim = &req->fim;
        return REQ_SET(&req->fim, order, (Qwp__Fim__Order)value);
    default: /* QWEND_OPT_CREDIT_BYTES, the only other with a range */
        return REQ_SET(&req->head, credit_bytes, (uint32_t)value);
    }
}

int qwend_req_set_f(qwend_req *req, qwend_opt opt, double value)
{
    Qwp__Sampling *sampling = &req->sampling;

    if (!isfinite((float)value))
        return err_origin(-EINVAL);
    switch (opt) {
    case QWEND_OPT_TEMPERATURE:
        return value < 0 ? err_origin(-EINVAL) : REQ_SET(sampling, temperature, (float)value);
    case QWEND_OPT_TOP_P:
        return value < 0 || value > 1 ? err_origin(-EINVAL) : REQ_SET(sampling, top_p, (float)value);
    case QWEND_OPT_MIN_P:
        return value < 0 || value > 1 ? err_origin(-EINVAL) : REQ_SET(sampling, min_p, (float)value);
    case QWEND_OPT_REPEAT_PENALTY:
        return value <= 0 ? err_origin(-EINVAL) : REQ_SET(sampling, repeat_penalty, (float)value);
    case QWEND_OPT_PRESENCE_PENALTY:
        return REQ_SET(sampling, presence_penalty, (float)value);
    case QWEND_OPT_FREQUENCY_PENALTY:
        return REQ_SET(sampling, frequency_penalty, (float)value);
    default:
        return err_origin(-EINVAL);
    }
}

static char **req_text_field(qwend_req *req, qwend_opt opt)
{
    switch (opt) {
    case QWEND_OPT_RAW:
        return &req->prompt.raw;
    case QWEND_OPT_ACCOUNT:
        return &req->head.account;
    case QWEND_OPT_FIM_REPO:
        return &req->fim.repo;
    case QWEND_OPT_FIM_FILE:
        return &req->fim.file;
    default:
        return NULL;
    }
}

int qwend_req_set_s(qwend_req *req, qwend_opt opt, const char *text, size_t n)
{
    char *copy, **at;
    int r;

    if (opt == QWEND_OPT_STOP)
        return n && *text ? req_push_text(&req->head.stop, &req->head.n_stop, text, n) : err_origin(-EINVAL);
    at = req_text_field(req, opt);
    if (!at)
        return err_origin(-EINVAL);
    r = req_text(text, n, &copy);
    if (r)
        return r;
    free(*at);
    *at = copy;
    if (opt == QWEND_OPT_FIM_REPO || opt == QWEND_OPT_FIM_FILE)
        req->prompt.fim = &req->fim;
    return 0;
}

const Qwp__Generate *req_generate(const qwend_req *req)
{
    return &req->head;
}

static int req_pack(qwend *q, const Qwp__Prompt *prompt, uint8_t **ret_body, size_t *ret_n)
{
    size_t n = qwp__prompt__get_packed_size(prompt);
    uint8_t *body;

    if (!!prompt->n_messages + !!prompt->raw + !!prompt->ids + !!prompt->fim != 1)
        return conn_error(q, -EINVAL, "a request has either messages, or raw text, or token ids, or a gap");
    if (n > q->body_bytes)
        return conn_error(q, -EMSGSIZE, "the prompt has %zu bytes, the daemon takes at most %llu", n,
                          (unsigned long long)q->body_bytes);
    body = malloc(n + 1);
    if (!body)
        return err_origin(-ENOMEM);
    *ret_n = qwp__prompt__pack(prompt, body);
    *ret_body = body;
    return 0;
}

int req_pack_body(qwend *q, const qwend_req *req, uint8_t **ret_body, size_t *ret_n)
{
    return req_pack(q, &req->prompt, ret_body, ret_n);
}

int req_pack_score(qwend *q, const qwend_req *req, const char *text, const uint32_t *ids, size_t n,
                   uint8_t **ret_body, size_t *ret_n)
{
    Qwp__TokenIds continuation = QWP__TOKEN_IDS__INIT;
    Qwp__Prompt prompt = req->prompt;

    continuation.id = (uint32_t *)ids;
    continuation.n_id = n;
    prompt.continuation = (char *)text;
    prompt.continuation_ids = ids ? &continuation : NULL;
    return req_pack(q, &prompt, ret_body, ret_n);
}
