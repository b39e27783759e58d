/* metrics.c - counting, and the text writer.  See metrics.h.
 * Source of the grammar: the OpenMetrics 1.0 specification, section "ABNF". */
#include "metrics.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "proto/status.h"

static const char *const metrics_class_names[METRICS_CLASSES] = {"interactive", "normal", "batch"};

/* One set of bounds for all times: a token in 1 ms is a small model on a GPU, 5 min a long queue. */
static const struct {
    uint64_t ns;
    const char *le;
} metrics_bounds[METRICS_BOUNDS] = {
    {1000000, "0.001"},       {2500000, "0.0025"},      {5000000, "0.005"},       {10000000, "0.01"},
    {25000000, "0.025"},      {50000000, "0.05"},       {100000000, "0.1"},       {250000000, "0.25"},
    {500000000, "0.5"},       {1000000000, "1.0"},      {2500000000, "2.5"},      {5000000000, "5.0"},
    {10000000000ull, "10.0"}, {30000000000ull, "30.0"}, {60000000000ull, "60.0"}, {300000000000ull, "300.0"},
};

/* counting */
void metrics_on_finish(struct metrics_class *klass, Qwp__Finish finish)
{
    klass->finishes[(unsigned)finish < METRICS_FINISHES ? finish : 0]++;
}

static size_t metrics_code_index(int code)
{
    if (code < 100 || code >= 700 || code % 100 >= 16 || !strcmp(status_name(code), "UNKNOWN"))
        return 0;
    return (size_t)(code / 100 * 16 + code % 100);
}

void metrics_on_code(struct metrics_class *klass, int code)
{
    klass->codes[metrics_code_index(code)]++;
}

void metrics_observe(struct metrics_histogram *histogram, uint64_t ns, uint64_t n_times)
{
    size_t i = 0;

    while (i < METRICS_BOUNDS && ns > metrics_bounds[i].ns)
        i++;
    histogram->n[i] += n_times;
    histogram->sum_ns += ns * n_times;
}

/* writing */
struct metrics_writer {
    struct buf *out;
    int r; /* the first failure; nothing is written after it */
};

static void metrics_put(struct metrics_writer *w, const char *fmt, ...) _printf_(2, 3);
static void metrics_put(struct metrics_writer *w, const char *fmt, ...)
{
    char line[256]; /* the longest, a label of 128 bytes from the engine included, has 200 */
    va_list ap;
    int n;

    if (w->r)
        return;
    va_start(ap, fmt);
    n = vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    w->r = n < 0 || n >= (int)sizeof(line) ? BUF_E_FULL : buf_append(w->out, line, (size_t)n);
}

static void metrics_put_family(struct metrics_writer *w, const char *name, const char *type, const char *unit,
                               const char *help)
{
    metrics_put(w, "# TYPE qwend%s %s\n", name, type);
    if (unit)
        metrics_put(w, "# UNIT qwend%s %s\n", name, unit);
    metrics_put(w, "# HELP qwend%s %s\n", name, help);
}

static void metrics_put_value(struct metrics_writer *w, const char *name, const char *type, const char *unit,
                              const char *help, uint64_t value)
{
    metrics_put_family(w, name, type, unit, help);
    metrics_put(w, "qwend%s%s %llu\n", name, !strcmp(type, "counter") ? "_total" : "",
                (unsigned long long)value);
}

/* A label's value as the grammar wants it; what does not fit or print is left out. */
static const char *metrics_label(const char *text, char out[64])
{
    size_t n = 0;

    for (; *text && n + 2 < 64; text++) {
        if (!isprint((unsigned char)*text))
            continue;
        if (*text == '"' || *text == '\\')
            out[n++] = '\\';
        out[n++] = *text;
    }
    out[n] = '\0';
    return out;
}

