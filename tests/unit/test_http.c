/* test_http.c - the parts of qwend-http that need no socket: heads, chunks, shares, keys, JSON both ways,
 * prompt heads. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "client/http/calls.h"
#include "client/http/fnv.h"
#include "client/http/http1.h"
#include "client/http/jout.h"
#include "client/http/keys.h"
#include "client/http/normalise.h"
#include "client/http/owner.h"
#include "client/http/serve.h"

/* heads */

static int parse(const char *text, struct http1_head *head, struct fault *fault)
{
    static char copy[HTTP1_HEAD_BYTES + 512];

    snprintf(copy, sizeof(copy), "%s", text);
    assert_int_equal(http1_head_size(copy, strlen(copy)), strlen(text));
    return http1_parse(copy, strlen(text), head, fault);
}

static void test_a_head_says_what_counts(void **state)
{
    struct http1_head head;
    struct fault fault = {};

    assert_int_equal(parse("POST /a/b?c=d HTTP/1.1\r\nhost:  x \r\nContent-Length: 12\r\nExpect: "
                           "100-Continue\r\nCONNECTION: "
                           "foo, Close\r\nX-Api-Key: k\r\nAuthorization: Bearer z\r\nOrigin: null\r\n\r\n",
                           &head, &fault),
                     HTTP1_OK);
    assert_string_equal(head.method, "POST");
    assert_string_equal(head.path, "/a/b");
    assert_string_equal(head.query, "c=d");
    assert_string_equal(head.host, "x");
    assert_string_equal(head.api_key, "k");
    assert_string_equal(head.authorization, "Bearer z");
    assert_string_equal(head.origin, "null");
    assert_true(head.has_length && head.n_body == 12 && head.expects_continue && !head.keep_alive &&
                !head.chunked);
    assert_int_equal(parse("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", &head, &fault), HTTP1_OK);
    assert_true(head.keep_alive && head.minor == 0);
}

static void test_a_head_is_whole_or_not_there(void **state)
{
    assert_int_equal(http1_head_size("GET / HTTP/1.1\r\n\r", 17), 0);
    assert_int_equal(http1_head_size("GET / HTTP/1.1\r\n\r\nrest", 22), 18);
    assert_int_equal(http1_head_size(NULL, 0), 0);
}

/* Whatever the pieces, the same body. */
static void test_chunks_are_read_in_any_pieces(void **state)
{
    static const char text[] = "4\r\nWiki\r\nA\r\n0123456789\r\n0\r\nT: x\r\n\r\nrest";

    for (size_t step = 1; step < sizeof(text); step++) {
        struct http1_chunks chunks = {};
        char body[64] = "";
        size_t at = 0, n_body = 0, end = 0;

        while (chunks.state != CHUNKS_DONE) {
            const char *piece = NULL;
            size_t used, n;
            int r;

            if (at == end)
                end = MIN(end + step, sizeof(text) - 1);
            r = http1_chunk(&chunks, text + at, end - at, &used, &piece, &n);
            assert_in_range(r, HTTP1_OK, HTTP1_E_MORE);
            if (n)
                memcpy(body + n_body, piece, n);
            n_body += n;
            at += used;
        }
        assert_string_equal(body, "Wiki0123456789");
        assert_string_equal(text + at, "rest");
    }
}

/* shares */

static void test_a_second_owner_always_finds_room(void **state)
{
    const uint64_t limits[OWNER_WHATS] = {100, 100, 100};
    struct owners owners;
    struct owner *a, *b;

    owners_init(&owners, limits);
    a = owner_get(&owners, "a");
    b = owner_get(&owners, "b");
    assert_ptr_equal(owner_get(&owners, "a"), a);
    owner_put(a);
    assert_true(owner_charge(a, OWNER_BYTES, 50));
    assert_false(owner_charge(a, OWNER_BYTES, 1));
    assert_true(owner_charge(b, OWNER_BYTES, 25));
    assert_false(owner_charge(b, OWNER_BYTES, 1));
    owner_release(a, OWNER_BYTES, 50);
    assert_true(owner_charge(b, OWNER_BYTES, 25));
    assert_false(owner_charge(a, OWNER_BYTES, UINT64_MAX));
    owner_release(b, OWNER_BYTES, 50);
    assert_int_equal(owners.used[OWNER_BYTES], 0);
    owner_put(a);
    owner_put(b);
    owner_put(NULL);
    assert_true(list_is_empty(&owners.all));
}

