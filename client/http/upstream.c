/* upstream.c - libcurl's multi interface in our loop; transfers, the breakers.  See upstream.h.
 *
 * libcurl forbids to end a transfer from inside of its callbacks, and to begin one, as a failure may: so one
 * that was given up is ended by a deferred call, and what fails there is told when libcurl is done. */
#include "upstream.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "daemon/util/clock.h"
#include "daemon/util/log.h"
#include "sse.h"
#include "upstream_parse.h"

struct server {
    const struct server_conf *conf; /* borrowed */
    struct curl_slist *fields;
    char *url, *unix_path;
    int n_failed; /* in a row */
    uint64_t rest_until_ns, n_requests, n_failures, n_running;
};

struct upstream {
    struct gateway *g; /* borrowed */
    CURLM *multi;
    struct event *timer, *reap;
    struct list transfers;
    struct server servers[SERVERS_MAX];
    size_t n;
};

struct transfer {
    struct list node;
    struct upstream *up;   /* borrowed */
    struct server *server; /* borrowed */
    CURL *easy;
    struct up_call *call; /* borrowed; NULL: given up */
    char *body;
    struct sse sse;
    const char *trouble;      /* with what came: it is of no use */
    bool paused, ended, done; /* ended: told; done: [DONE] came */
    uint64_t leave_ns; /* done: until when the end of its body is waited for, which leaves its connection to
                          the next */
    qwend_usage usage;
};

/* the loop */

static void upstream_check(struct upstream *up);

static void upstream_on_socket(int fd, short what, void *arg)
{
    struct upstream *up = arg;
    int n_running;

    curl_multi_socket_action(
        up->multi, fd, (what & EV_READ ? CURL_CSELECT_IN : 0) | (what & EV_WRITE ? CURL_CSELECT_OUT : 0),
        &n_running);
    upstream_check(up);
}

static void upstream_on_timer(int fd, short what, void *arg)
{
    struct upstream *up = arg;
    int n_running;

    curl_multi_socket_action(up->multi, CURL_SOCKET_TIMEOUT, 0, &n_running);
    upstream_check(up);
}

static int upstream_want_timer(CURLM *multi, long timeout_ms, void *arg)
{
    struct upstream *up = arg;

    if (timeout_ms < 0)
        loop_unwatch(up->timer);
    else
        loop_arm_ms(up->timer, (uint64_t)timeout_ms);
    return 0;
}

/* socket_arg: its event, which libcurl keeps for us. */
static int upstream_want_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
    struct upstream *up = arg;
    struct event *event = socket_arg;
    const short wanted = (short)((what & CURL_POLL_IN ? EV_READ : 0) | (what & CURL_POLL_OUT ? EV_WRITE : 0));

    loop_event_free(&event);
    if (what != CURL_POLL_REMOVE &&
        (loop_event_new(up->g->base, fd, (short)(wanted | EV_PERSIST), upstream_on_socket, up, &event) ||
         loop_watch(event)))
        log_warn("out of memory: a connection to the upstream is not watched");
    curl_multi_assign(up->multi, fd, event);
    return 0;
}

/* transfers */

static void transfer_free(struct transfer *transfer)
{
    list_remove(&transfer->node);
    transfer->server->n_running--;
    curl_multi_remove_handle(transfer->up->multi, transfer->easy);
    curl_easy_cleanup(transfer->easy);
    sse_deinit(&transfer->sse);
    free(transfer->body);
    free(transfer);
}

static void upstream_on_reap(int fd, short what, void *arg)
{
    struct upstream *up = arg;
    struct transfer *transfer;
    bool some_stay = false;

    LIST_FOREACH (transfer, &up->transfers, node) {
        if (transfer->call)
            continue;
        if (clock_now_ns() < transfer->leave_ns)
            some_stay = true;
        else
            transfer_free(transfer);
    }
    if (some_stay)
        loop_arm_ms(up->reap, UPSTREAM_LEAVE_MS);
}

static void transfer_tell(struct transfer *transfer, const qwend_event *event)
{
    if (transfer->call)
        transfer->call->on_event(transfer->call, event);
}

/* Of what is wrong with one request, or the model that it names, others are not to suffer. */
static bool transfer_is_refused(const struct transfer *transfer)
{
    long status = 0;

    curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
    return status == 400 || status == 404 || status == 413 || status == 422;
}

