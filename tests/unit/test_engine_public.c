/* test_engine_public.c - beginnings that the administrator publishes, in the engine.
 *
 * Everybody's request that begins so reads on behind it and says the same as without; of each other's, users
 * find nothing; what cannot be kept is refused with the numbers and changes nothing else. */
#include "engine_peer.h"
#include "engine_watch.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

static char test_model[4096];

enum {
    CONTEXT = 2048,
    SLOTS = 2,
    CACHE_MIB = 64,
    SEALS = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE
};

static const char rules[] =
    "You answer questions about one machine, in one sentence, with the numbers that matter and nothing else. "
    "If you do not know, say so; never guess.  Name the file and the line.  Units are those of the SI, and "
    "times are given in UTC.";
static const char tool[] = "{\"type\":\"function\",\"function\":{\"name\":\"ls\",\"parameters\":{}}}";

static Qwe__Start start_message(uint32_t cache_mib, uint32_t slots)
{
    Qwe__Start start = QWE__START__INIT;

    start.model_path = test_model;
    start.backend = "cpu";
    start.has_context = start.has_slots = start.has_threads = start.has_cache_mib = 1;
    start.context = CONTEXT;
    start.slots = slots;
    start.threads = 1;
    start.cache_mib = cache_mib;
    return start;
}

static struct peer *start(uint32_t cache_mib, uint32_t slots)
{
    const Qwe__Start message = start_message(cache_mib, slots);

    return peer_start_with(&message);
}

static void put(struct peer *peer, uint32_t handle, const char *text, size_t n, int seals)
{
    Qwe__Publish publish = QWE__PUBLISH__INIT;

    publish.name = "rules";
    peer_put(peer, handle, MSG_E_PUBLISH, &publish.base, peer_memfd(text, n, seals));
}

static const struct peer_stream *publish(struct peer *peer, uint32_t handle, const char *text)
{
    const struct peer_stream *s = peer_stream(peer, handle);

    put(peer, handle, text, strlen(text), SEALS);
    for (int i = 0; !s->published; i++) {
        assert_int_equal(peer_turn(peer), 0);
        assert_true(i < 1000);
    }
    return s;
}

static void unpublish(struct peer *peer, uint32_t handle)
{
    const Qwe__Unpublish none = QWE__UNPUBLISH__INIT;

    peer_put(peer, handle, MSG_E_UNPUBLISH, &none.base, -1);
    assert_int_equal(peer_turn(peer), 0);
}

/* A chat with the system message and a question; tools: with the one tool. */
static const struct peer_stream *ask(struct peer *peer, uint32_t handle, uint32_t uid, const char *system,
                                     const char *question, bool tools)
{
    Qwp__Message messages[] = {QWP__MESSAGE__INIT, QWP__MESSAGE__INIT},
                 *list[] = {&messages[0], &messages[1]};
    char *tool_list[] = {(char *)tool};
    Qwp__Prompt prompt = QWP__PROMPT__INIT;
    struct peer_request q = {
        .handle = handle, .whole = &prompt, .max_tokens = 8, .uid = uid, .ignore_eos = true};

    messages[0].role = "system";
    messages[0].content = (char *)system;
    messages[1].role = "user";
    messages[1].content = (char *)question;
    prompt.messages = list;
    prompt.n_messages = 2;
    prompt.tools = tool_list;
    prompt.n_tools = tools;
    q.no_cache = !uid;
    peer_submit(peer, &q);
    return peer_finish(peer, handle);
}

static void check_same(const struct peer_stream *a, const struct peer_stream *b)
{
    assert_false(a->refused || b->refused);
    assert_int_equal(a->prompt_tokens, b->prompt_tokens);
    assert_int_equal(a->n_ids, b->n_ids);
    assert_memory_equal(a->ids, b->ids, sizeof(*a->ids) * (size_t)a->n_ids);
}

