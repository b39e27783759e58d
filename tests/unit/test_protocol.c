/* test_protocol.c - docs/PROTOCOL.md against the code: its example exchange byte for byte, its caps, its
 * types and codes.
 *
 *     test_protocol DOC            checks
 *     test_protocol DOC --print    prints the generated blocks, to be pasted into DOC after a change
 *
 * A generated block stands between "<!-- NAME -->" and "<!-- end -->". */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "proto/frame.h"
#include "proto/status.h"
#include "proto/wire.h"
#include "proto/wire_caps.h"
#include "qwend.pb-c.h"
#include "tests/fuzz/gen.h"

static const char *doc_path;
static char *doc_text;

/* the example */

struct exchange {
    FILE *out;
    struct buf wire;
};

static void exchange_put_hex(struct exchange *x, const char *label, const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        fprintf(x->out, "%s%02x", i % 24 ? " " : i ? "\n         " : label, bytes[i]);
    fputc('\n', x->out);
}

static void exchange_put_preface(struct exchange *x, const char *from)
{
    assert_int_equal(frame_preface_put(&x->wire), 0);
    fprintf(x->out, "%s: preface\n", from);
    exchange_put_hex(x, "         ", buf_head(&x->wire), buf_size(&x->wire));
    buf_consume(&x->wire, buf_size(&x->wire));
}

/* One frame, and a proof that a receiver would take it. */
static void exchange_put_frame(struct exchange *x, const char *from, uint32_t stream, uint16_t type,
                               uint16_t flags, const ProtobufCMessage *message)
{
    size_t n = protobuf_c_message_get_packed_size(message);
    uint8_t *body = malloc(n + 1);
    struct fault fault = {0};
    struct frame frame;

    protobuf_c_message_pack(message, body);
    assert_int_equal(frame_put(&x->wire, stream, type, flags, body, n), 0);
    free(body);
    assert_int_equal(frame_next(&x->wire, FRAME_MAX_BYTES, &frame), FRAME_OK);
    if (wire_check(wire_message_type(type), frame.body, frame.length, &fault))
        fail_msg("%s", fault.text);
    fprintf(x->out, "%s: %s, stream %u%s\n", from, msg_type_name(type), stream,
            flags & FRAME_END_STREAM ? ", END_STREAM" : "");
    exchange_put_hex(x, "  header ", buf_head(&x->wire), FRAME_HEADER_BYTES);
    exchange_put_hex(x, "  body   ", frame.body, frame.length);
    frame_consume(&x->wire, &frame);
}

static void exchange_put_hello(struct exchange *x)
{
    Qwp__Hello hello = QWP__HELLO__INIT;
    Qwp__Welcome welcome = QWP__WELCOME__INIT;
    Qwp__Limits limits = QWP__LIMITS__INIT;

    hello.has_version_min = hello.has_version_max = true;
    hello.version_min = hello.version_max = 1;
    hello.client = (char *)"example 1.0";
    exchange_put_preface(x, "client");
    exchange_put_frame(x, "client", 0, MSG_HELLO, 0, &hello.base);
    limits.has_frame_bytes = limits.has_context = true;
    limits.frame_bytes = FRAME_MAX_BYTES;
    limits.context = 8192;
    welcome.has_version = welcome.has_connection = true;
    welcome.version = 1;
    welcome.connection = 7;
    welcome.server = (char *)"qwend 0.1.0";
    welcome.limits = &limits;
    welcome.backend = (char *)"cpu";
    exchange_put_preface(x, "broker");
    exchange_put_frame(x, "broker", 0, MSG_WELCOME, 0, &welcome.base);
}

static void exchange_put_generate(struct exchange *x)
{
    Qwp__Generate generate = QWP__GENERATE__INIT;
    Qwp__Sampling sampling = QWP__SAMPLING__INIT;
    Qwp__Message user = QWP__MESSAGE__INIT, *messages[] = {&user};
    Qwp__Prompt prompt = QWP__PROMPT__INIT;
    uint8_t body[64];

    user.role = (char *)"user";
    user.content = (char *)"Hi";
    prompt.n_messages = 1;
    prompt.messages = messages;
    sampling.has_temperature = true; /* 0: always the best token */
    generate.has_body = generate.has_max_tokens = generate.has_thinking = true;
    assert_in_range(protobuf_c_message_get_packed_size(&prompt.base), 1, sizeof(body));
    generate.body.len = protobuf_c_message_pack(&prompt.base, body);
    generate.body.data = body;
    generate.sampling = &sampling;
    generate.max_tokens = 16;
    generate.thinking = QWP__THINKING__THINKING_OFF;
    exchange_put_frame(x, "client", 1, MSG_GENERATE, 0, &generate.base);
}