/* The last word; text NULL: it ended well. */
static void transfer_end(struct transfer *transfer, const char *text)
{
    struct server *server = transfer->server;
    struct up_call *call = transfer->call;
    qwend_event event = {
        .type = text ? QWEND_EV_ERROR : QWEND_EV_END, .text = text, .usage = &transfer->usage};

    if (transfer->ended)
        return;
    transfer->ended = true;
    if (!text) {
        server->n_failed = 0;
    } else if (call) {
        server->n_failures++;
        if (!transfer_is_refused(transfer) && ++server->n_failed >= UPSTREAM_FAILURES) {
            server->rest_until_ns = clock_now_ns() + UPSTREAM_REST_MS * 1000000ull;
            log_warn("upstream %s: %d failures in a row (%s): it is left alone for %d ms", server->conf->name,
                     server->n_failed, text, UPSTREAM_REST_MS);
        }
    }
    if (!call)
        return;
    up_end(call);
    call->on_event(call, &event);
}

static bool transfer_on_data(void *arg, const char *text, size_t n)
{
    struct transfer *transfer = arg;
    _cleanup_(jin_decrefp) json_t *root = NULL;
    struct chunk chunk = {};
    int r;

    if (n == 6 && !memcmp(text, "[DONE]", 6)) {
        transfer->done = true;
        return false;
    }
    r = chunk_parse(text, n, &root, &chunk);
    if (r) {
        transfer->trouble = r == CHUNK_E_ERROR ? "the upstream failed in its answer"
                                               : "the upstream's answer is not understood";
        return false;
    }
    if (chunk.n_reasoning)
        transfer_tell(
            transfer,
            &(qwend_event){.type = QWEND_EV_REASONING, .text = chunk.reasoning, .n = chunk.n_reasoning});
    if (chunk.n_answer)
        transfer_tell(transfer,
                      &(qwend_event){.type = QWEND_EV_ANSWER, .text = chunk.answer, .n = chunk.n_answer});
    if (chunk.finish)
        transfer->usage.finish = chunk.finish;
    if (chunk.has_usage) {
        transfer->usage.prompt_tokens = chunk.prompt_tokens;
        transfer->usage.cached_tokens = chunk.cached_tokens;
        transfer->usage.reasoning_tokens = chunk.reasoning_tokens;
        transfer->usage.answer_tokens = chunk.answer_tokens;
    }
    return transfer->call != NULL;
}

static size_t transfer_on_bytes(char *data, size_t size, size_t n, void *arg)
{
    struct transfer *transfer = arg;
    long status = 0;

    if (transfer->done && transfer->ended)
        return size * n; /* what comes behind the end is nobody's */
    if (!transfer->call)
        return CURL_WRITEFUNC_ERROR;
    if (transfer->paused)
        return CURL_WRITEFUNC_PAUSE;
    curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200)
        return CURL_WRITEFUNC_ERROR; /* an error's text may quote the prompt, or have no end */
    if (!transfer->done && sse_push(&transfer->sse, data, size * n, transfer_on_data, transfer))
        transfer->trouble = "the upstream's answer has a line that is too long";
    if (transfer->done && !transfer->trouble && transfer->usage.finish) {
        transfer->leave_ns = clock_now_ns() + UPSTREAM_LEAVE_MS * 1000000ull;
        transfer_end(transfer, NULL); /* not when the body ends, which some leave open */
        return size * n;
    }
    return transfer->call && !transfer->trouble ? size * n : CURL_WRITEFUNC_ERROR;
}

static void transfer_on_done(struct transfer *transfer, CURLcode code)
{
    char text[128];
    long status = 0;

    curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
    if (transfer->trouble)
        snprintf(text, sizeof(text), "%s", transfer->trouble);
    else if (code && code != CURLE_WRITE_ERROR && !transfer->done)
        snprintf(text, sizeof(text), "the upstream failed: %.80s", curl_easy_strerror(code));
    else if (status != 200)
        snprintf(text, sizeof(text), "the upstream answered %ld", status);
    else if (!transfer->usage.finish)
        snprintf(text, sizeof(text), "the upstream broke off");
    else
        *text = '\0';
    transfer_end(transfer, *text ? text : NULL);
}

static void upstream_check(struct upstream *up)
{
    CURLMsg *message;
    int n_left;

    while ((message = curl_multi_info_read(up->multi, &n_left))) {
        struct transfer *transfer = NULL;

        if (message->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&transfer);
        transfer_on_done(transfer, message->data.result);
        transfer->leave_ns = 0;
        loop_defer(up->reap);
    }
}

/* calls */