static void test_public_begins_everybodys_request(void **state)
{
    static const char question[] =
        "Which of the processes of this machine takes most of its memory, how much is that, and since when?";
    struct peer *peer = start(CACHE_MIB, SLOTS);
    const struct peer_stream *published = publish(peer, 1, rules), *s;

    assert_int_equal(published->code, 0);
    assert_in_range(published->public_tokens, 50, 300);
    for (uint32_t uid = 1000; uid < 1002; uid++) {
        s = ask(peer, uid, uid, rules, question, false);
        assert_int_equal(s->cached_tokens, published->public_tokens);
        check_same(s, ask(peer, uid + 10, 0, rules, question, false));
        assert_int_equal(peer_stream(peer, uid + 10)->cached_tokens, 0);
    }
    /* his own is longer, and only his */
    s = ask(peer, 2000, 1000, rules, question, false);
    assert_true(s->cached_tokens > published->public_tokens);
    s = ask(peer, 2001, 1002, rules, question, false);
    assert_int_equal(s->cached_tokens, published->public_tokens);
    /* white space around it is not part of a message */
    s = ask(peer, 2002, 1003, "You answer questions.", "Which process?", false);
    assert_int_equal(s->cached_tokens, 0);
    peer_free(peer);
}

static void test_public_may_have_tools(void **state)
{
    static char text[1000];
    struct peer *peer = start(CACHE_MIB, SLOTS);
    const struct peer_stream *published, *s;

    snprintf(text, sizeof(text), " \n{\"tools\": [%s], \"system\": \"%s\"}\n", tool, rules);
    published = publish(peer, 1, text);
    assert_int_equal(published->code, 0);
    s = ask(peer, 2, 1000, rules, "Which files are there?", true);
    assert_int_equal(s->cached_tokens, published->public_tokens);
    check_same(s, ask(peer, 3, 0, rules, "Which files are there?", true));
    assert_int_equal(ask(peer, 4, 1000, rules, "Which files are there?", false)->cached_tokens, 0);
    snprintf(text, sizeof(text), "{\"tools\": [%s]}", tool);
    assert_true(publish(peer, 5, text)->public_tokens > 100);
    peer_free(peer);
}

static void check_refused(struct peer *peer, uint32_t handle, const char *text, const char *why)
{
    const struct peer_stream *s = publish(peer, handle, text);

    assert_true(s->code && !s->public_tokens);
    if (!strstr(s->text, why))
        fail_msg("'%s' has no '%s'", s->text, why);
}

static void test_public_that_cannot_be_is_refused_with_the_reason(void **state)
{
    static char text[16000];
    struct peer *peer = start(CACHE_MIB, SLOTS);
    const struct peer_stream *good = publish(peer, 1, rules);

    check_refused(peer, 2, "", "tokens, fewer than 32");
    check_refused(peer, 3, "{\"system\": ", "byte");
    check_refused(peer, 4, "{\"sistem\": \"x\"}", "its member 1 is neither \"system\" nor \"tools\"");
    check_refused(peer, 5, "{\"system\": 3}", "\"system\" is no string");
    check_refused(peer, 6, "{\"tools\": {}}", "\"tools\" is no array");
    check_refused(peer, 7, "{}", "neither a system message nor tools");
    check_refused(peer, 8, "{\"system\": \"a\\u0000b\"}", "NUL");
    check_refused(peer, 9, "\xff\xfe is no UTF-8 and long enough to be read as a text of its own, is it",
                  "UTF-8");
    for (size_t i = 0; i + 1 < sizeof(text); i++)
        text[i] = i % 7 ? (char)('a' + i * i % 26) : ' ';
    check_refused(peer, 10, text, "a request's context is 2048");
    put(peer, 11, rules, strlen(rules), F_SEAL_SHRINK);
    assert_int_equal(peer_turn(peer), 0);
    assert_non_null(strstr(peer_stream(peer, 11)->text, "sealed"));
    put(peer, 12, "a\0b", 3, SEALS);
    assert_int_equal(peer_turn(peer), 0);
    assert_non_null(strstr(peer_stream(peer, 12)->text, "byte 1 of it is NUL"));
    assert_int_equal(ask(peer, 20, 1000, rules, "Which?", false)->cached_tokens, good->public_tokens);
    peer_free(peer);
    /* no more than half of the cache */
    peer = start(1, SLOTS);
    text[1500] = 0;
    check_refused(peer, 1, text, "in half of the cache");
    check_refused(peer, 2, text, "in half of the cache");
    peer_free(peer);
    peer = start(0, SLOTS);
    check_refused(peer, 1, rules, "there is no prefix cache");
    assert_false(ask(peer, 2, 1000, rules, "Which?", false)->refused);
    peer_free(peer);
}