/* JSON */

static void check_out(const struct buf *buf, const char *wanted)
{
    char text[512] = "";

    memcpy(text, buf_head(buf), MIN(buf_size(buf), sizeof(text) - 1));
    assert_string_equal(text, wanted);
}

static void test_written_json_is_escaped_and_exact(void **state)
{
    _cleanup_(buf_deinit) struct buf buf = BUF_INIT(512);
    struct jout j = {.buf = &buf};

    jout_open(&j, NULL, '{');
    jout_text(&j, "t", "a\"\\\n\x01\x7f\u00e9\xff\xc3", 10);
    jout_text(&j, "n", NULL, 0);
    jout_open(&j, "a", '[');
    jout_real(&j, NULL, 0.1f);
    jout_real(&j, NULL, -1e-30);
    jout_real(&j, NULL, 1.0 / 0.0);
    jout_int(&j, NULL, INT64_MIN);
    jout_close(&j, ']');
    jout_bool(&j, "b", true);
    jout_key_text(&j, "k", "x-", "y");
    jout_close(&j, '}');
    assert_int_equal(j.r, 0);
    check_out(&buf,
              "{\"t\":\"a\\\"\\\\\\n\\u0001\\u007f\u00e9\ufffd\ufffd\",\"n\":null,\"a\":[0.1,-1e-30,null,"
              "-9223372036854775808],\"b\":true,\"k\":\"x-y\"}");
}

static void test_written_json_that_does_not_fit_says_so(void **state)
{
    _cleanup_(buf_deinit) struct buf buf = BUF_INIT(8);
    struct jout j = {.buf = &buf};

    jout_text(&j, NULL, "0123456789", 10);
    assert_int_equal(j.r, BUF_E_FULL);
}

static void check_refused(read_fn *read, const char *json, int status, const char *param)
{
    struct ask ask = {};
    struct refusal refusal = {};

    assert_int_equal(serve_parse(&ask, json, strlen(json), read, &refusal), status);
    assert_int_equal(refusal.status, status);
    assert_string_equal(refusal.param, param);
    ask_deinit(&ask);
}

static void test_what_is_wrong_is_named(void **state)
{
    check_refused(chat_read,
                  "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":1}]}]}", 400,
                  "messages[0].content[0].text");
    check_refused(chat_read, "{\"stop\":[\"a\",\"\"]}", 400, "stop[1]");
    check_refused(chat_read, "{\"logit_bias\":{\"x\":1}}", 400, "logit_bias");
    check_refused(chat_read, "{\"logit_bias\":{\"7\":101}}", 400, "logit_bias[7]");
    check_refused(chat_read, "{\"seed\":1.5}", 400, "seed");
    check_refused(chat_read, "{\"stream_options\":{\"include_usage\":1}}", 400,
                  "stream_options.include_usage");
    check_refused(messages_read, "{\"max_tokens\":1,\"system\":[{\"type\":\"image\"}]}", 400,
                  "system[0].type");
    check_refused(responses_read, "{\"input\":[{\"type\":\"item_reference\"}]}", 400, "input[0].type");
    check_refused(ollama_chat_read, "{\"options\":{\"num_predict\":\"x\"}}", 400, "options.num_predict");
    check_refused(infill_read, "{\"input_extra\":[{\"text\":1}]}", 400, "input_extra[0].text");
}

/* prompt heads */

static struct normalise_memory memory;

static const char *turn_text(const struct turn *turn)
{
    static char text[512];

    snprintf(text, sizeof(text), "%.*s", (int)buf_size(&turn->text), jout_buf_text(&turn->text));
    return text;
}

static struct ask read_messages(const char *json)
{
    struct ask ask = {};
    struct refusal refusal = {};

    assert_int_equal(serve_parse(&ask, json, strlen(json), count_read, &refusal), 0);
    return ask;
}

