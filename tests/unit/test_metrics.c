/* test_metrics.c - counting and the size of the text; see daemon/broker/metrics.h.  The text's grammar is
 * checked by tests/daemon/openmetrics.py, on a daemon. */
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
// clang-format on
#include <stdio.h>
#include <string.h>

#include "daemon/broker/broker.h"
#include "proto/status.h"

static const struct metrics_now now_idle = {.version = "1", .backend = "cpu"};

/* The whole text, NUL-terminated; freed by the caller. */
static char *text_of(const struct metrics *metrics, const struct metrics_now *now)
{
    struct buf out = BUF_INIT(METRICS_TEXT_BYTES);
    char *text;

    assert_int_equal(metrics_put_text(metrics, now, &out), 0);
    text = strndup((char *)buf_head(&out), buf_size(&out));
    assert_int_equal(strlen(text), buf_size(&out));
    buf_deinit(&out);
    return text;
}

/* The value of a series, named with its labels. */
static unsigned long long value_of(const char *text, const char *series)
{
    char line[256];
    const char *at;

    snprintf(line, sizeof(line), "\n%s ", series);
    at = strstr(text, line);
    if (!at)
        fail_msg("no series %s", series);
    return strtoull(at + strlen(line), NULL, 10);
}

static void test_observe_puts_a_time_into_the_bucket_whose_bound_it_does_not_exceed(void **state)
{
    static const struct {
        uint64_t ns;
        const char *le;
    } cases[] = {{0, "0.001"},           {1000000, "0.001"},      {1000001, "0.0025"},
                 {1000000000, "1.0"},    {1000000001, "2.5"},     {300000000000, "300.0"},
                 {300000000001, "+Inf"}, {UINT64_MAX / 2, "+Inf"}};

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct metrics metrics = {};
        char series[128];
        char *text;

        metrics_observe(&metrics.classes[1].queue, cases[i].ns, 3);
        text = text_of(&metrics, &now_idle);
        snprintf(series, sizeof(series), "qwend_queue_seconds_bucket{class=\"normal\",le=\"%s\"}",
                 cases[i].le);
        assert_int_equal(value_of(text, series), 3);
        assert_int_equal(value_of(text, "qwend_queue_seconds_bucket{class=\"normal\",le=\"+Inf\"}"), 3);
        assert_int_equal(value_of(text, "qwend_queue_seconds_count{class=\"normal\"}"), 3);
        assert_int_equal(value_of(text, "qwend_queue_seconds_count{class=\"batch\"}"), 0);
        if (cases[i].ns > 1000000)
            assert_int_equal(value_of(text, "qwend_queue_seconds_bucket{class=\"normal\",le=\"0.001\"}"), 0);
        free(text);
    }
}

static void test_each_outcome_has_its_series(void **state)
{
    struct metrics metrics = {};
    struct metrics_class *batch = metrics_class_of(&metrics, QWP__PRIORITY__PRIORITY_BATCH);
    char *text;

    metrics_on_finish(batch, QWP__FINISH__FINISH_LENGTH);
    metrics_on_code(batch, STATUS_TOO_LONG);
    metrics_on_code(batch, STATUS_TOO_LONG);
    metrics_on_code(batch, STATUS_SLOW_CONSUMER);
    metrics_on_code(batch, 99999); /* an engine may say anything */
    metrics_on_code(batch, 299);
    metrics_on_code(batch, -1);
    batch->left = 4;
    text = text_of(&metrics, &now_idle);
    assert_int_equal(value_of(text, "qwend_requests_total{class=\"batch\",outcome=\"length\"}"), 1);
    assert_int_equal(value_of(text, "qwend_requests_total{class=\"batch\",outcome=\"TOO_LONG\"}"), 2);
    assert_int_equal(value_of(text, "qwend_requests_total{class=\"batch\",outcome=\"SLOW_CONSUMER\"}"), 1);
    assert_int_equal(value_of(text, "qwend_requests_total{class=\"batch\",outcome=\"UNKNOWN\"}"), 3);
    assert_int_equal(value_of(text, "qwend_requests_total{class=\"batch\",outcome=\"left\"}"), 4);
    assert_int_equal(value_of(text, "qwend_requests_total{class=\"normal\",outcome=\"stop\"}"), 0);
    free(text);
}

static void test_a_backend_cannot_forge_a_line(void **state)
{
    const struct metrics_now now = {.version = "1", .backend = "a\"b\\\n# EOF\n\x80"};
    char *text = text_of(&(struct metrics){}, &now);

    assert_non_null(strstr(text, "backend=\"a\\\"b\\\\# EOF\"} 1\n"));
    free(text);
}

static void test_the_longest_text_fits(void **state)
{
    char backend[256];
    struct metrics_now now;
    struct metrics metrics;
    char *text;

    memset(&metrics, 0xff, sizeof(metrics));
    memset(&now, 0xff, sizeof(now));
    memset(backend, '"', sizeof(backend));
    backend[sizeof(backend) - 1] = '\0';
    now.version = now.backend = backend;
    now.state = QWP__STATUS_REPLY__STATE__SERVING;
    text = text_of(&metrics, &now);
    assert_in_range(strlen(text), 16 << 10, 48 << 10);
    assert_string_equal(text + strlen(text) - 6, "# EOF\n");
    free(text);
}

static void test_no_room_is_said(void **state)
{
    struct buf out = BUF_INIT(1000);

    assert_int_equal(metrics_put_text(&(struct metrics){}, &now_idle, &out), BUF_E_FULL);
    buf_deinit(&out);
}

static void test_uids_are_names_and_numbers(void **state)
{
    uid_t uids[SCRAPE_UIDS_MAX];
    struct fault fault = {};
    size_t n = 9;

    assert_int_equal(scrape_read_uids("root, 1007\t4294967294,,", uids, &n, &fault), 0);
    assert_int_equal(n, 3);
    assert_int_equal(uids[0], 0);
    assert_int_equal(uids[1], 1007);
    assert_int_equal(uids[2], 4294967294u);
    assert_int_equal(scrape_read_uids("1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16", uids, &n, &fault), 0);
    assert_int_equal(n, SCRAPE_UIDS_MAX);
}

static void test_bad_uids_are_refused_by_name(void **state)
{
    static const struct {
        const char *list, *word;
    } cases[] = {{"root,nobody-of-this-name", "nobody-of-this-name"},
                 {"-1", "'-1'"},
                 {"4294967295", "'4294967295'"}, /* (uid_t)-1: nobody's, and a TCP peer's */
                 {"12x", "'12x'"},
                 {"1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17", "more than 16"}};

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        uid_t uids[SCRAPE_UIDS_MAX];
        struct fault fault = {};
        size_t n;

        assert_int_equal(scrape_read_uids(cases[i].list, uids, &n, &fault), BROKER_E_START);
        if (!strstr(fault.text, cases[i].word))
            fail_msg("\"%s\" does not name %s", fault.text, cases[i].word);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_observe_puts_a_time_into_the_bucket_whose_bound_it_does_not_exceed),
        cmocka_unit_test(test_each_outcome_has_its_series),
        cmocka_unit_test(test_a_backend_cannot_forge_a_line),
        cmocka_unit_test(test_the_longest_text_fits),
        cmocka_unit_test(test_no_room_is_said),
        cmocka_unit_test(test_uids_are_names_and_numbers),
        cmocka_unit_test(test_bad_uids_are_refused_by_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