enum upstream_policy upstream_policy_of(const struct server_conf *server)
{
    return !strcmp(server->policy, "upstream-first") ? UPSTREAM_FIRST
           : !strcmp(server->policy, "local-first")  ? UPSTREAM_LOCAL_FIRST
                                                     : UPSTREAM_LOCAL_ONLY;
}

static bool server_is_well(const struct server *server)
{
    return server->n_failed < UPSTREAM_FAILURES || clock_now_ns() >= server->rest_until_ns;
}

bool upstream_wants(const struct gateway *g, const char *model)
{
    const struct upstream *up = g->upstream;

    for (size_t i = 0; up && i < up->n; i++)
        if (upstream_policy_of(up->servers[i].conf) != UPSTREAM_LOCAL_ONLY &&
            servers_takes(up->servers[i].conf, model))
            return true;
    return false;
}

int upstream_pick(const struct gateway *g, enum upstream_policy policy, const struct up_place *place)
{
    const struct upstream *up = g->upstream;
    uint32_t set = 0;

    for (size_t i = 0; up && i < up->n; i++)
        if (!(place->tried >> i & 1) && upstream_policy_of(up->servers[i].conf) == policy &&
            server_is_well(&up->servers[i]) && servers_takes(up->servers[i].conf, place->model))
            set |= 1u << i;
    return servers_pick(&g->options->servers, set, place->key);
}

void upstream_state(const struct gateway *g, int i, struct up_state *ret_state)
{
    const struct server *server = &g->upstream->servers[i];

    *ret_state = (struct up_state){.well = server_is_well(server),
                                   .requests = server->n_requests,
                                   .failures = server->n_failures,
                                   .running = server->n_running};
}

/* Who, how much, never what. */
static void upstream_tell_left(struct ledger *ledger, const char *user, const char *server, size_t n)
{
    const struct ledger_entry *entry = ledger_count(ledger, user, n);

    log_info("%s: a request of %zu bytes leaves the machine for upstream %s, %llu by now with %llu bytes",
             user, n, server, (unsigned long long)entry->requests, (unsigned long long)entry->bytes);
}

static int transfer_start(struct transfer *transfer, size_t n)
{
    const struct server *server = transfer->server;
    CURL *easy = transfer->easy;

    curl_easy_setopt(easy, CURLOPT_URL, server->url);
    if (server->unix_path)
        curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, server->unix_path);
    curl_easy_setopt(easy, CURLOPT_PROXY, ""); /* no environment variable decides where prompts go */
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, server->fields);
    curl_easy_setopt(easy, CURLOPT_POST, 1L);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, transfer->body);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)n);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, transfer_on_bytes);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT, (long)UPSTREAM_CONNECT_S);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, (long)UPSTREAM_SILENT_S);
    return curl_multi_add_handle(transfer->up->multi, easy) ? err_origin(-EIO) : 0;
}

int upstream_ask(struct gateway *g, struct up_call *call, int i, const char *user, const char *model,
                 const char *body, size_t n)
{
    struct upstream *up = g->upstream;
    struct server *server = &up->servers[i];
    const char *name = server->conf->model ? server->conf->model : *model ? model : "default";
    struct transfer *transfer = calloc(1, sizeof(*transfer));
    CURL *easy = transfer ? curl_easy_init() : NULL;
    char *whole = easy ? upstream_body_for(name, body, n, &n) : NULL;
    int r;

    if (!whole) {
        free(transfer);
        curl_easy_cleanup(easy);
        return err_origin(-ENOMEM);
    }
    *transfer = (struct transfer){
        .up = up, .server = server, .easy = easy, .call = call, .body = whole, .sse = SSE_INIT};
    list_push(&up->transfers, &transfer->node);
    server->n_running++;
    r = transfer_start(transfer, n);
    if (r) {
        transfer_free(transfer);
        return r;
    }
    call->transfer = transfer;
    server->n_requests++;
    upstream_tell_left(&g->ledger, user, server->conf->name, n);
    return 0;
}

void up_end(struct up_call *call)
{
    struct transfer *transfer = call->transfer;

    if (!transfer)
        return;
    call->transfer = NULL;
    transfer->call = NULL;
    loop_defer(transfer->up->reap);
}

void up_pause(struct up_call *call, bool paused)
{
    if (!call->transfer || call->transfer->paused == paused)
        return;
    call->transfer->paused = paused;
    if (!paused)
        curl_easy_pause(call->transfer->easy, CURLPAUSE_CONT);
}

/* life */

