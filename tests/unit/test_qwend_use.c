/* test_qwend_use.c - qwend_use(): progress, the newest only, and what comes of it; what is served meanwhile.
 */
#include "qwend_peer.h"

#include <errno.h>

static void test_progress_then_one_line(void **state)
{
    struct peer peer =
        peer_open("accept\nawait Use\nsend UseProgress stage=DRAINING left=3\nawait Status\n"
                  "send StatusReply+end\non 1\nsend UseProgress stage=LOADING load_permille=250\n"
                  "await Status\non 1\nsend Used+end text=\"served\" already=0\non 3\n"
                  "send StatusReply+end\neof\n",
                  0);
    qwend_status_info info;
    qwend_stream *stream;
    qwend_event event;

    assert_int_equal(qwend_use(peer.q, "/models/x.gguf", NULL, NULL, &stream), 0);
    event = peer_next(stream, QWEND_EV_USE);
    assert_string_equal(event.text, "draining");
    assert_int_equal(event.position, 3);
    assert_false(event.loading);
    assert_int_equal(qwend_status(peer.q, &info), 0);
    event = peer_next(stream, QWEND_EV_USE);
    assert_string_equal(event.text, "loading");
    assert_int_equal(event.load_permille, 250);
    assert_true(event.loading);
    assert_int_equal(qwend_status(peer.q, &info), 0);
    event = peer_next(stream, QWEND_EV_REPLY);
    assert_string_equal(event.text, "served");
    assert_int_equal(qwend_next(stream, &event), 0);
    qwend_stream_free(stream);
    peer_close_received(&peer, "Use stream=1 model_path=\"/models/x.gguf\"");
}

static void test_a_late_caller_gets_the_newest(void **state)
{
    struct peer peer =
        peer_open("accept\nawait Use\nsend UseProgress stage=CHECKING\nsend UseProgress stage=DRAINING "
                  "left=2\nsend UseProgress stage=RETURNING\nawait Status\nsend StatusReply+end\neof\n",
                  0);
    qwend_status_info info;
    qwend_stream *stream;
    qwend_event event;

    assert_int_equal(qwend_use(peer.q, "/x", NULL, NULL, &stream), 0);
    assert_int_equal(qwend_status(peer.q, &info), 0); /* all of it came before its answer */
    event = peer_next(stream, QWEND_EV_USE);
    assert_string_equal(event.text, "returning");
    qwend_stream_detach(stream); /* it goes on without us */
    free(peer_close(&peer));
}

static void test_it_is_called_off(void **state)
{
    struct peer peer =
        peer_open("accept\nawait Use\nsend UseProgress stage=DRAINING left=2\nawait Cancel\n"
                  "send Error+end code=603 text=\"called off\"\nawait Use\nsend Done+end text=\"x\"\n"
                  "await Use\nsend Error+end code=206 text=\"none\"\neof\n",
                  0);
    qwend_stream *stream;
    qwend_event event;

    assert_int_equal(qwend_use(peer.q, "/x", NULL, NULL, &stream), 0);
    peer_next(stream, QWEND_EV_USE);
    assert_int_equal(qwend_cancel(stream), 0);
    event = peer_next(stream, QWEND_EV_ERROR);
    assert_int_equal(event.code, 603);
    qwend_stream_free(stream);
    assert_int_equal(qwend_use_cancel(peer.q), 0);
    assert_int_equal(qwend_use_cancel(peer.q), QWEND_REFUSED);
    assert_int_equal(qwend_error_code(peer.q), 206);
    peer_close_received(&peer, "Cancel stream=1", "Use stream=3 END cancel=1", "Use stream=5 END cancel=1");
}

static void test_a_path_that_cannot_be_is_not_asked_for(void **state)
{
    struct peer peer = peer_open("accept\neof\n", 0);
    qwend_stream *stream;

    assert_int_equal(qwend_use(peer.q, "x.gguf", NULL, NULL, &stream), -EINVAL);
    assert_string_equal(qwend_error(peer.q), "\"x.gguf\" does not begin at the root");
    assert_int_equal(qwend_use(peer.q, "/x\xff", NULL, NULL, &stream), -EILSEQ);
    free(peer_close(&peer));
}

static void test_status_says_what_is_served_and_what_comes(void **state)
{
    struct peer peer =
        peer_open("accept\nawait Status\nsend StatusReply+end model_path=\"/a.gguf\" use_path=\"/b.gguf\" "
                  "use={stage=DRAINING left=7}\nawait Status\nsend StatusReply+end state=SERVING\neof\n",
                  0);
    qwend_status_info info;
    qwend_served served;

    assert_int_equal(qwend_status_served(peer.q, &served), -EINVAL);
    assert_int_equal(qwend_status(peer.q, &info), 0);
    assert_int_equal(qwend_status_served(peer.q, &served), 0);
    assert_string_equal(served.path, "/a.gguf");
    assert_string_equal(served.next_path, "/b.gguf");
    assert_string_equal(served.next_stage, "draining");
    assert_int_equal(served.next_left, 7);
    assert_int_equal(qwend_status(peer.q, &info), 0);
    assert_int_equal(qwend_status_served(peer.q, &served), 0);
    assert_string_equal(served.path, "");
    assert_string_equal(served.next_stage, "");
    free(peer_close(&peer));
}

static void test_the_name_is_the_one_served_now(void **state)
{
    struct peer peer =
        peer_open("accept\nawait Status\nserved\nsend StatusReply+end\nawait Status\n"
                  "served model={name=\"new\"}\nserved model={name=\"newer\"}\nsend StatusReply+end\neof\n",
                  0);
    qwend_status_info info;

    assert_string_equal(qwend_model_name(peer.q), "tiny");
    assert_int_equal(qwend_status(peer.q, &info), 0);
    assert_string_equal(qwend_model_name(peer.q), "tiny"); /* a Served that names none says nothing */
    assert_int_equal(qwend_status(peer.q, &info), 0);
    assert_string_equal(qwend_model_name(peer.q), "newer");
    free(peer_close(&peer));
}

static void test_what_does_not_belong_breaks_the_connection(void **state)
{
    struct peer peer = peer_open("accept\nawait Use\nsend Delta text=\"x\"\neof\n", 0);
    qwend_stream *stream;
    qwend_event event;

    assert_int_equal(qwend_use(peer.q, "/x", NULL, NULL, &stream), 0);
    assert_int_equal(qwend_next(stream, &event), -EPROTO);
    qwend_stream_free(stream);
    free(peer_close(&peer));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_progress_then_one_line),
        cmocka_unit_test(test_a_late_caller_gets_the_newest),
        cmocka_unit_test(test_it_is_called_off),
        cmocka_unit_test(test_a_path_that_cannot_be_is_not_asked_for),
        cmocka_unit_test(test_status_says_what_is_served_and_what_comes),
        cmocka_unit_test(test_the_name_is_the_one_served_now),
        cmocka_unit_test(test_what_does_not_belong_breaks_the_connection),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
