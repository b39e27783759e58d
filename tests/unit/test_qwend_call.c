/* test_qwend_call.c - the blocking calls: text and service. */
#include "qwend_peer.h"

#include <errno.h>

static void test_tokenize_gives_ids(void **state)
{
    struct peer peer = peer_open("accept\nawait Tokenize\nsend Tokens+end ids=5,6,7\n"
                                 "await Tokenize\nsend Tokens+end\neof\n",
                                 0);
    uint32_t *ids;
    size_t n;

    assert_int_equal(qwend_tokenize(peer.q, "abc", (size_t)-1, QWEND_SPECIAL_ALL, &ids, &n), 0);
    assert_int_equal(n, 3);
    assert_int_equal(ids[2], 7);
    free(ids);
    assert_int_equal(qwend_tokenize(peer.q, "", 0, 0, &ids, &n), 0);
    assert_int_equal(n, 0);
    free(ids);
    assert_int_equal(qwend_tokenize(peer.q, "a\xff", 2, 0, &ids, &n), -EILSEQ);
    assert_int_equal(qwend_tokenize(peer.q, "a", 1, 9, &ids, &n), -EINVAL);
    peer_close_received(&peer, "Tokenize stream=1 END text=\"abc\" special=SPECIAL_ALL",
                        "Tokenize stream=3 END text=\"\"");
}

static void test_admin_says_what_came_of_it(void **state)
{
    struct peer peer = peer_open("accept\nawait Admin\nsend Done+end text=\"reloaded\"\n"
                                 "await Admin\nsend Error+end code=301 text=\"no\"\n"
                                 "await Admin\nsend Done+end\neof\n",
                                 0);
    const char *text;

    assert_int_equal(qwend_admin(peer.q, QWEND_ADMIN_RELOAD, &text), 0);
    assert_string_equal(text, "reloaded");
    assert_int_equal(qwend_admin(peer.q, QWEND_ADMIN_DRAIN, &text), QWEND_REFUSED);
    assert_int_equal(qwend_error_code(peer.q), 301);
    assert_int_equal(qwend_admin(peer.q, QWEND_ADMIN_RESUME, NULL), 0);
    assert_int_equal(qwend_admin(peer.q, 5, &text), -EINVAL);
    peer_close_received(&peer, "Admin stream=1 END verb=RELOAD", "Admin stream=3 END verb=DRAIN",
                        "Admin stream=5 END verb=RESUME");
}

static void test_score_gives_ids_and_logprobs(void **state)
{
    struct peer peer =
        peer_open("accept\nawait Score\nsend ScoreReply+end ids=5,6 logprobs=-1,-2.5 sum=-3.5\n"
                  "await Score\nsend ScoreReply+end ids=5,6 logprobs=-1\neof\n",
                  0);
    const uint32_t ids[] = {5, 6};
    qwend_req *req = peer_req("hi");
    qwend_scores scores;

    assert_int_equal(qwend_req_set_i(req, QWEND_OPT_THINKING, 0), 0);
    assert_int_equal(qwend_req_set_i(req, QWEND_OPT_PRIORITY, 3), 0);
    assert_int_equal(qwend_req_set_s(req, QWEND_OPT_ACCOUNT, "alice", (size_t)-1), 0);
    assert_int_equal(qwend_score(peer.q, req, "a\xff", 2, &scores), -EILSEQ);
    assert_int_equal(qwend_score(peer.q, req, "yes", (size_t)-1, &scores), 0);
    assert_int_equal(scores.n, 2);
    assert_int_equal(scores.ids[1], 6);
    assert_true(scores.logprobs[1] == -2.5f && scores.sum == -3.5);
    assert_int_equal(qwend_score_ids(peer.q, req, ids, 2, &scores), -EPROTO);
    qwend_req_free(req);
    peer_close_received(&peer, "thinking=THINKING_OFF priority=PRIORITY_BATCH account=\"alice\"",
                        "Score stream=3 END");
}

static void test_tokenize_above_a_frame_is_refused_with_numbers(void **state)
{
    struct peer peer = peer_open("accept\neof\n", 0);
    char *text = calloc(1, 2000001);
    uint32_t *ids;
    size_t n;

    memset(text, 'x', 2000000);
    assert_int_equal(qwend_tokenize(peer.q, text, 2000000, 0, &ids, &n), -EMSGSIZE);
    assert_non_null(strstr(qwend_error(peer.q), "1048576"));
    free(text);
    free(peer_close(&peer));
}

