/* test_qwend_request.c - building requests, and the three ways a prompt travels. */
#include "qwend_peer.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <sys/mman.h>

#define ANSWER_END "send Usage+end finish=FINISH_STOP\n"

/* The system's memfd_create(), or the failure that a test asked for. */
static bool memfd_fails;
int __real_memfd_create(const char *name, unsigned flags);
int __wrap_memfd_create(const char *name, unsigned flags);
int __wrap_memfd_create(const char *name, unsigned flags)
{
    if (!memfd_fails)
        return __real_memfd_create(name, flags);
    errno = ENFILE;
    return -1;
}

static void run_to_end(struct peer *peer, qwend_req *req)
{
    assert_int_equal(qwend_run(peer->q, req, NULL, NULL), 0);
    qwend_req_free(req);
}

static void test_request_every_option_is_sent(void **state)
{
    struct peer peer = peer_open("accept\nawait Generate\n" ANSWER_END "eof\n", 0);
    qwend_req *req = peer_req("hi");

    assert_int_equal(qwend_req_set_i(req, QWEND_OPT_MAX_TOKENS, 100), 0);
    assert_int_equal(qwend_req_set_i(req, QWEND_OPT_THINKING, 0), 0);
    assert_int_equal(qwend_req_set_f(req, QWEND_OPT_TEMPERATURE, 0.5), 0);
    assert_int_equal(qwend_req_set_i(req, QWEND_OPT_TOP_K, 20), 0);
    assert_int_equal(qwend_req_set_f(req, QWEND_OPT_TOP_P, 0.25), 0);
    assert_int_equal(qwend_req_set_f(req, QWEND_OPT_MIN_P, 0), 0);
    assert_int_equal(qwend_req_set_f(req, QWEND_OPT_REPEAT_PENALTY, 1.5), 0);
    assert_int_equal(qwend_req_set_f(req, QWEND_OPT_PRESENCE_PENALTY, -1), 0);
    assert_int_equal(qwend_req_set_f(req, QWEND_OPT_FREQUENCY_PENALTY, 2), 0);
    assert_int_equal(qwend_req_set_i(req, QWEND_OPT_PENALTY_LAST_N, -1), 0);
    assert_int_equal(qwend_req_set_i(req, QWEND_OPT_SEED, -1), 0);
    assert_int_equal(qwend_req_set_s(req, QWEND_OPT_STOP, "one", (size_t)-1), 0);
    assert_int_equal(qwend_req_set_s(req, QWEND_OPT_STOP, "twofold", 3), 0);
    assert_int_equal(qwend_req_set_s(req, QWEND_OPT_ACCOUNT, "alice", (size_t)-1), 0);
    assert_int_equal(qwend_req_set_s(req, QWEND_OPT_ACCOUNT, "bobby", 3), 0);
    assert_int_equal(qwend_req_set_i(req, QWEND_OPT_LOGPROBS, 0), 0);
    assert_int_equal(qwend_req_set_i(req, QWEND_OPT_PRIORITY, 3), 0);
    assert_int_equal(qwend_req_set_i(req, QWEND_OPT_WANT_IDS, 1), 0);
    assert_int_equal(qwend_req_set_i(req, QWEND_OPT_IGNORE_EOS, 1), 0);
    assert_int_equal(qwend_req_set_i(req, QWEND_OPT_NO_CACHE, 1), 0);
    assert_int_equal(qwend_req_set_i(req, QWEND_OPT_TTFT_DEADLINE_MS, 1500), 0);
    assert_int_equal(qwend_req_set_i(req, QWEND_OPT_DEADLINE_MS, 86400000), 0);
    assert_int_equal(qwend_req_bias(req, 5, -2), 0);
    assert_int_equal(qwend_req_tool(req, "{\"name\":\"f\"}", (size_t)-1), 0);
    run_to_end(&peer, req);
    peer_close_received(
        &peer,
        "sampling={ temperature=0.5 top_k=20 top_p=0.25 min_p=0 repeat_penalty=1.5 "
        "presence_penalty=-1 frequency_penalty=2 penalty_last_n=-1 seed=18446744073709551615 "
        "logit_bias={ id=5 bias=-2}}",
        "max_tokens=100 stop=\"one\",\"two\" thinking=THINKING_OFF logprobs=0 priority=PRIORITY_BATCH",
        "want_ids=1 ignore_eos=1 ttft_deadline_ms=1500 deadline_ms=86400000 account=\"bob\" no_cache=1",
        "tools=\"{\\x22name\\x22:\\x22f\\x22}\"");
}