static void test_a_billing_line_goes_and_a_budget_moves(void **state)
{
    _cleanup_(ask_deinit) struct ask ask =
        read_messages("{\"system\":[{\"type\":\"text\",\"text\":\"x-anthropic-billing-header: "
                      "cch=1a2b;\"},{\"type\":\"text\",\"text\":\"You "
                      "are.\"},{\"type\":\"text\",\"text\":\"<total_tokens>99 tokens "
                      "left</total_tokens>\"}],\"messages\":[{\"role\":\"user\","
                      "\"content\":\"first\"},{\"role\":\"assistant\",\"content\":\"yes\"},{\"role\":"
                      "\"user\",\"content\":\"last\"}]}");

    assert_int_equal(normalise_turns(&ask, &memory, "uid:1"), 3);
    assert_string_equal(turn_text(&ask.turns[0]), "You are.\n");
    assert_string_equal(turn_text(&ask.turns[1]), "first");
    assert_string_equal(turn_text(&ask.turns[3]), "last\n\n<total_tokens>99 tokens left</total_tokens>");
    assert_int_equal(normalise_turns(&ask, &memory, "uid:1"), 0);
}

static void test_what_only_looks_like_it_stays(void **state)
{
    static const char *const systems[] = {"See x-anthropic-billing-header: a", "<total_tokens>open", "plain",
                                          "See Today's date"};

    for (size_t i = 0; i < ARRAY_SIZE(systems); i++) {
        char json[256];
        struct ask ask;

        snprintf(json, sizeof(json),
                 "{\"system\":\"%s\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}", systems[i]);
        ask = read_messages(json);
        assert_int_equal(normalise_turns(&ask, &memory, "uid:1"), 0);
        assert_string_equal(turn_text(&ask.turns[0]), systems[i]);
        ask_deinit(&ask);
    }
}

/* What becomes of a system message's end, which is about `status` on `date`. */
static unsigned normalise_head_of(const char *owner, const char *rules, const char *date, const char *status,
                                  struct ask *ret_ask)
{
    char json[1024];

    snprintf(
        json, sizeof(json),
        "{\"system\":\"%s\\n<env>\\n  Today's date: %s\\n</env>\\n\\ngitStatus: at the start.\\n\\nStatus:"
        "\\n%s\\n\\nRecent commits:\\nab12 first\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}",
        rules, date, status);
    *ret_ask = read_messages(json);
    return normalise_turns(ret_ask, &memory, owner);
}

static void test_what_changes_moves_once_it_has_changed(void **state)
{
    static const struct {
        const char *owner, *rules, *date, *status;
        unsigned applied;
    } turns[] = {
        {"uid:1", "Rules.", "2026-11-26", "clean", 0},     {"uid:1", "Rules.", "2026-11-26", "clean", 0},
        {"uid:2", "Rules.", "2026-11-26", "M a.c", 0},     {"uid:1", "Other.", "2026-11-26", "M a.c", 0},
        {"uid:1", "Rules.", "2026-11-26", "M a.c", 4 | 8}, {"uid:1", "Rules.", "2026-11-26", "M a.c", 4 | 8},
        {"uid:1", "Rules.", "2026-11-27", "clean", 4 | 8}, {"uid:2", "Rules.", "2026-11-26", "M a.c", 0},
    };

    memory = (struct normalise_memory){};
    for (size_t i = 0; i < ARRAY_SIZE(turns); i++) {
        struct ask ask;

        assert_int_equal(
            normalise_head_of(turns[i].owner, turns[i].rules, turns[i].date, turns[i].status, &ask),
            turns[i].applied);
        if (turns[i].applied) {
            assert_string_equal(turn_text(&ask.turns[0]), "Rules.\n<env>\n  </env>\n\n");
            assert_non_null(strstr(turn_text(&ask.turns[1]), "x\n\ngitStatus: at the start.\n\nStatus:\n"));
            assert_non_null(strstr(turn_text(&ask.turns[1]), "ab12 first\n\nToday's date: "));
        }
        ask_deinit(&ask);
    }
}

/* Its memory is of one size: the head that was not seen for the longest time is forgotten. */
static void test_heads_beyond_the_cap_are_forgotten(void **state)
{
    char rules[32];
    struct ask ask;

    memory = (struct normalise_memory){};
    for (int i = 0; i <= NORMALISE_HEADS; i++) {
        snprintf(rules, sizeof(rules), "Rules %d.", i);
        assert_int_equal(normalise_head_of("uid:1", rules, "1", "clean", &ask), 0);
        ask_deinit(&ask);
    }
    assert_int_equal(normalise_head_of("uid:1", "Rules 1.", "2", "clean", &ask), 4 | 8);
    ask_deinit(&ask);
    assert_int_equal(normalise_head_of("uid:1", "Rules 0.", "2", "clean", &ask), 0);
    ask_deinit(&ask);
}

