/* test_policy.c - every range of a request, at its borders; see daemon/broker/policy.h. */
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
// clang-format on

#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <sys/mman.h>

#include "daemon/broker/policy.h"
#include "proto/frame.h"
#include "proto/status.h"

static int check(const Qwp__Generate *generate, uint16_t flags, const char *word)
{
    struct fault fault = {};
    int r = policy_check_generate(generate, flags, &fault);

    if (r) {
        assert_int_equal(fault.code, r);
        if (!word || !strstr(fault.text, word))
            fail_msg("'%s' does not name %s", fault.text, word ? word : "anything, it should be fine");
    } else if (word) {
        fail_msg("%s was not refused", word);
    }
    return r;
}

static Qwp__Generate generate_with_body(void)
{
    Qwp__Generate generate = QWP__GENERATE__INIT;

    generate.has_body = true;
    return generate;
}

static void test_policy_check_generate_wants_the_body_exactly_one_way(void **state)
{
    Qwp__Generate none = QWP__GENERATE__INIT, body = generate_with_body();

    check(&body, 0, NULL);
    check(&none, FRAME_MORE, NULL);
    check(&none, FRAME_HAS_FD, NULL);
    assert_int_equal(check(&none, 0, "no prompt"), STATUS_INVALID);
    check(&body, FRAME_MORE, "body MORE");
    check(&body, FRAME_HAS_FD, "body HAS_FD");
    check(&none, FRAME_MORE | FRAME_HAS_FD, "MORE HAS_FD");
}

static void test_policy_check_generate_keeps_float_ranges(void **state)
{
    static const struct {
        const char *name;
        size_t value, has;
        float min, max;
    } rows[] = {
#define ROW(field, lo, hi)                                                                                   \
    {#field, offsetof(Qwp__Sampling, field), offsetof(Qwp__Sampling, has_##field), lo, hi}
        ROW(temperature, 0, 100),
        ROW(top_p, 0, 1),
        ROW(min_p, 0, 1),
        ROW(repeat_penalty, 0.01f, 100),
        ROW(presence_penalty, -100, 100),
        ROW(frequency_penalty, -100, 100),
#undef ROW
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        Qwp__Generate generate = generate_with_body();
        Qwp__Sampling sampling = QWP__SAMPLING__INIT;
        float *value = (float *)((char *)&sampling + rows[i].value);

        generate.sampling = &sampling;
        *(protobuf_c_boolean *)((char *)&sampling + rows[i].has) = true;
        *value = rows[i].min;
        check(&generate, 0, NULL);
        *value = rows[i].max;
        check(&generate, 0, NULL);
        *value = nextafterf(rows[i].min, -INFINITY);
        check(&generate, 0, rows[i].name);
        *value = nextafterf(rows[i].max, INFINITY);
        check(&generate, 0, rows[i].name);
        *value = NAN;
        check(&generate, 0, rows[i].name);
        *value = INFINITY;
        check(&generate, 0, rows[i].name);
    }
}

static void test_policy_check_generate_keeps_integer_ranges(void **state)
{
    Qwp__Sampling sampling = QWP__SAMPLING__INIT;
    Qwp__Generate generate = generate_with_body();

    generate.sampling = &sampling;
    sampling.has_top_k = sampling.has_penalty_last_n = true;
    sampling.top_k = 1 << 20;
    sampling.penalty_last_n = -1;
    check(&generate, 0, NULL);
    sampling.top_k++;
    check(&generate, 0, "top_k");
    sampling.top_k = 0;
    sampling.penalty_last_n = -2;
    check(&generate, 0, "penalty_last_n");
    generate.sampling = NULL;
    generate.has_max_tokens = generate.has_logprobs = generate.has_credit_bytes = true;
    generate.max_tokens = 1 << 20;
    generate.logprobs = 20;
    generate.credit_bytes = POLICY_CREDIT_BYTES_MIN;
    check(&generate, 0, NULL);
    generate.max_tokens++;
    check(&generate, 0, "max_tokens");
    generate.max_tokens = 0;
    check(&generate, 0, NULL);
    generate.logprobs = 21;
    check(&generate, 0, "logprobs");
    generate.logprobs = 0;
    generate.credit_bytes = POLICY_CREDIT_BYTES_MAX + 1;
    check(&generate, 0, "credit_bytes");
}

static void test_policy_check_generate_keeps_deadlines(void **state)
{
    Qwp__Generate generate = generate_with_body();

    generate.has_ttft_deadline_ms = generate.has_deadline_ms = true;
    generate.ttft_deadline_ms = 1;
    generate.deadline_ms = 86400000;
    check(&generate, 0, NULL);
    generate.deadline_ms++;
    check(&generate, 0, "deadline_ms");
    generate.deadline_ms = 0;
    check(&generate, 0, "deadline_ms");
    generate.deadline_ms = 1000;
    generate.ttft_deadline_ms = 0;
    check(&generate, 0, "ttft_deadline_ms");
    generate.ttft_deadline_ms = 86400001;
    check(&generate, 0, "ttft_deadline_ms");
    generate.ttft_deadline_ms = 1000;
    check(&generate, 0, NULL);
    generate.ttft_deadline_ms = 1001;
    check(&generate, 0, "later than deadline_ms");
}

static void test_policy_check_generate_keeps_stops_and_biases(void **state)
{
    char longest[POLICY_STOP_BYTES_MAX + 2] = {}, *stops[POLICY_STOPS_MAX + 1];
    Qwp__LogitBias bias = QWP__LOGIT_BIAS__INIT, *biases[] = {&bias};
    Qwp__Sampling sampling = QWP__SAMPLING__INIT;
    Qwp__Generate generate = generate_with_body();

    memset(longest, 'x', POLICY_STOP_BYTES_MAX);
    for (size_t i = 0; i < ARRAY_SIZE(stops); i++)
        stops[i] = longest;
    generate.stop = stops;
    generate.n_stop = POLICY_STOPS_MAX;
    check(&generate, 0, NULL);
    generate.n_stop++;
    check(&generate, 0, "17 stop strings");
    generate.n_stop = 2;
    stops[1] = (char *)"";
    check(&generate, 0, "stop[1]");
    longest[POLICY_STOP_BYTES_MAX] = 'x';
    check(&generate, 0, "stop[0] has 257 bytes");
    generate.n_stop = 0;
    generate.sampling = &sampling;
    sampling.logit_bias = biases;
    sampling.n_logit_bias = 1;
    check(&generate, 0, "logit_bias[0]");
    bias.has_id = true;
    check(&generate, 0, NULL);
    bias.bias = NAN;
    check(&generate, 0, "logit_bias[0]");
}

static void test_policy_check_generate_wants_16_bytes_of_id(void **state)
{
    Qwp__Generate generate = generate_with_body();

    generate.has_request_id = true;
    generate.request_id.len = 16;
    check(&generate, 0, NULL);
    generate.request_id.len = 15;
    check(&generate, 0, "request_id");
}

static int memfd_of(off_t n_bytes, int seals)
{
    int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, n_bytes), 0);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
    return fd;
}