static void test_public_is_taken_back(void **state)
{
    struct peer *peer = start(CACHE_MIB, SLOTS);

    publish(peer, 1, rules);
    ask(peer, 2, 1000, rules, "Which?", false);
    unpublish(peer, 1);
    assert_int_equal(prefix_used_bytes(peer->e.prefix), 0);
    assert_int_equal(peer->e.pages.n_free, peer->e.pages.n);
    assert_int_equal(ask(peer, 3, 1001, rules, "Which?", false)->cached_tokens, 0);
    /* in the middle of its reading, and before it */
    put(peer, 4, rules, strlen(rules), SEALS);
    assert_int_equal(peer_turn(peer), 0);
    assert_non_null(peer->e.publishing.seq);
    unpublish(peer, 4);
    assert_null(peer->e.publishing.item);
    assert_false(peer_stream(peer, 4)->published);
    assert_true(publish(peer, 5, rules)->public_tokens > 0);
    unpublish(peer, 77); /* refused while this was under way */
    for (uint32_t i = 1; i < ENGINE_PUBLICS_MAX; i++) {
        char text[400];

        snprintf(text, sizeof(text), "%u: %s", i, rules);
        assert_true(publish(peer, 100 + i, text)->public_tokens > 0);
    }
    put(peer, 200, rules, strlen(rules), SEALS); /* the broker has a cap of its own */
    assert_int_equal(peer_turn(peer), -EBADMSG);
    peer_free(peer);
}

/* With one slot: it stands still for a request and goes on where it was. */
static void test_public_is_read_while_nothing_runs(void **state)
{
    struct peer *peer = start(CACHE_MIB, 1);
    const struct peer_stream *s;
    int n_read;

    put(peer, 1, rules, strlen(rules), SEALS);
    peer->e.sched.cost = (struct sched_cost){.step_ns = 1, .tok_ns = 250e6 / 40}; /* pieces of 40 tokens */
    assert_int_equal(peer_turn(peer), 0);
    assert_non_null(peer->e.publishing.seq);
    n_read = peer->e.publishing.seq->n_read;
    assert_in_range(n_read, 32, 60);
    watch.n_forward_tok = 0;
    s = ask(peer, 2, 1000, "Be short.", "Which?", false);
    assert_int_equal(s->cached_tokens, 0);
    assert_false(peer_stream(peer, 1)->published);
    assert_int_equal(watch.n_forward_tok, s->prompt_tokens + 7); /* nothing but the request */
    assert_true(engine_publish_is_due(&peer->e));                /* it does not sleep */
    watch.n_forward_tok = 0;
    while (!peer_stream(peer, 1)->published)
        assert_int_equal(peer_turn(peer), 0);
    assert_int_equal(watch.n_forward_tok, (int)peer_stream(peer, 1)->public_tokens - n_read);
    assert_int_equal(prefix_n_public_ckpts(peer->e.prefix), 1);
    assert_int_equal(ask(peer, 3, 1001, rules, "Which?", false)->cached_tokens,
                     peer_stream(peer, 1)->public_tokens);
    peer_free(peer);
    /* with two it keeps its slot, and stands still as well */
    peer = start(CACHE_MIB, 2);
    put(peer, 1, rules, strlen(rules), SEALS);
    peer->e.sched.cost = (struct sched_cost){.step_ns = 1, .tok_ns = 250e6 / 40};
    assert_int_equal(peer_turn(peer), 0);
    n_read = peer->e.publishing.seq->n_read;
    watch.n_forward_tok = 0;
    s = ask(peer, 2, 1000, "Be short.", "Which?", false);
    assert_int_equal(watch.n_forward_tok, s->prompt_tokens + 7);
    assert_int_equal(peer->e.publishing.seq->n_read, n_read);
    peer_free(peer);
}