static void test_a_part_that_is_too_long_stays(void **state)
{
    static char status[9000], json[10000];
    struct ask ask;

    memory = (struct normalise_memory){};
    memset(status, 'M', sizeof(status) - 1);
    for (int i = 0; i < 2; i++) {
        status[0] = (char)('0' + i);
        snprintf(json, sizeof(json),
                 "{\"system\":\"gitStatus: %s\\nRecent commits:\\n\",\"messages\":[{\"role\":\"user\","
                 "\"content\":\"x\"}]}",
                 status);
        ask = read_messages(json);
        assert_int_equal(normalise_turns(&ask, &memory, "uid:1"), 0);
        ask_deinit(&ask);
    }
}

/* The template has one system message, at its front. */
static void test_system_messages_go_where_the_template_has_room(void **state)
{
    struct ask ask = read_messages("{\"messages\":[{\"role\":\"system\",\"content\":\"b\"},{\"role\":"
                                   "\"user\",\"content\":\"c\"},{\"role\":"
                                   "\"system\",\"content\":\"d\"},{\"role\":\"assistant\",\"content\":\"e\"},"
                                   "{\"role\":\"system\",\"content\":"
                                   "\"f\"},{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\","
                                   "\"content\":\"g\"}]},{\"role\":\"system\","
                                   "\"content\":\"<total_tokens>h</total_tokens>\"}],\"system\":\"a\"}");
    static const struct {
        qwend_role role;
        const char *text;
    } turns[] = {{QWEND_SYSTEM, "a\n\nb"},
                 {QWEND_USER, "c\n\nd"},
                 {QWEND_ASSISTANT, "e"},
                 {QWEND_USER, "f"},
                 {QWEND_TOOL, "g\n\n<total_tokens>h</total_tokens>"}};

    assert_int_equal(ask.n_turns, ARRAY_SIZE(turns));
    for (size_t i = 0; i < ARRAY_SIZE(turns); i++) {
        assert_int_equal(ask.turns[i].role, turns[i].role);
        assert_string_equal(turn_text(&ask.turns[i]), turns[i].text);
    }
    ask_deinit(&ask);
}

/* calls of tools in an answer */

struct heard {
    struct buf said; /* text as it is, a call as {NAME ARGUMENTS} */
};

static int hear_text(void *arg, const char *text, size_t n)
{
    return buf_append(&((struct heard *)arg)->said, text, n);
}

static int hear_call(void *arg, const char *name, const char *arguments, size_t n)
{
    struct heard *heard = arg;
    int r = buf_append(&heard->said, "{", 1);

    if (!r)
        r = buf_append(&heard->said, name, strlen(name));
    if (!r)
        r = buf_append(&heard->said, " ", 1);
    if (!r)
        r = buf_append(&heard->said, arguments, n);
    return r ? r : buf_append(&heard->said, "}", 1);
}

/* The same in whatever pieces. */
static void check_calls(const char *text, const char *wanted)
{
    static const char schema[] = "{\"f\":{\"properties\":{\"s\":{\"type\":\"string\"},\"i\":{\"type\":"
                                 "\"integer\"},\"b\":{\"type\":\"boolean\"},"
                                 "\"o\":{\"type\":[\"string\",\"null\"]},\"l\":{\"type\":\"array\"}}}}";
    json_t *tools = json_loads(schema, 0, NULL);
    const size_t n = strlen(text);

    for (size_t step = 1; step <= n; step = step < 40 ? step + 1 : step * 2) {
        struct heard heard = {.said = BUF_INIT(4 << 20)};
        const struct calls_sink sink = {hear_text, hear_call, &heard};
        struct calls calls;

        calls_init(&calls, tools);
        for (size_t at = 0; at < n; at += step)
            assert_int_equal(calls_push(&calls, text + at, MIN(step, n - at), &sink), 0);
        assert_int_equal(calls_end(&calls, &sink), 0);
        assert_int_equal(buf_append(&heard.said, "", 1), 0);
        assert_string_equal((const char *)buf_head(&heard.said), wanted);
        buf_deinit(&heard.said);
        calls_deinit(&calls);
    }
    json_decref(tools);
}