static void test_request_nothing_set_sends_nothing(void **state)
{
    struct peer peer = peer_open("accept\nawait Generate\n" ANSWER_END "eof\n", 0);
    char *log;

    run_to_end(&peer, peer_req("hi"));
    log = peer_close(&peer);
    assert_true(strstr(log, "sampling={}") != NULL);
    assert_null(strstr(log, "max_tokens"));
    assert_null(strstr(log, "thinking"));
    free(log);
}

static void test_request_conversation_keeps_order_and_reasoning(void **state)
{
    struct peer peer = peer_open("accept\nawait Generate\n" ANSWER_END "eof\n", 0);
    qwend_req *req = qwend_req_new();

    assert_int_equal(qwend_req_message(req, QWEND_SYSTEM, "S", 1), 0);
    assert_int_equal(qwend_req_message(req, QWEND_USER, "U", 1), 0);
    assert_int_equal(qwend_req_reasoning(req, "R", 1), -EINVAL); /* a user does not reason aloud */
    assert_int_equal(qwend_req_message(req, QWEND_ASSISTANT, "A", 1), 0);
    assert_int_equal(qwend_req_reasoning(req, "Q", 1), 0);
    assert_int_equal(qwend_req_reasoning(req, "R", 1), 0);
    assert_int_equal(qwend_req_call(req, "f", "{\"x\":1}", (size_t)-1), 0);
    assert_int_equal(qwend_req_call(req, "g", "{}", 2), 0);
    assert_int_equal(qwend_req_call(req, "g", "\xff", 1), -EILSEQ);
    assert_int_equal(qwend_req_message(req, QWEND_TOOL, "T", 1), 0);
    assert_int_equal(qwend_req_call(req, "f", "{}", 2), -EINVAL); /* the assistant calls */
    assert_int_equal(qwend_req_message(req, QWEND_USER, "", 0), 0);
    run_to_end(&peer, req);
    peer_close_received(
        &peer,
        "messages={ role=\"system\" content=\"S\"},{ role=\"user\" content=\"U\"},"
        "{ role=\"assistant\" content=\"A\" reasoning=\"R\" tool_calls={ name=\"f\" "
        "arguments=\"{\\x22x\\x22:1}\"},{ name=\"g\" arguments=\"{}\"}},{ role=\"tool\" content=\"T\"},"
        "{ role=\"user\" content=\"\"}");
}

static void test_request_gap_is_a_prompt_too(void **state)
{
    struct peer peer = peer_open("accept\nawait Generate\n" ANSWER_END "eof\n", 0);
    qwend_req *req = qwend_req_new();

    assert_int_equal(qwend_req_fim_extra(req, "a.c", "one", 3), 0);
    assert_int_equal(qwend_req_fim_extra(req, "b.c", "twofold", 3), 0);
    assert_int_equal(qwend_req_fim_extra(req, "b.c", "\xff", 1), -EILSEQ);
    assert_int_equal(qwend_req_fim(req, "old", 3, "old", 3), 0);
    assert_int_equal(qwend_req_fim(req, "before", 6, "behind", (size_t)-1), 0);
    assert_int_equal(qwend_req_fim(req, "\xff", 1, "", 0), -EILSEQ);
    assert_int_equal(qwend_req_set_i(req, QWEND_OPT_FIM_ORDER, 2), 0);
    assert_int_equal(qwend_req_set_i(req, QWEND_OPT_FIM_ORDER, 3), -EINVAL);
    assert_int_equal(qwend_req_set_s(req, QWEND_OPT_FIM_REPO, "r", 1), 0);
    assert_int_equal(qwend_req_set_s(req, QWEND_OPT_FIM_FILE, "c.c", 3), 0);
    assert_int_equal(qwend_req_set_i(req, QWEND_OPT_MAX_TOKENS, 0), 0);
    run_to_end(&peer, req);
    peer_close_received(&peer, "max_tokens=0",
                        "fim={ prefix=\"before\" suffix=\"behind\" extra={ name=\"a.c\" text=\"one\"},"
                        "{ name=\"b.c\" text=\"two\"} repo=\"r\" file=\"c.c\" order=SUFFIX_FIRST}");
}