static void exchange_put_answer(struct exchange *x)
{
    Qwp__Accepted accepted = QWP__ACCEPTED__INIT;
    Qwp__Delta delta = QWP__DELTA__INIT;
    Qwp__Usage usage = QWP__USAGE__INIT;

    accepted.has_position = accepted.has_prompt_tokens = true;
    accepted.prompt_tokens = 13;
    exchange_put_frame(x, "broker", 1, MSG_ACCEPTED, 0, &accepted.base);
    delta.has_seq = delta.has_channel = delta.has_text = true;
    delta.channel = QWP__CHANNEL__CHANNEL_ANSWER;
    delta.text = (ProtobufCBinaryData){6, (uint8_t *)"Hello!"};
    exchange_put_frame(x, "broker", 1, MSG_DELTA, 0, &delta.base);
    usage.has_prompt_tokens = usage.has_answer_tokens = usage.has_finish = usage.has_seed = true;
    usage.prompt_tokens = 13;
    usage.answer_tokens = 3;
    usage.finish = QWP__FINISH__FINISH_STOP;
    usage.seed = 42;
    exchange_put_frame(x, "broker", 1, MSG_USAGE, FRAME_END_STREAM, &usage.base);
}

static char *block_exchange(void)
{
    struct exchange x = {.wire = BUF_INIT(1 << 16)};
    char *text = NULL;
    size_t n;

    x.out = open_memstream(&text, &n);
    assert_non_null(x.out);
    fputs("```\n", x.out);
    exchange_put_hello(&x);
    exchange_put_generate(&x);
    exchange_put_answer(&x);
    fputs("```\n", x.out);
    fclose(x.out);
    buf_deinit(&x.wire);
    return text;
}

/* the caps of the client's protocol; engine.proto's are nobody else's business */

static char *block_caps(void)
{
    char *text = NULL;
    size_t n;
    FILE *out = open_memstream(&text, &n);

    assert_non_null(out);
    fputs("| field | elements | bytes of each |\n|---|---:|---:|\n", out);
    for (size_t i = 0; wire_caps_type(i); i++) {
        const ProtobufCMessageDescriptor *type = wire_caps_type(i);

        for (const struct wire_cap *cap = wire_caps_of(type); cap->field; cap++) {
            if (strncmp(type->name, "qwp.", 4))
                continue;
            fprintf(out, "| %s.%s | ", type->short_name, cap->field);
            fprintf(out, cap->max_count ? "%u | " : "| ", cap->max_count);
            fprintf(out, cap->max_bytes ? "%u |\n" : "|\n", cap->max_bytes);
        }
    }
    fclose(out);
    return text;
}

/* the document */

static void check_block(const char *name, char *expected)
{
    char begin[64];
    const char *at, *end;

    snprintf(begin, sizeof(begin), "<!-- %s -->\n", name);
    at = strstr(doc_text, begin);
    assert_non_null(at);
    at += strlen(begin);
    end = strstr(at, "<!-- end -->");
    assert_non_null(end);
    if ((size_t)(end - at) != strlen(expected) || memcmp(at, expected, strlen(expected)))
        fail_msg("%s: block %s is out of date; `test_protocol %s --print` has the new one", doc_path, name,
                 doc_path);
    free(expected);
}

static void test_example_is_what_goes_over_the_wire(void **state)
{
    check_block("exchange", block_exchange());
}

static void test_caps_are_those_of_the_check(void **state)
{
    check_block("caps", block_caps());
}

static void test_every_frame_type_is_described(void **state)
{
    for (size_t i = 0; i < GEN_N_TYPES; i++) {
        char row[64];

        if (gen_types[i] >= MSG_E_START)
            continue;
        snprintf(row, sizeof(row), "| %u | %s |", gen_types[i], msg_type_name(gen_types[i]));
        if (!strstr(doc_text, row))
            fail_msg("%s lacks the row \"%s\"", doc_path, row);
    }
}

static void test_every_status_code_is_described(void **state)
{
    for (int code = 1; code < 1000; code++) {
        char row[64];

        snprintf(row, sizeof(row), "| %d | %s |", code, status_name(code));
        if (strcmp(status_name(code), "UNKNOWN") && !strstr(doc_text, row))
            fail_msg("%s lacks the row \"%s\"", doc_path, row);
    }
}

static int doc_read(void)
{
    FILE *file = fopen(doc_path, "r");
    size_t n;

    doc_text = calloc(1, 1 << 20);
    if (!file || !doc_text) {
        perror(doc_path);
        return 1;
    }
    n = fread(doc_text, 1, (1 << 20) - 1, file);
    fclose(file);
    return !n;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_example_is_what_goes_over_the_wire),
        cmocka_unit_test(test_caps_are_those_of_the_check),
        cmocka_unit_test(test_every_frame_type_is_described),
        cmocka_unit_test(test_every_status_code_is_described),
    };
    int r;

    doc_path = argc > 1 ? argv[1] : "docs/PROTOCOL.md";
    if (argc > 2) {
        char *exchange = block_exchange(), *caps = block_caps();

        printf("<!-- exchange -->\n%s<!-- end -->\n\n<!-- caps -->\n%s<!-- end -->\n", exchange, caps);
        free(exchange);
        free(caps);
        return 0;
    }
    if (doc_read())
        return 1;
    r = cmocka_run_group_tests(tests, NULL, NULL);
    free(doc_text);
    return r;
}