static void test_calls_are_found_in_any_pieces(void **state)
{
    check_calls("plain <tool text", "plain <tool text");
    check_calls(
        "I look.\n\n<tool_call>\n<function=f>\n<parameter=s>\nls -l\n</parameter>\n</function>\n</tool_call>",
        "I look.{f {\"s\":\"ls -l\"}}");
    check_calls("<tool_call>\n<function=f>\n</function>\n</tool_call>\n<tool_call>\n<function=g>\n</"
                "function>\n</tool_call>\n",
                "{f {}}{g {}}");
    check_calls("<tool_call><function=f><parameter=i>7</parameter><parameter=b>True</parameter></function></"
                "tool_call>",
                "{f {\"i\":7,\"b\":true}}");
    check_calls(
        "<tool_call>\n<function=f>\n<parameter=s>\n12\n</parameter>\n<parameter=o>\nnull\n</parameter>\n"
        "<parameter=l>\n[1, "
        "\"x\"]\n</parameter>\n<parameter=i>\nseven\n</parameter>\n</function>\n</tool_call>",
        "{f {\"s\":\"12\",\"o\":null,\"l\":[1,\"x\"],\"i\":\"seven\"}}");
    check_calls("<tool_call>\n<function=new>\n<parameter=x>\n1.5\n</parameter>\n<parameter=y>\nhe "
                "said\n</parameter>\n</function>\n</tool_call>",
                "{new {\"x\":1.5,\"y\":\"he said\"}}");
    /* Marks within a value, and a value of lines. */
    check_calls("<tool_call>\n<function=f>\n<parameter=s>\n</parameter>\n\na\n</tool_cal\n</parameter>\n</"
                "function>\n</tool_call>",
                "{f {\"s\":\"</parameter>\\n\\na\\n</tool_cal\"}}");
}

static void test_what_is_no_call_is_text(void **state)
{
    static const char *const texts[] = {
        "<tool_call>\n</tool_call>",
        "<tool_call>\n<function=>\n</function>\n</tool_call>",
        "a \n<tool_call>\n<function=f>",
        "<tool_call>\n<function=f>\n<parameter=s>\nx\n</function>\n</tool_call>",
        "<tool_call>\n<function=f>\n</function>\nmore\n</tool_call>",
        "<tool_call>{\"name\": \"f\"}</tool_call>  ",
        "<<tool_call><tool_call>",
        "</tool_call>",
        "\n \n<tool_cal\n"};

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        check_calls(texts[i], texts[i]);
    /* What stands behind a call is not told, another call is. */
    check_calls(
        "<tool_call><function=f></function></tool_call> more <tool_call><function=f></function></tool_call>x",
        "{f {}}{f {}}");
    /* A text about calls does not hide one. */
    check_calls("say <tool_call> and:\n<tool_call>\n<function=f>\n</function>\n</tool_call>",
                "say <tool_call> and:{f {}}");
}

/* More blanks than are held before a mark are text, in one piece too. */
static void test_blanks_before_a_call_are_dropped_so_far(void **state)
{
    char text[200], wanted[100];

    snprintf(text, sizeof(text), "a%70s<tool_call><function=f></function></tool_call>", "");
    snprintf(wanted, sizeof(wanted), "a%6s{f {}}", "");
    check_calls(text, wanted);
}

/* What is known to be text waits for nothing. */
static void test_text_about_calls_is_told_at_once(void **state)
{
    char blanks[400];
    const char *const texts[] = {"a <tool_call> b", "a <tool_call>\n<func b", blanks};
    const size_t n_told[] = {15, 21, 13}; /* of the last one but what may belong to another mark */

    snprintf(blanks, sizeof(blanks), "a<tool_call>%65s<", "");
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        struct heard heard = {.said = BUF_INIT(1 << 10)};
        const struct calls_sink sink = {hear_text, hear_call, &heard};
        struct calls calls;

        calls_init(&calls, NULL);
        for (const char *at = texts[i]; *at; at++)
            assert_int_equal(calls_push(&calls, at, 1, &sink), 0);
        assert_int_equal(buf_size(&heard.said), n_told[i]);
        assert_int_equal(calls_end(&calls, &sink), 0);
        assert_int_equal(buf_size(&heard.said), strlen(texts[i]));
        assert_memory_equal(buf_head(&heard.said), texts[i], strlen(texts[i]));
        buf_deinit(&heard.said);
        calls_deinit(&calls);
    }
}

