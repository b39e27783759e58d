/* test_status.c - the stable codes: numbers are an interface and never change. */
#include "proto/status.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const struct {
    int code;
    const char *name;
} published[] = {
    {0, "OK"},           {101, "BAD_PREFACE"}, {102, "FRAME_TOO_BIG"}, {103, "BAD_MESSAGE"},
    {104, "BAD_STREAM"}, {105, "VERSION"},     {201, "INVALID"},       {202, "TOO_LONG"},
    {203, "GRAMMAR"},    {204, "TEMPLATE"},    {205, "UNSUPPORTED"},   {206, "UNKNOWN_REQUEST"},
    {207, "POISONED"},   {301, "DENIED"},      {302, "CONCURRENCY"},   {303, "TOKEN_RATE"},
    {304, "CTX_LIMIT"},  {305, "PENALISED"},   {401, "QUEUE_FULL"},    {402, "DEADLINE_UNMEETABLE"},
    {403, "DRAINING"},   {404, "LOADING"},     {501, "ENGINE_LOST"},   {502, "OOM"},
    {503, "NUMERICS"},   {504, "INTERNAL"},    {601, "SLOW_CONSUMER"}, {602, "DEADLINE"},
    {603, "CANCELLED"},  {604, "RESUME_GAP"},
};

static void test_status_name_is_as_published(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(published); i++)
        assert_string_equal(status_name(published[i].code), published[i].name);
}

static void test_status_name_of_other_numbers_is_unknown(void **state)
{
    int n = 0;

    for (int code = -1; code < 1000; code++)
        n += strcmp(status_name(code), "UNKNOWN") != 0;
    assert_int_equal(n, ARRAY_SIZE(published));
}

static void test_status_retryable_is_4xx_only(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(published); i++)
        assert_int_equal(status_is_retryable(published[i].code), published[i].code / 100 == 4);
    assert_false(status_is_retryable(399));
    assert_false(status_is_retryable(500));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status_name_is_as_published),
        cmocka_unit_test(test_status_name_of_other_numbers_is_unknown),
        cmocka_unit_test(test_status_retryable_is_4xx_only),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
