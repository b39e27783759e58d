/* metrics.h - what the service counts, and the OpenMetrics 1.0 text of it.
 *
 * Per class of priority, never per uid: who asked what is nobody's business, and the number of series is
 * fixed.  All storage is in the struct, so counting allocates nothing; nothing ever falls but the gauges,
 * which come from outside when the text is written. */
#pragma once

#include "proto/buf.h"
#include "qwend.pb-c.h"

enum {
    METRICS_CLASSES = 3,    /* interactive, normal, batch */
    METRICS_BOUNDS = 16,    /* of the buckets, 1 ms … 5 min */
    METRICS_FINISHES = 16,  /* more than enum Finish has */
    METRICS_CODES = 7 * 16, /* status codes 101 … 615 */
    METRICS_STATES = 6,     /* of StatusReply */
    /* Every series there can be, each number at its longest, is under 48 KiB (test_metrics.c). */
    METRICS_TEXT_BYTES = 64 << 10,
};

struct metrics_histogram {
    uint64_t n[METRICS_BOUNDS + 1]; /* the last one: above all bounds */
    uint64_t sum_ns;
};

struct metrics_class {
    /* requests that have ended: with Usage, with Error (0 of codes: one that is not in status.h), or because
     * their client left */
    uint64_t finishes[METRICS_FINISHES], codes[METRICS_CODES], left;
    uint64_t prompt_tokens, cached_tokens, output_tokens, replays, preemptions, stalls;
    struct metrics_histogram first_token, queue, interval;
};

struct metrics {
    struct metrics_class classes[METRICS_CLASSES];
    uint64_t connections, connections_refused;
};

struct metrics_now { /* what is, rather than what was counted */
    const char *version, *backend;
    Qwp__StatusReply__State state;
    uint64_t uptime_ms, engine_restarts, connections, slots;
    uint64_t held_bytes, held_max_bytes, journal_bytes, journal_max_bytes, weights_bytes, state_bytes,
        cache_used_bytes, cache_bytes;
    uint64_t queued[METRICS_CLASSES], running[METRICS_CLASSES];
};

static inline size_t metrics_class_index(Qwp__Priority priority)
{
    return priority == QWP__PRIORITY__PRIORITY_INTERACTIVE ? 0
           : priority == QWP__PRIORITY__PRIORITY_BATCH     ? 2
                                                           : 1;
}
static inline struct metrics_class *metrics_class_of(struct metrics *metrics, Qwp__Priority priority)
{
    return &metrics->classes[metrics_class_index(priority)];
}

void metrics_on_finish(struct metrics_class *klass, Qwp__Finish finish);
void metrics_on_code(struct metrics_class *klass, int code);
void metrics_observe(struct metrics_histogram *histogram, uint64_t ns, uint64_t n_times);

/* Appends the whole text, "# EOF" included: 0, BUF_E_FULL, -ENOMEM. */
int metrics_put_text(const struct metrics *metrics, const struct metrics_now *now, struct buf *out);