static void test_policy_check_memfd_wants_all_four_seals(void **state)
{
    static const int seals[] = {F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE};
    const int all = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
    struct fault fault;
    uint64_t n = 0;

    for (size_t i = 0; i < ARRAY_SIZE(seals); i++) {
        _cleanup_(closep) int fd = memfd_of(10, all & ~seals[i]);

        assert_int_equal(policy_check_memfd(fd, &fault, &n), STATUS_INVALID);
        assert_non_null(strstr(fault.text, "not sealed"));
        assert_int_equal(n, 0);
    }
    _cleanup_(closep) int fd = memfd_of(10, all);

    assert_int_equal(policy_check_memfd(fd, &fault, &n), 0);
    assert_int_equal(n, 10);
}

static void test_policy_check_memfd_keeps_its_size(void **state)
{
    const int all = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
    _cleanup_(closep) int empty = memfd_of(0, all), largest = memfd_of(POLICY_BODY_BYTES_MAX, all),
                          larger = memfd_of(POLICY_BODY_BYTES_MAX + 1, all),
                          file = open("/proc/self/exe", O_RDONLY);
    struct fault fault;
    uint64_t n;

    assert_int_equal(policy_check_memfd(empty, &fault, &n), STATUS_INVALID);
    assert_int_equal(policy_check_memfd(largest, &fault, &n), 0);
    assert_int_equal(n, POLICY_BODY_BYTES_MAX);
    assert_int_equal(policy_check_memfd(larger, &fault, &n), STATUS_TOO_LONG);
    assert_int_equal(policy_check_memfd(file, &fault, &n), STATUS_INVALID);
}

static void test_policy_check_credit_keeps_the_window(void **state)
{
    Qwp__Credit credit = QWP__CREDIT__INIT;
    struct fault fault;

    assert_int_equal(policy_check_credit(0, &credit, &fault), STATUS_INVALID);
    credit.has_bytes = true;
    assert_int_equal(policy_check_credit(0, &credit, &fault), STATUS_INVALID);
    credit.bytes = POLICY_CREDIT_BYTES_MAX;
    assert_int_equal(policy_check_credit(0, &credit, &fault), 0);
    assert_int_equal(policy_check_credit(1, &credit, &fault), STATUS_INVALID);
    credit.bytes = UINT32_MAX;
    assert_int_equal(policy_check_credit(POLICY_CREDIT_BYTES_MAX, &credit, &fault), STATUS_INVALID);
    credit.bytes = 1;
    assert_int_equal(policy_check_credit(POLICY_CREDIT_BYTES_MAX - 1, &credit, &fault), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_policy_check_generate_wants_the_body_exactly_one_way),
        cmocka_unit_test(test_policy_check_generate_keeps_float_ranges),
        cmocka_unit_test(test_policy_check_generate_keeps_integer_ranges),
        cmocka_unit_test(test_policy_check_generate_keeps_deadlines),
        cmocka_unit_test(test_policy_check_generate_keeps_stops_and_biases),
        cmocka_unit_test(test_policy_check_generate_wants_16_bytes_of_id),
        cmocka_unit_test(test_policy_check_memfd_wants_all_four_seals),
        cmocka_unit_test(test_policy_check_memfd_keeps_its_size),
        cmocka_unit_test(test_policy_check_credit_keeps_the_window),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