static void test_detokenize_and_render_give_text(void **state)
{
    struct peer peer = peer_open("accept\nawait Detokenize\nsend Text+end text=\"a\\xffb\"\n"
                                 "await Render\nsend Text+end text=\"<|im_start|>\"\neof\n",
                                 0);
    const uint32_t ids[] = {4, 5};
    qwend_req *req = peer_req("hi");
    char *text;
    size_t n;

    assert_int_equal(qwend_detokenize(peer.q, ids, 2, &text, &n), 0);
    assert_int_equal(n, 3);
    assert_memory_equal(text,
                        "a\xff"
                        "b",
                        4);
    free(text);
    qwend_req_set_i(req, QWEND_OPT_THINKING, 1);
    assert_int_equal(qwend_render(peer.q, req, &text, NULL), 0);
    assert_string_equal(text, "<|im_start|>");
    free(text);
    qwend_req_free(req);
    peer_close_received(&peer, "Detokenize stream=1 END ids=4,5", "thinking=THINKING_ON");
}

static void test_status_gives_every_field(void **state)
{
    struct peer peer =
        peer_open("accept\nawait Status\n"
                  "send StatusReply+end state=SERVING server=\"qwend 0.1.0\" pid=10 engine_pid=11 "
                  "uptime_s=1.5 model={name=\"M\" file=\"m.gguf\" file_bytes=7 n_params=8 "
                  "quantisation=\"Q4_K\" context_trained=9 numerics_id=\"cpu/1\"} backend=\"cpu\" "
                  "isa=\"avx2\" context=12 slots=13 threads=14 running=15 queued=16 connections=17 "
                  "engine_restarts=18 prompt_tokens=19 output_tokens=20 requests=21 load_permille=1000 "
                  "note=\"n\" weights_bytes=22 state_bytes=23 weights_locked=true kv_type=\"f16\" "
                  "cache_bytes=24 cache_used_bytes=25 cache_pages=26 cache_checkpoints=27 cached_tokens=28 "
                  "cache_dir_bytes=29 cache_dir_used_bytes=30 preemptions=31 weights_host_bytes=33 "
                  "publics={name=\"rules\" state=READY tokens=32},{name=\"b\" state=REFUSED text=\"why\"}\n"
                  "await Status\nsend StatusReply+end state=LOADING\neof\n",
                  0);
    qwend_status_info info;

    assert_int_equal(qwend_status(peer.q, &info), 0);
    assert_int_equal(info.state, 3);
    assert_string_equal(info.state_name, "serving");
    assert_string_equal(info.model, "M");
    assert_string_equal(info.quantisation, "Q4_K");
    assert_string_equal(info.numerics_id, "cpu/1");
    assert_string_equal(info.kv_type, "f16");
    assert_int_equal(info.context_trained, 9);
    assert_int_equal(info.n_params, 8);
    assert_int_equal(info.engine_pid, 11);
    assert_int_equal(info.requests, 21);
    assert_int_equal(info.state_bytes, 23);
    assert_int_equal(info.weights_locked, 1);
    assert_int_equal(info.cache_bytes, 24);
    assert_int_equal(info.cache_used_bytes, 25);
    assert_int_equal(info.cache_pages, 26);
    assert_int_equal(info.cache_checkpoints, 27);
    assert_int_equal(info.cached_tokens, 28);
    assert_int_equal(info.cache_dir_bytes, 29);
    assert_int_equal(info.cache_dir_used_bytes, 30);
    assert_int_equal(info.preemptions, 31);
    assert_int_equal(info.weights_host_bytes, 33);
    assert_int_equal(info.n_publics, 2);
    assert_string_equal(info.publics[0].name, "rules");
    assert_int_equal(info.publics[0].state, 2);
    assert_int_equal(info.publics[0].tokens, 32);
    assert_string_equal(info.publics[0].text, "");
    assert_int_equal(info.publics[1].state, 3);
    assert_string_equal(info.publics[1].text, "why");
    assert_true(info.uptime_s == 1.5);
    assert_int_equal(qwend_status(peer.q, &info), 0);
    assert_string_equal(info.state_name, "loading");
    assert_string_equal(info.model, "");
    assert_int_equal(info.n_publics, 0);
    free(peer_close(&peer));
}