static void test_calls_have_caps(void **state)
{
    enum { N = CALLS_TEXT_BYTES + 100 };
    char *text = malloc(N + 1), name[CALLS_NAME_BYTES + 80];
    struct heard heard = {.said = BUF_INIT(4 << 20)};
    const struct calls_sink sink = {hear_text, hear_call, &heard};
    struct calls calls;

    memset(text, 'x', N);
    memcpy(text, "<tool_call><function=", 21);
    text[N] = '\0';
    calls_init(&calls, NULL);
    for (size_t at = 0; at < N; at += 1000) {
        assert_int_equal(calls_push(&calls, text + at, MIN(1000, N - at), &sink), 0);
        assert_in_range(calls.held.cap, 0, calls.held.max);
    }
    assert_int_equal(calls_end(&calls, &sink), 0);
    assert_int_equal(buf_size(&heard.said), N);
    assert_memory_equal(buf_head(&heard.said), text, N);
    free(text);
    buf_consume(&heard.said, buf_size(&heard.said));
    for (int i = 0; i < CALLS_MAX + 5; i++)
        assert_int_equal(calls_push(&calls, "<tool_call><function=f></function></tool_call>", 46, &sink), 0);
    assert_int_equal(calls.n, CALLS_MAX);
    assert_int_equal(buf_size(&heard.said), CALLS_MAX * 6);
    buf_deinit(&heard.said);
    calls_deinit(&calls);
    snprintf(name, sizeof(name), "<tool_call><function=%0*d></function></tool_call>", CALLS_NAME_BYTES + 1,
             0);
    check_calls(name, name);
}

/* other servers */

static void test_servers_are_chosen_by_weight_and_key(void **state)
{
    enum { N_KEYS = 20000 };
    static int chosen[N_KEYS];
    struct servers servers = {
        .n = 3, .all = {{.name = "a", .weight = 1}, {.name = "b", .weight = 3}, {.name = "c", .weight = 6}}};
    int counts[3] = {};

    for (uint64_t k = 0; k < N_KEYS; k++) {
        const uint64_t key = fnv_hash(FNV_INIT, &k, sizeof(k));

        chosen[k] = servers_pick(&servers, 7, key);
        assert_in_range(chosen[k], 0, 2);
        counts[chosen[k]]++;
        assert_int_equal(servers_pick(&servers, 7, key), chosen[k]);
        if (chosen[k] != 1) /* only the keys of one that leaves go elsewhere */
            assert_int_equal(servers_pick(&servers, 5, key), chosen[k]);
        assert_int_equal(servers_pick(&servers, 2, key), 1);
        assert_int_equal(servers_pick(&servers, 0, key), -1);
    }
    assert_in_range(counts[0], N_KEYS * 9 / 100, N_KEYS * 11 / 100); /* within 5 standard deviations */
    assert_in_range(counts[1], N_KEYS * 28 / 100, N_KEYS * 32 / 100);
}

static void test_what_left_is_counted_for_so_many_users(void **state)
{
    struct ledger ledger;
    char user[32];

    assert_int_equal(ledger_init(&ledger), 0);
    for (int i = 0; i < LEDGER_USERS + 10; i++) {
        snprintf(user, sizeof(user), "uid:%d", i);
        ledger_count(&ledger, user, 5);
        ledger_count(&ledger, user, 7);
    }
    assert_int_equal(ledger.n, LEDGER_USERS);
    assert_int_equal(ledger_find(&ledger, "uid:1022")->bytes, 12);
    assert_null(ledger_find(&ledger, "uid:1023"));
    assert_int_equal(ledger_find(&ledger, LEDGER_OTHERS)->requests, 2 * 11);
    assert_int_equal(ledger_find(&ledger, LEDGER_OTHERS)->bytes, 12 * 11);
    ledger_deinit(&ledger);
}

/* tools */

static int judge(const char *json, read_fn *read, enum ask_tool_mode mode, struct refusal *refusal)
{
    struct ask ask = {};
    int r = serve_parse(&ask, json, strlen(json), read, refusal);

    if (!r)
        r = ask_judge_tools(&ask, mode, refusal);
    if (!r && ask.has_tools)
        assert_non_null(strstr(ask.ignored, "tools"));
    ask_deinit(&ask);
    return r;
}