static void metrics_put_service(struct metrics_writer *w, const struct metrics_now *now)
{
    static const char *const states[METRICS_STATES] = {"starting", "loading",  "serving",
                                                       "degraded", "draining", "failed"};
    char version[64], backend[64];

    metrics_put_family(w, "", "info", NULL, "Version of the service and what it computes on.");
    metrics_put(w, "qwend_info{version=\"%s\",backend=\"%s\"} 1\n", metrics_label(now->version, version),
                metrics_label(now->backend, backend));
    metrics_put_family(w, "_state", "stateset", NULL, "What the service is doing.");
    for (int i = 0; i < METRICS_STATES; i++)
        metrics_put(w, "qwend_state{qwend_state=\"%s\"} %d\n", states[i], i + 1 == (int)now->state);
    metrics_put_family(w, "_uptime_seconds", "gauge", "seconds", "Since the broker was started.");
    metrics_put(w, "qwend_uptime_seconds %llu.%03llu\n", (unsigned long long)(now->uptime_ms / 1000),
                (unsigned long long)(now->uptime_ms % 1000));
    metrics_put_value(w, "_engine_restarts", "counter", NULL, "Engines that were started after one ended.",
                      now->engine_restarts);
    metrics_put_value(w, "_slots", "gauge", NULL, "Requests that can run at a time.", now->slots);
    metrics_put_value(w, "_weights_bytes", "gauge", "bytes", "Memory of the model's weights.",
                      now->weights_bytes);
    metrics_put_value(w, "_state_bytes", "gauge", "bytes", "Memory of the slots' state.", now->state_bytes);
    metrics_put_value(w, "_cache_bytes", "gauge", "bytes", "What the prefix cache holds.",
                      now->cache_used_bytes);
    metrics_put_value(w, "_cache_limit_bytes", "gauge", "bytes", "What it may hold; 0: it is off.",
                      now->cache_bytes);
}

static void metrics_put_clients(struct metrics_writer *w, const struct metrics *metrics,
                                const struct metrics_now *now)
{
    metrics_put_value(w, "_connections", "gauge", NULL, "Open connections.", now->connections);
    metrics_put_value(w, "_accepted_connections", "counter", NULL, "Connections ever let in.",
                      metrics->connections);
    metrics_put_value(w, "_refused_connections", "counter", NULL, "Connections turned away.",
                      metrics->connections_refused);
    metrics_put_value(w, "_held_bytes", "gauge", "bytes",
                      "Buffers, prompts and replay logs held for clients.", now->held_bytes);
    metrics_put_value(w, "_held_limit_bytes", "gauge", "bytes", "What may be held (max_mib).",
                      now->held_max_bytes);
    metrics_put_value(w, "_journal_bytes", "gauge", "bytes", "Journal held for clients.", now->journal_bytes);
    metrics_put_value(w, "_journal_limit_bytes", "gauge", "bytes",
                      "Journal that may be held (half of journal_mib).", now->journal_max_bytes);
}

static void metrics_put_requests_now(struct metrics_writer *w, const struct metrics_now *now)
{
    metrics_put_family(w, "_running_requests", "gauge", NULL, "Requests that hold a slot.");
    for (int i = 0; i < METRICS_CLASSES; i++)
        metrics_put(w, "qwend_running_requests{class=\"%s\"} %llu\n", metrics_class_names[i],
                    (unsigned long long)now->running[i]);
    metrics_put_family(w, "_queued_requests", "gauge", NULL, "Requests that wait for a slot.");
    for (int i = 0; i < METRICS_CLASSES; i++)
        metrics_put(w, "qwend_queued_requests{class=\"%s\"} %llu\n", metrics_class_names[i],
                    (unsigned long long)now->queued[i]);
}

static void metrics_put_outcome(struct metrics_writer *w, const char *klass, const char *outcome, uint64_t n)
{
    metrics_put(w, "qwend_requests_total{class=\"%s\",outcome=\"%s\"} %llu\n", klass, outcome,
                (unsigned long long)n);
}

/* "stop" from FINISH_STOP. */
static void metrics_put_finish(struct metrics_writer *w, const char *klass, const ProtobufCEnumValue *finish,
                               uint64_t n)
{
    const char *from = finish->name + strcspn(finish->name, "_") + 1;
    char name[32];
    size_t k = 0;

    for (; from[k] && k + 1 < sizeof(name); k++)
        name[k] = (char)tolower((unsigned char)from[k]);
    name[k] = '\0';
    metrics_put_outcome(w, klass, name, n);
}