static void test_requests_are_listed(void **state)
{
    struct peer peer =
        peer_open("accept\nawait ListRequests\nsend Requests+end "
                  "requests={request_id=\"0123456789abcdef\" uid=1000 pid=5 client=\"vim\" state=DECODE "
                  "position=0 prompt_tokens=10 output_tokens=20 age_s=2.5 priority=PRIORITY_BATCH replays=1},"
                  "{request_id=\"\\x00\\x01\" state=QUEUED position=3}\n"
                  "await ListRequests\nsend Requests+end\neof\n",
                  0);
    const qwend_request_info *info;
    size_t n;

    assert_int_equal(qwend_requests(peer.q, &info, &n), 0);
    assert_int_equal(n, 2);
    assert_string_equal(info[0].request_id, "30313233343536373839616263646566");
    assert_string_equal(info[0].client, "vim");
    assert_string_equal(info[0].state, "decode");
    assert_int_equal(info[0].priority, 3);
    assert_int_equal(info[0].output_tokens, 20);
    assert_string_equal(info[1].request_id, "00010000000000000000000000000000");
    assert_string_equal(info[1].state, "queued");
    assert_int_equal(info[1].position, 3);
    assert_int_equal(info[1].priority, 2);
    assert_int_equal(qwend_requests(peer.q, &info, &n), 0);
    assert_int_equal(n, 0);
    free(peer_close(&peer));
}

static void test_cancel_request_sends_id_or_mine(void **state)
{
    struct peer peer =
        peer_open("accept\nawait Cancel\non 1\nsend Cancelled+end n_cancelled=1\n"
                  "await Cancel\non 2\nsend Cancelled+end n_cancelled=4\n"
                  "await Cancel\non 3\nsend Error+end code=206 text=\"no such request\"\neof\n",
                  0);
    uint32_t n = 0;

    assert_int_equal(qwend_cancel_request(peer.q, "30313233343536373839616263646566", &n), 0);
    assert_int_equal(n, 1);
    assert_int_equal(qwend_cancel_request(peer.q, NULL, &n), 0);
    assert_int_equal(n, 4);
    assert_int_equal(qwend_cancel_request(peer.q, "00000000000000000000000000000000", &n), QWEND_REFUSED);
    assert_int_equal(qwend_error_code(peer.q), 206);
    assert_int_equal(qwend_cancel_request(peer.q, "xyz", &n), -EINVAL);
    peer_close_received(&peer, "request_id=\"0123456789abcdef\"", "mine=1");
}

static void test_call_wrong_answer_ends_the_connection(void **state)
{
    struct peer peer = peer_open("accept\nawait Status\nsend Tokens+end\neof\n", 0);
    qwend_status_info info;

    assert_int_equal(qwend_status(peer.q, &info), -EPROTO);
    assert_non_null(strstr(qwend_error(peer.q), "Tokens where StatusReply"));
    assert_int_equal(qwend_status(peer.q, &info), -EPROTO);
    free(peer_close(&peer));
}

static void test_call_end_of_connection_is_broken_pipe(void **state)
{
    struct peer peer = peer_open("accept\nawait Status\nclose\n", 0);
    qwend_status_info info;

    assert_int_equal(qwend_status(peer.q, &info), -EPIPE);
    free(peer_close(&peer));
}

static void test_call_times_out_and_the_late_answer_is_dropped(void **state)
{
    struct peer peer =
        peer_open("accept\nawait Status\nawait Tokenize\non 1\nsend StatusReply+end state=SERVING\n"
                  "on 2\nsend Tokens+end ids=1\neof\n",
                  0);
    qwend_status_info info;
    uint32_t *ids;
    size_t n;

    qwend_set_timeout(peer.q, 10);
    assert_int_equal(qwend_status(peer.q, &info), -ETIMEDOUT);
    qwend_set_timeout(peer.q, -1);
    assert_int_equal(qwend_tokenize(peer.q, "a", 1, 0, &ids, &n), 0);
    assert_int_equal(n, 1);
    free(ids);
    free(peer_close(&peer));
}

static void test_call_is_refused_on_a_nonblocking_connection(void **state)
{
    struct peer peer = peer_open("accept\neof\n", QWEND_NONBLOCK);
    qwend_status_info info;
    qwend_req *req = peer_req("hi");

    assert_int_equal(qwend_status(peer.q, &info), -EINVAL);
    assert_int_equal(qwend_run(peer.q, req, NULL, NULL), -EINVAL);
    qwend_req_free(req);
    free(peer_close(&peer));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tokenize_gives_ids),
        cmocka_unit_test(test_admin_says_what_came_of_it),
        cmocka_unit_test(test_score_gives_ids_and_logprobs),
        cmocka_unit_test(test_tokenize_above_a_frame_is_refused_with_numbers),
        cmocka_unit_test(test_detokenize_and_render_give_text),
        cmocka_unit_test(test_status_gives_every_field),
        cmocka_unit_test(test_requests_are_listed),
        cmocka_unit_test(test_cancel_request_sends_id_or_mine),
        cmocka_unit_test(test_call_wrong_answer_ends_the_connection),
        cmocka_unit_test(test_call_end_of_connection_is_broken_pipe),
        cmocka_unit_test(test_call_times_out_and_the_late_answer_is_dropped),
        cmocka_unit_test(test_call_is_refused_on_a_nonblocking_connection),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