/* A file with the key alone, as systemd's LoadCredential= gives it. */
static int server_read_key(struct server *server, const char *path, struct fault *fault)
{
    char line[512] = "Authorization: Bearer ";
    const size_t head = strlen(line);
    _cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, line + head, sizeof(line) - head - 1);

    if (n <= 0)
        return fault_set(fault, UPSTREAM_E_INVALID, "upstream %s: key (upstream_key): %s: %s",
                         server->conf->name, path, n < 0 ? strerror(errno) : "it is empty");
    line[head + strcspn(line + head, "\r\n")] = '\0';
    server->fields = curl_slist_append(server->fields, line);
    explicit_bzero(line, sizeof(line));
    return UPSTREAM_OK;
}

/* "https://host/v1", or "unix:/path" for the server's Unix socket. */
static int server_set_url(struct server *server, const char *url, struct fault *fault)
{
    const bool is_unix = !strncmp(url, "unix:", 5);

    if (!is_unix && strncmp(url, "http://", 7) && strncmp(url, "https://", 8))
        return fault_set(
            fault, UPSTREAM_E_INVALID,
            "upstream %s: url (upstream_url) '%.100s' must begin with https://, http:// or unix:",
            server->conf->name, url);
    if (is_unix)
        server->unix_path = strdup(url + 5);
    if (asprintf(&server->url, "%s/chat/completions", is_unix ? "http://localhost/v1" : url) < 0)
        server->url = NULL;
    return server->url && (!is_unix || server->unix_path) ? UPSTREAM_OK : err_origin(-ENOMEM);
}

static int server_init(struct server *server, const struct server_conf *conf, struct fault *fault)
{
    int r;

    *server =
        (struct server){.conf = conf, .fields = curl_slist_append(NULL, "Content-Type: application/json")};
    if (!server->fields)
        return err_origin(-ENOMEM);
    r = server_set_url(server, conf->url, fault);
    if (!r && conf->key)
        r = server_read_key(server, conf->key, fault);
    if (!r && upstream_policy_of(conf) != UPSTREAM_LOCAL_ONLY)
        log_warn("upstream %s: %s to %.200s: prompts of users leave this machine", conf->name, conf->policy,
                 conf->url);
    return r;
}

static int upstream_make(struct upstream *up)
{
    int r = loop_event_new(up->g->base, -1, 0, upstream_on_timer, up, &up->timer);

    if (!r)
        r = loop_event_new(up->g->base, -1, 0, upstream_on_reap, up, &up->reap);
    if (!r)
        r = ledger_init(&up->g->ledger);
    up->multi = curl_multi_init();
    if (r || !up->multi)
        return r ? r : err_origin(-ENOMEM);
    curl_multi_setopt(up->multi, CURLMOPT_SOCKETFUNCTION, upstream_want_socket);
    curl_multi_setopt(up->multi, CURLMOPT_SOCKETDATA, up);
    curl_multi_setopt(up->multi, CURLMOPT_TIMERFUNCTION, upstream_want_timer);
    curl_multi_setopt(up->multi, CURLMOPT_TIMERDATA, up);
    return 0;
}

int upstream_open(struct gateway *g, struct fault *fault)
{
    const struct servers *servers = &g->options->servers;
    struct upstream *up;
    int r;

    if (!servers->n)
        return UPSTREAM_OK;
    up = calloc(1, sizeof(*up));
    if (!up || curl_global_init(CURL_GLOBAL_DEFAULT)) {
        free(up);
        return err_origin(-ENOMEM);
    }
    g->upstream = up;
    up->g = g;
    list_init(&up->transfers);
    r = upstream_make(up);
    for (size_t i = 0; i < servers->n && !r; i++)
        r = server_init(&up->servers[up->n++], &servers->all[i], fault);
    return r;
}

void upstream_close(struct gateway *g)
{
    struct upstream *up = g->upstream;
    struct transfer *transfer;

    if (!up)
        return;
    LIST_FOREACH (transfer, &up->transfers, node)
        transfer_free(transfer);
    if (up->multi)
        curl_multi_cleanup(up->multi);
    for (size_t i = 0; i < up->n; i++) {
        curl_slist_free_all(up->servers[i].fields);
        free(up->servers[i].url);
        free(up->servers[i].unix_path);
    }
    loop_event_free(&up->timer);
    loop_event_free(&up->reap);
    ledger_deinit(&g->ledger);
    free(up);
    g->upstream = NULL;
    curl_global_cleanup();
}