static void metrics_put_outcomes(struct metrics_writer *w, const struct metrics *metrics)
{
    metrics_put_family(
        w, "_requests", "counter", NULL,
        "Requests that have ended: the finish reason, the error's name, or left (the client).");
    for (int i = 0; i < METRICS_CLASSES; i++) {
        const struct metrics_class *klass = &metrics->classes[i];
        const char *name = metrics_class_names[i];

        for (unsigned f = 0; f < qwp__finish__descriptor.n_values; f++)
            metrics_put_finish(w, name, &qwp__finish__descriptor.values[f],
                               klass->finishes[qwp__finish__descriptor.values[f].value % METRICS_FINISHES]);
        metrics_put_outcome(w, name, "left", klass->left);
        for (int c = 0; c < METRICS_CODES; c++)
            if (klass->codes[c]) /* most never happen */
                metrics_put_outcome(w, name, status_name(c ? c / 16 * 100 + c % 16 : -1), klass->codes[c]);
    }
}

static void metrics_put_counters(struct metrics_writer *w, const struct metrics *metrics)
{
    static const struct {
        const char *name, *help;
        size_t offset;
    } rows[] = {
        {"_prompt_tokens", "Tokens of prompts, cached ones included.",
         offsetof(struct metrics_class, prompt_tokens)},
        {"_cached_tokens", "Of them, what was in the cache.", offsetof(struct metrics_class, cached_tokens)},
        {"_output_tokens", "Tokens written, reasoning included.",
         offsetof(struct metrics_class, output_tokens)},
        {"_replays", "Times that a request lived through the death of its engine.",
         offsetof(struct metrics_class, replays)},
        {"_preemptions",
         "Times that a batch request gave its slot to an interactive one, or an unread one to any.",
         offsetof(struct metrics_class, preemptions)},
        {"_flow_stalls", "Times that a request waited for its reader.",
         offsetof(struct metrics_class, stalls)},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        metrics_put_family(w, rows[i].name, "counter", NULL, rows[i].help);
        for (int k = 0; k < METRICS_CLASSES; k++)
            metrics_put(
                w, "qwend%s_total{class=\"%s\"} %llu\n", rows[i].name, metrics_class_names[k],
                (unsigned long long)*(const uint64_t *)((const char *)&metrics->classes[k] + rows[i].offset));
    }
}

static void metrics_put_histogram(struct metrics_writer *w, const char *name, const char *klass,
                                  const struct metrics_histogram *histogram)
{
    unsigned long long n = 0;

    for (int i = 0; i <= METRICS_BOUNDS; i++) {
        n += histogram->n[i];
        metrics_put(w, "qwend%s_bucket{class=\"%s\",le=\"%s\"} %llu\n", name, klass,
                    i < METRICS_BOUNDS ? metrics_bounds[i].le : "+Inf", n);
    }
    metrics_put(w, "qwend%s_count{class=\"%s\"} %llu\n", name, klass, n);
    metrics_put(w, "qwend%s_sum{class=\"%s\"} %llu.%09llu\n", name, klass,
                (unsigned long long)(histogram->sum_ns / 1000000000),
                (unsigned long long)(histogram->sum_ns % 1000000000));
}

static void metrics_put_histograms(struct metrics_writer *w, const struct metrics *metrics)
{
    static const struct {
        const char *name, *help;
        size_t offset;
    } rows[] = {
        {"_time_to_first_token_seconds", "From a complete request to its first token.",
         offsetof(struct metrics_class, first_token)},
        {"_queue_seconds", "From a complete request to its turn.", offsetof(struct metrics_class, queue)},
        {"_token_interval_seconds", "Between two tokens of a request whose reader does not stall.",
         offsetof(struct metrics_class, interval)},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        metrics_put_family(w, rows[i].name, "histogram", "seconds", rows[i].help);
        for (int k = 0; k < METRICS_CLASSES; k++)
            metrics_put_histogram(
                w, rows[i].name, metrics_class_names[k],
                (const struct metrics_histogram *)((const char *)&metrics->classes[k] + rows[i].offset));
    }
}

int metrics_put_text(const struct metrics *metrics, const struct metrics_now *now, struct buf *out)
{
    struct metrics_writer w = {.out = out};

    metrics_put_service(&w, now);
    metrics_put_clients(&w, metrics, now);
    metrics_put_requests_now(&w, now);
    metrics_put_outcomes(&w, metrics);
    metrics_put_counters(&w, metrics);
    metrics_put_histograms(&w, metrics);
    metrics_put(&w, "# EOF\n");
    return w.r;
}