/* For who waits for a file of an earlier engine as well, and while his prompt's text is read. */
static void test_public_stands_still_for_who_is_about_to_run(void **state)
{
    char folder[] = "/tmp/qwend-test-public-XXXXXX", command[100];
    Qwe__Start message = start_message(CACHE_MIB, SLOTS);
    static int32_t ids[1500];
    struct peer_request q = {
        .handle = 1, .prompt = ids, .n_prompt = 1500, .max_tokens = 2, .uid = 1000, .ignore_eos = true};
    struct peer *peer;

    assert_non_null(mkdtemp(folder));
    message.cache_dir = folder;
    for (int i = 0; i < 1500; i++)
        ids[i] = 100 + i * i % 700;
    peer = peer_start_with(&message);
    peer_submit(peer, &q);
    peer_finish(peer, 1);
    engine_disk_stop(&peer->e);
    peer_free(peer);
    peer = peer_start_with(&message);
    put(peer, 9, rules, strlen(rules), SEALS);
    peer->e.sched.cost = (struct sched_cost){.step_ns = 1, .tok_ns = 250e6 / 4}; /* pieces of 4 tokens */
    assert_int_equal(peer_turn(peer), 0);
    assert_non_null(peer->e.publishing.seq);
    watch.n_forward_tok = 0;
    q.by_memfd = true; /* never read between two steps */
    peer_submit(peer, &q);
    while (!peer_stream(peer, 1)->started) {
        assert_int_equal(watch.n_forward_tok, 0);
        assert_int_equal(peer_turn(peer), 0);
    }
    assert_int_equal(peer_finish(peer, 1)->cached_tokens, 1499);
    assert_false(peer_stream(peer, 9)->published);
    while (!peer_stream(peer, 9)->published)
        assert_int_equal(peer_turn(peer), 0);
    peer_free(peer);
    snprintf(command, sizeof(command), "rm -r %s", folder);
    assert_int_equal(system(command), 0);
}

static void test_public_is_not_kept_if_numbers_break_behind_it(void **state)
{
    struct peer *peer = start(CACHE_MIB, SLOTS);
    struct peer_stream *published = peer_stream(peer, 1);

    publish(peer, 1, rules);
    published->published = false;
    watch.poison_row = 0;
    assert_true(ask(peer, 2, 1000, rules, "Which?", false)->refused);
    watch.poison_row = -1;
    assert_true(published->published);
    assert_int_equal(published->code, STATUS_NUMERICS);
    assert_int_equal(ask(peer, 3, 1001, rules, "Which?", false)->cached_tokens, 0);
    peer_free(peer);
}

/* Its slot is asked for between its last piece and the end. */
static void test_public_that_is_read_gives_its_slot_up(void **state)
{
    struct peer *peer = start(CACHE_MIB, 1);
    const struct peer_stream *s;

    put(peer, 1, rules, strlen(rules), SEALS);
    do {
        assert_int_equal(peer_turn(peer), 0);
        assert_non_null(peer->e.publishing.seq);
    } while (peer->e.publishing.seq->n_read < (int)peer->e.publishing.ids.n);
    s = ask(peer, 2, 1000, rules, "Which?", false);
    assert_false(s->refused);
    for (int i = 0; !peer_stream(peer, 1)->published; i++) {
        assert_int_equal(peer_turn(peer), 0);
        assert_true(i < 1000);
    }
    assert_int_equal(s->cached_tokens, peer_stream(peer, 1)->public_tokens);
    check_same(s, ask(peer, 3, 0, rules, "Which?", false));
    assert_int_equal(prefix_n_public_ckpts(peer->e.prefix), 1);
    assert_int_equal(ask(peer, 4, 1001, rules, "Which?", false)->cached_tokens,
                     peer_stream(peer, 1)->public_tokens);
    peer_free(peer);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_public_begins_everybodys_request),
        cmocka_unit_test(test_public_may_have_tools),
        cmocka_unit_test(test_public_that_cannot_be_is_refused_with_the_reason),
        cmocka_unit_test(test_public_is_taken_back),
        cmocka_unit_test(test_public_is_read_while_nothing_runs),
        cmocka_unit_test(test_public_that_is_read_gives_its_slot_up),
        cmocka_unit_test(test_public_stands_still_for_who_is_about_to_run),
        cmocka_unit_test(test_public_is_not_kept_if_numbers_break_behind_it),
    };

    if (argc != 2)
        return 2;
    snprintf(test_model, sizeof(test_model), "%s/models/d1-k256/d1-k256-Q4_K_M.gguf", argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