static void test_tools_are_refused_unless_none_need_be_called(void **state)
{
    static const struct {
        read_fn *read;
        const char *json;
        int refuse, ignore; /* statuses by the setting */
    } asked[] = {
        {responses_read, "{\"tools\":[{\"type\":\"web_search\"}],\"tool_choice\":\"auto\"}", 400, 0},
        {responses_read, "{\"tools\":[{}],\"tool_choice\":\"none\"}", 0, 0},
        {responses_read, "{\"tools\":[],\"tool_choice\":\"auto\"}", 0, 0},
        {responses_read, "{\"tools\":[{}],\"tool_choice\":\"required\"}", 400, 400},
        {responses_read, "{\"tools\":[{}],\"tool_choice\":{\"type\":\"allowed_tools\",\"mode\":\"auto\"}}",
         400, 0},
        {responses_read, "{\"tools\":[{}],\"tool_choice\":{\"type\":\"function\",\"name\":\"f\"}}", 400, 400},
        {chat_read, "{\"tools\":[{}]}", 400, 0},
        {chat_read, "{\"functions\":[{}],\"function_call\":\"none\"}", 0, 0},
        {chat_read, "{\"tool_choice\":7}", 400, 400},
        {chat_read, "{\"tools\":{}}", 400, 400},
        {count_read, "{\"tools\":[{}],\"tool_choice\":{\"type\":\"auto\"}}", 400, 0},
        {count_read, "{\"tools\":[{}],\"tool_choice\":{\"type\":\"any\"}}", 400, 400},
        {ollama_chat_read, "{\"tools\":[{}]}", 400, 0},
    };

    for (size_t i = 0; i < ARRAY_SIZE(asked); i++) {
        struct refusal refusal = {};

        assert_int_equal(judge(asked[i].json, asked[i].read, ASK_REFUSE_TOOLS, &refusal), asked[i].refuse);
        assert_int_equal(judge(asked[i].json, asked[i].read, ASK_IGNORE_TOOLS, &refusal), asked[i].ignore);
    }
}

/* The model would be shown all of them. */
static void test_a_choice_among_tools_is_refused(void **state)
{
    static const char narrow[] = "{\"tools\":[{\"type\":\"function\",\"name\":\"f\"}],"
                                 "\"tool_choice\":{\"type\":\"allowed_tools\",\"mode\":\"%s\"}}";
    struct refusal refusal = {};
    char json[200];

    snprintf(json, sizeof(json), narrow, "auto");
    assert_int_equal(judge(json, responses_read, ASK_CALL_TOOLS, &refusal), 400);
    assert_string_equal(refusal.param, "tool_choice");
    snprintf(json, sizeof(json), narrow, "none");
    assert_int_equal(judge(json, responses_read, ASK_CALL_TOOLS, &refusal), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_head_says_what_counts),
        cmocka_unit_test(test_a_head_is_whole_or_not_there),
        cmocka_unit_test(test_chunks_are_read_in_any_pieces),
        cmocka_unit_test(test_a_second_owner_always_finds_room),
        cmocka_unit_test(test_written_json_is_escaped_and_exact),
        cmocka_unit_test(test_written_json_that_does_not_fit_says_so),
        cmocka_unit_test(test_what_is_wrong_is_named),
        cmocka_unit_test(test_a_billing_line_goes_and_a_budget_moves),
        cmocka_unit_test(test_what_only_looks_like_it_stays),
        cmocka_unit_test(test_what_changes_moves_once_it_has_changed),
        cmocka_unit_test(test_heads_beyond_the_cap_are_forgotten),
        cmocka_unit_test(test_a_part_that_is_too_long_stays),
        cmocka_unit_test(test_system_messages_go_where_the_template_has_room),
        cmocka_unit_test(test_tools_are_refused_unless_none_need_be_called),
        cmocka_unit_test(test_a_choice_among_tools_is_refused),
        cmocka_unit_test(test_calls_are_found_in_any_pieces),
        cmocka_unit_test(test_what_is_no_call_is_text),
        cmocka_unit_test(test_blanks_before_a_call_are_dropped_so_far),
        cmocka_unit_test(test_text_about_calls_is_told_at_once),
        cmocka_unit_test(test_calls_have_caps),
        cmocka_unit_test(test_servers_are_chosen_by_weight_and_key),
        cmocka_unit_test(test_what_left_is_counted_for_so_many_users),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