static void test_request_raw_text_and_ids_are_prompts_too(void **state)
{
    struct peer peer =
        peer_open("accept\nawait Generate\n" ANSWER_END "await Generate\n" ANSWER_END "eof\n", 0);
    const uint32_t ids[] = {1, 300, 248000};
    qwend_req *raw = qwend_req_new(), *req = qwend_req_new();

    assert_int_equal(qwend_req_set_s(raw, QWEND_OPT_RAW, "once", (size_t)-1), 0);
    assert_int_equal(qwend_req_set_s(raw, QWEND_OPT_RAW, "upon", (size_t)-1), 0);
    assert_int_equal(qwend_req_set_i(raw, QWEND_OPT_RAW_SPECIAL, QWEND_SPECIAL_ALL), 0);
    run_to_end(&peer, raw);
    assert_int_equal(qwend_req_ids(req, ids, 3), 0);
    run_to_end(&peer, req);
    peer_close_received(&peer, "raw=\"upon\" raw_special=SPECIAL_ALL", "ids={ id=1,300,248000}");
}

static void test_request_values_that_cannot_be_are_refused(void **state)
{
    qwend_req *req = qwend_req_new();

    assert_int_equal(qwend_req_set_i(req, QWEND_OPT_MAX_TOKENS, -1), -EINVAL);
    assert_int_equal(qwend_req_set_i(req, QWEND_OPT_MAX_TOKENS, INT64_MAX), -EINVAL);
    assert_int_equal(qwend_req_set_i(req, QWEND_OPT_THINKING, 2), -EINVAL);
    assert_int_equal(qwend_req_set_i(req, QWEND_OPT_TOP_K, -1), -EINVAL);
    assert_int_equal(qwend_req_set_i(req, QWEND_OPT_PENALTY_LAST_N, -2), -EINVAL);
    assert_int_equal(qwend_req_set_i(req, QWEND_OPT_LOGPROBS, 21), -EINVAL);
    assert_int_equal(qwend_req_set_i(req, QWEND_OPT_PRIORITY, 4), -EINVAL);
    assert_int_equal(qwend_req_set_i(req, QWEND_OPT_CREDIT_BYTES, 0), -EINVAL);
    assert_int_equal(qwend_req_set_i(req, QWEND_OPT_TTFT_DEADLINE_MS, 0), -EINVAL);
    assert_int_equal(qwend_req_set_i(req, QWEND_OPT_DEADLINE_MS, 86400001), -EINVAL);
    assert_int_equal(qwend_req_set_i(req, QWEND_OPT_TEMPERATURE, 1), -EINVAL);
    assert_int_equal(qwend_req_set_i(req, (qwend_opt)99, 1), -EINVAL);
    assert_int_equal(qwend_req_set_i(req, (qwend_opt)0, 1), -EINVAL);
    assert_int_equal(qwend_req_set_f(req, QWEND_OPT_TEMPERATURE, -0.1), -EINVAL);
    assert_int_equal(qwend_req_set_f(req, QWEND_OPT_TEMPERATURE, NAN), -EINVAL);
    assert_int_equal(qwend_req_set_f(req, QWEND_OPT_TOP_P, 1.1), -EINVAL);
    assert_int_equal(qwend_req_set_f(req, QWEND_OPT_MIN_P, -1), -EINVAL);
    assert_int_equal(qwend_req_set_f(req, QWEND_OPT_REPEAT_PENALTY, 0), -EINVAL);
    assert_int_equal(qwend_req_set_f(req, QWEND_OPT_PRESENCE_PENALTY, 1e300), -EINVAL);
    assert_int_equal(qwend_req_set_f(req, QWEND_OPT_TOP_K, 1), -EINVAL);
    assert_int_equal(qwend_req_set_s(req, QWEND_OPT_STOP, "", (size_t)-1), -EINVAL);
    assert_int_equal(qwend_req_set_s(req, QWEND_OPT_SEED, "1", 1), -EINVAL);
    assert_int_equal(qwend_req_bias(req, 1, INFINITY), -EINVAL);
    assert_int_equal(qwend_req_message(req, (qwend_role)7, "x", 1), -EINVAL);
    assert_int_equal(qwend_req_message(req, QWEND_USER, "a\0b", 3), -EILSEQ);
    assert_int_equal(qwend_req_message(req, QWEND_USER, "\xed\xa0\x80", 3), -EILSEQ);
    qwend_req_free(req);
}

static void test_request_without_prompt_or_with_two_is_refused(void **state)
{
    struct peer peer = peer_open("accept\neof\n", 0);
    qwend_req *none = qwend_req_new(), *two = peer_req("hi");

    assert_int_equal(qwend_run(peer.q, none, NULL, NULL), -EINVAL);
    assert_int_equal(qwend_req_set_s(two, QWEND_OPT_RAW, "raw", (size_t)-1), 0);
    assert_int_equal(qwend_run(peer.q, two, NULL, NULL), -EINVAL);
    assert_non_null(strstr(qwend_error(peer.q), "either messages"));
    qwend_req_free(none);
    qwend_req_free(two);
    free(peer_close(&peer));
}

static char *long_text(size_t n)
{
    char *text = malloc(n + 1);

    memset(text, 'a', n);
    text[n] = 0;
    return text;
}

static void test_request_long_prompt_goes_in_a_sealed_memfd(void **state)
{
    struct peer peer =
        peer_open("accept\nawait Generate\n" ANSWER_END "await Generate\n" ANSWER_END "eof\n", 0);
    char *text = long_text(3000000);

    run_to_end(&peer, peer_req(text));
    run_to_end(&peer, peer_req("short again"));
    free(text);
    peer_close_received(&peer, "Generate stream=1 FD", "Prompt sealed-memfd bytes=3000016", "(3000000)",
                        "Prompt inline bytes=21");
}

static void test_request_long_prompt_goes_in_pieces_without_memfd(void **state)
{
    struct peer peer = peer_open(
        "accept\nawait Generate\nawait Body\nawait Body\nawait Body\nawait Body\nawait Body\n"
        "await Body\nawait Body\nawait Body\nawait Body\nawait Body\nawait Body\nawait Body\n" ANSWER_END
        "eof\n",
        0);
    char *text = long_text(3000000);

    memfd_fails = true;
    run_to_end(&peer, peer_req(text));
    memfd_fails = false;
    free(text);
    peer_close_received(&peer, "Generate stream=1 MORE", "Body stream=1 MORE", "Body stream=1 data",
                        "Prompt pieces bytes=3000016");
}

static void test_request_prompt_above_the_limit_names_both_numbers(void **state)
{
    struct peer peer = peer_open("accept limits={body_bytes=1000}\neof\n", 0);
    char *text = long_text(2000);
    qwend_req *req = peer_req(text);

    assert_int_equal(qwend_run(peer.q, req, NULL, NULL), -EMSGSIZE);
    assert_non_null(strstr(qwend_error(peer.q), "2012 bytes"));
    assert_non_null(strstr(qwend_error(peer.q), "at most 1000"));
    qwend_req_free(req);
    free(text);
    free(peer_close(&peer));
}

static void test_utf8_valid_stops_at_the_first_bad_byte(void **state)
{
    static const struct {
        const char *text;
        size_t n, valid;
    } cases[] = {
        {"", 0, 0},
        {"abc", 3, 3},
        {"a\0b", 3, 1},
        {"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 9, 9},
        {"a\xc3", 2, 1},        /* cut */
        {"\xc0\xaf", 2, 0},     /* overlong */
        {"\xe0\x9f\xbf", 3, 0}, /* overlong */
        {"\xed\xa0\x80", 3, 0}, /* surrogate */
        {"\xed\x9f\xbf", 3, 3},
        {"\xf4\x8f\xbf\xbf", 4, 4},
        {"\xf4\x90\x80\x80", 4, 0}, /* above U+10FFFF */
        {"\xf5\x80\x80\x80", 4, 0},
        {"ab\xff", 3, 2},
        {"\xe2\x82z", 3, 0},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        if (qwend_utf8_valid(cases[i].text, cases[i].n) != cases[i].valid)
            fail_msg("case %zu: %zu, not %zu", i, qwend_utf8_valid(cases[i].text, cases[i].n),
                     cases[i].valid);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request_every_option_is_sent),
        cmocka_unit_test(test_request_nothing_set_sends_nothing),
        cmocka_unit_test(test_request_conversation_keeps_order_and_reasoning),
        cmocka_unit_test(test_request_gap_is_a_prompt_too),
        cmocka_unit_test(test_request_raw_text_and_ids_are_prompts_too),
        cmocka_unit_test(test_request_values_that_cannot_be_are_refused),
        cmocka_unit_test(test_request_without_prompt_or_with_two_is_refused),
        cmocka_unit_test(test_request_long_prompt_goes_in_a_sealed_memfd),
        cmocka_unit_test(test_request_long_prompt_goes_in_pieces_without_memfd),
        cmocka_unit_test(test_request_prompt_above_the_limit_names_both_numbers),
        cmocka_unit_test(test_utf8_valid_stops_at_the_first_bad_byte),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
