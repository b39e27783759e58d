/* test_qwenctl_map.c - records, fields, templates, keys and journals of qwenctl map, without a daemon. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/qwenctl/map.h"

/* An input that gives a byte, or all, at a time. */
static int piece_bytes;
ssize_t __real_read(int fd, void *data, size_t n);
ssize_t __wrap_read(int fd, void *data, size_t n);
ssize_t __wrap_read(int fd, void *data, size_t n)
{
    return __real_read(fd, data, piece_bytes && n > (size_t)piece_bytes ? (size_t)piece_bytes : n);
}

static struct map_input input_of(const char *text, size_t n, enum opt_map_in in, bool nul)
{
    const struct opt_values values = {.map_in = in, .null = nul};
    const int fd = memfd_create("records", 0);
    struct map_input input;

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, n), n);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    assert_int_equal(map_input_init(&input, fd, &values), 0);
    return input;
}

static void input_end(struct map_input *input)
{
    close(input->fd);
    map_input_deinit(input);
}

/* The next record or what is wrong with it. */
static int input_get(struct map_input *input, struct map_record *record, struct fault *fault)
{
    int r;

    *fault = (struct fault){};
    while ((r = map_input_next(input, record, fault)) == MAP_E_AGAIN)
        assert_int_equal(map_input_fill(input), 0);
    return r;
}

/* wanted: "number:line:text" or "number:line!fault", a record each. */
static void check_records(const char *text, size_t n, enum opt_map_in in, bool nul, const char *const *wanted)
{
    for (piece_bytes = 0; piece_bytes < 4; piece_bytes++) {
        struct map_input input = input_of(text, n, in, nul);
        uint64_t n_counted = 0, n_seen = 0;
        const char *const *at = wanted;
        struct map_record record;
        struct fault fault;
        int r;

        assert_true(map_input_count(&input, &n_counted));
        while ((r = input_get(&input, &record, &fault)) != MAP_E_END) {
            char got[600];

            n_seen++;
            snprintf(got, sizeof(got), "%d:%d%c%s", (int)record.number, (int)record.line, r ? '!' : ':',
                     r ? fault.text : record.text);
            assert_non_null(*at);
            if (r ? strncmp(got, *at, strlen(*at)) : strcmp(got, *at))
                fail_msg("\"%s\" where \"%s\" is due (%d bytes at a time)", got, *at, piece_bytes);
            at++;
            map_record_deinit(&record);
        }
        assert_null(*at);
        assert_int_equal(n_counted, n_seen);
        input_end(&input);
    }
    piece_bytes = 0;
}
#define CHECK_RECORDS(text, in, nul, ...)                                                                    \
    check_records(text, sizeof(text) - 1, in, nul, (const char *const[]){__VA_ARGS__, NULL})

static void test_input_splits_each_format(void **state)
{
    CHECK_RECORDS("a\n\nb c\r\nlast", OPT_MAP_LINES, false, "1:1:a", "2:3:b c", "3:4:last");
    CHECK_RECORDS("\xef\xbb\xbf"
                  "a\n\xff\n",
                  OPT_MAP_LINES, false, "1:1:a", "2:2!not UTF-8: 0xff at byte 0");
    CHECK_RECORDS("a\nb\0\0c\0", OPT_MAP_NUL, false, "1:1:a\nb", "2:4:c");
    CHECK_RECORDS("{\"a\":1}\n \n[\n{\"a\":1,\"a\":2}\n\"x\"\n", OPT_MAP_NDJSON, false, "1:1:{\"a\":1}",
                  "2:3!not JSON", "3:4!not JSON: duplicate", "4:5:\"x\"");
    CHECK_RECORDS("a,b\n1,2\n\"x\ny\",\"q\"\"q\"\n3\n4\"5,6\n\"7\"8,9\n10,\"11", OPT_MAP_CSV, false,
                  "1:2:1,2", "2:3:\"x\ny\",\"q\"\"q\"", "3:5!1 fields where the first line names 2",
                  "4:6!a quote within", "5:7!text behind the closing quote",
                  "6:8!a quoted field does not end");
}

static void test_input_names_and_skips_what_is_too_long(void **state)
{
    const size_t n_long = MAP_RECORD_BYTES + 100000;
    char *text = malloc(2 * n_long + 16), *at = text;

    assert_non_null(text);
    at = stpcpy(at, "a\n");
    memset(at, 'x', n_long);
    at = stpcpy(at + n_long, "\nb\n");
    memset(at, 'y', n_long);
    at += n_long;
    piece_bytes = 0;
    struct map_input input = input_of(text, (size_t)(at - text), OPT_MAP_LINES, false);
    const char *const wanted[] = {"a", NULL, "b", NULL};
    struct map_record record;
    struct fault fault;

    for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
        assert_int_equal(input_get(&input, &record, &fault), wanted[i] ? MAP_OK : MAP_E_BAD);
        if (wanted[i])
            assert_string_equal(record.text, wanted[i]);
        else
            assert_non_null(strstr(fault.text, "longer than 8388608 bytes"));
        assert_int_equal(record.line, i + 1);
        map_record_deinit(&record);
    }
    assert_int_equal(input_get(&input, &record, &fault), MAP_E_END);
    input_end(&input);
    free(text);
}

static struct map_record record_of(const char *text, enum opt_map_in in)
{
    struct map_input input = input_of(text, strlen(text), in, false);
    struct map_record record;
    struct fault fault;

    assert_int_equal(input_get(&input, &record, &fault), MAP_OK);
    input_end(&input);
    return record;
}

static void check_template(const char *template, const char *record_text, enum opt_map_in in,
                           const char *wanted)
{
    struct map_record record = record_of(record_text, in);
    struct map_template t;
    struct fault fault = {};
    char *text = NULL;
    size_t n;
    int r;

    assert_int_equal(map_template_init(&t, template, &fault), CODE_OK);
    r = map_template_put(&t, &record, &text, &n, &fault);
    if (r)
        assert_non_null(strstr(fault.text, wanted));
    else
        assert_string_equal(text, wanted);
    free(text);
    map_template_deinit(&t);
    map_record_deinit(&record);
}

static void test_template_puts_fields_in_place(void **state)
{
    check_template("", "hi", OPT_MAP_LINES, "hi");
    check_template("Say:", "hi", OPT_MAP_LINES, "Say:\n\nhi");
    check_template("<{{.}}|{{ .text }}>", "hi", OPT_MAP_LINES, "<hi|hi>");
    check_template("{{x}} {{.}} }}", "hi", OPT_MAP_LINES, "{{x}} hi }}");
    check_template("{{.a.b.1}}{{.n}}{{.o}}", "{\"a\":{\"b\":[0,\"x\"]},\"n\":1.5,\"o\":{\"k\":null}}",
                   OPT_MAP_NDJSON, "x1.5{\"k\":null}");
    check_template("{{.}}", "{ \"a\": 1 }", OPT_MAP_NDJSON, "{ \"a\": 1 }");
    check_template("{{.b}}", "a,b\n1,2\n", OPT_MAP_CSV, "2");
    check_template("{{.c}}", "a,b\n1,2\n", OPT_MAP_CSV, "no field .c");
    check_template("{{.a.2}}", "{\"a\":[1,2]}", OPT_MAP_NDJSON, "no field");
    check_template("{{.a.-1}}", "{\"a\":[1,2]}", OPT_MAP_NDJSON, "no field");
}

static void test_template_refuses_what_cannot_be(void **state)
{
    const char *const wrong[] = {"{{.a", "{{..}}", "{{.a..b}}", "{{.a.}}"};
    char *many = calloc(1, 8 * (MAP_FIELDS + 2));
    struct map_template t;
    struct fault fault;

    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        fault = (struct fault){};
        assert_int_equal(map_template_init(&t, wrong[i], &fault), CODE_USAGE);
        assert_true(*fault.text);
        map_template_deinit(&t);
    }
    assert_non_null(many);
    for (int i = 0; i < MAP_FIELDS + 1; i++)
        strcat(many, "{{.}}");
    assert_int_equal(map_template_init(&t, many, &fault), CODE_USAGE);
    assert_non_null(strstr(fault.text, "more than 256"));
    map_template_deinit(&t);
    free(many);
}

static void test_template_knows_its_constant_head(void **state)
{
    struct map_template t;
    struct fault fault;

    assert_int_equal(map_template_init(&t, "abc {{.}} def", &fault), CODE_OK);
    assert_int_equal(map_template_head(&t), 4);
    map_template_deinit(&t);
    assert_int_equal(map_template_init(&t, "{{.}} def", &fault), CODE_OK);
    assert_int_equal(map_template_head(&t), 0);
    map_template_deinit(&t);
}

static void test_keys_count_what_comes_again(void **state)
{
    struct map_keys keys = {};
    char key[16];

    for (int round = 0; round < 3; round++)
        for (int i = 0; i < 5000; i++) {
            snprintf(key, sizeof(key), "%d", i);
            assert_int_equal(map_keys_add(&keys, key), round);
        }
    assert_int_equal(keys.n, 5000);
    assert_true(map_keys_has(&keys, "4999"));
    assert_false(map_keys_has(&keys, "5000"));
    keys.n = MAP_RECORDS_MAX; /* as if there were so many */
    assert_int_equal(map_keys_add(&keys, "one more"), -E2BIG);
    map_keys_deinit(&keys);
    assert_false(map_keys_has(&keys, "1"));
}

static void test_key_is_a_field_or_the_hash(void **state)
{
    struct map_record record = record_of("{\"id\":7,\"long\":\"\"}", OPT_MAP_NDJSON);
    char *id[] = {(char *)"id"}, *empty[] = {(char *)"long"}, key[MAP_KEY_BYTES];
    struct fault fault;

    assert_int_equal(map_key_of(&record, id, 1, key, &fault), MAP_OK);
    assert_string_equal(key, "7");
    assert_int_equal(map_key_of(&record, empty, 1, key, &fault), MAP_E_BAD);
    assert_non_null(strstr(fault.text, "its key has 0 bytes"));
    map_record_deinit(&record);
    record = record_of("abc", OPT_MAP_LINES);
    assert_int_equal(map_key_of(&record, NULL, 0, key, &fault), MAP_OK);
    assert_string_equal(key,
                        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"); /* FIPS 180-4 */
    map_record_deinit(&record);
}

static enum code resume(const char *text, bool mixed, struct map_journal *journal, off_t *end,
                        struct fault *fault)
{
    FILE *file = fmemopen((void *)text, strlen(text), "r");
    enum code code;

    assert_non_null(file);
    *fault = (struct fault){};
    *journal = (struct map_journal){.path = "out", .hash = "h1"};
    code = map_resume_read(journal, file, mixed, end, fault);
    fclose(file);
    map_keys_deinit(&journal->done);
    return code;
}

static void test_resume_reads_whole_lines_of_its_own(void **state)
{
    struct map_journal journal;
    struct fault fault;
    off_t end;

    assert_int_equal(
        resume("{\"_key\":\"a\",\"_h\":\"h1\"}\n{\"_key\":\"b\",\"_h\":", false, &journal, &end, &fault),
        CODE_OK);
    assert_int_equal(journal.n_kept, 1);
    assert_int_equal(end, 23);
    assert_int_equal(resume("{\"_key\":\"a\",\"_h\":\"h2\"}\n", false, &journal, &end, &fault), CODE_USAGE);
    assert_non_null(strstr(fault.text, "out, line 1: made with another template"));
    assert_int_equal(resume("{\"_key\":\"a\",\"_h\":\"h2\"}\n", true, &journal, &end, &fault), CODE_OK);
    for (int i = 0; i < 4; i++) {
        static const char *const wrong[] = {"\n", "[]\n", "{\"_key\":\"a\"}\n",
                                            "{\"_key\":1,\"_h\":\"h1\"}\n"};

        assert_int_equal(resume(wrong[i], true, &journal, &end, &fault), CODE_USAGE);
        assert_non_null(strstr(fault.text, "out, line 1: no line of a journal"));
    }
}

/* What the bar says, at once. */
static void bar_said(struct map_bar *bar, char *out, size_t size)
{
    const int fd = memfd_create("stderr", 0), saved = dup(STDERR_FILENO);
    ssize_t n;

    assert_true(fd >= 0 && saved >= 0);
    dup2(fd, STDERR_FILENO);
    bar->next_ns = 0;
    map_bar_turn(bar);
    fflush(stderr);
    dup2(saved, STDERR_FILENO);
    n = pread(fd, out, size - 1, 0);
    assert_true(n >= 0);
    out[n] = 0;
    close(fd);
    close(saved);
}

static void test_bar_is_a_line_where_there_is_no_terminal(void **state)
{
    struct ui pipe = {}, quiet = {.quiet = true}, terminal = {.err_tty = true, .cursor = true};
    struct map_bar bar;
    char text[400];

    map_bar_init(&bar, &pipe);
    assert_in_range(map_bar_timeout_ms(&bar), 9000, 10001);
    bar.start_ns -= 10000000000u;
    bar.total = 20;
    bar.kept = 5;
    bar.done = 5;
    bar.failed = 1;
    bar.tokens = 1000;
    bar_said(&bar, text, sizeof(text));
    assert_string_equal(text, "qwenctl: 10/20, 1 failed, 100 tokens/s, 0:20 left\n");
    assert_in_range(map_bar_timeout_ms(&bar), 9000, 10001);
    bar.ui = &terminal;
    bar_said(&bar, text, sizeof(text));
    assert_non_null(strstr(text, "qwenctl: [##########..........] 10/20, 1 failed, "));
    assert_in_range(map_bar_timeout_ms(&bar), 0, 201);
    bar.ui = &quiet;
    bar_said(&bar, text, sizeof(text));
    assert_string_equal(text, "");
    assert_int_equal(map_bar_timeout_ms(&bar), -1);
}

/* speeds of earlier runs */

static struct map_speed speed_of(const char *model, double read_ms)
{
    struct map_speed speed;

    map_speed_init(&speed,
                   &(qwend_status_info){
                       .model = model, .quantisation = "Q", .backend = "cpu", .isa = "avx2", .threads = 2});
    map_speed_note(&speed, &(qwend_usage){.prompt_tokens = 30,
                                          .cached_tokens = 20,
                                          .reasoning_tokens = 2,
                                          .answer_tokens = 3,
                                          .prefill_ms = read_ms,
                                          .decode_ms = 7});
    return speed;
}

static void test_speed_is_found_again(void **state)
{
    char folder[] = "/tmp/qwend-test-map-XXXXXX", path[100], name[20];
    struct map_speed kept, found;
    FILE *file;
    size_t n_found = 0;

    assert_non_null(mkdtemp(folder));
    assert_int_equal(setenv("XDG_STATE_HOME", folder, 1), 0);
    snprintf(path, sizeof(path), "%s/qwend/speeds.json", folder);
    kept = speed_of("M\n\"\xff", 5);
    found = (struct map_speed){};
    memcpy(found.key, kept.key, sizeof(found.key));
    assert_string_equal(kept.key, "M?\"? Q cpu avx2 2");
    assert_false(map_speed_find(&found)); /* no file yet */
    map_speed_keep(&kept);
    assert_true(map_speed_find(&found));
    assert_memory_equal(&found, &kept, sizeof(found));

    kept = speed_of("none", 5);
    kept.n = 0;
    map_speed_keep(&kept);
    assert_false(map_speed_find(&kept));
    for (int i = 0; i < 40; i++) { /* of so many models the last few */
        snprintf(name, sizeof(name), "m%d", i);
        kept = speed_of(name, i);
        map_speed_keep(&kept);
    }
    for (int i = 0; i < 40; i++) {
        snprintf(name, sizeof(name), "m%d", i);
        kept = speed_of(name, 0);
        n_found += map_speed_find(&kept);
    }
    assert_int_equal(n_found, 16);

    for (int i = 0; i < 3; i++) { /* what is no file of ours, or no numbers, is nothing, and is replaced */
        static const char *const texts[] = {
            "[1]", "{\"m1 Q cpu avx2 2\":{\"records\":-1,\"read_tokens\":\"x\"}}", "{"};

        file = fopen(path, "w");
        assert_non_null(file);
        fputs(texts[i], file);
        fclose(file);
        kept = speed_of("m1", 9);
        found = kept;
        assert_false(map_speed_find(&found));
        map_speed_keep(&kept);
        assert_true(map_speed_find(&found));
        assert_true(found.read_ms == 9);
    }
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0); /* nobody waits for a pipe either */
    kept = found = speed_of("m1", 9);
    assert_false(map_speed_find(&found));
    map_speed_keep(&kept);
    assert_true(map_speed_find(&found));
    unlink(path);
    path[strlen(path) - strlen("/speeds.json")] = 0;
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_input_splits_each_format),
        cmocka_unit_test(test_input_names_and_skips_what_is_too_long),
        cmocka_unit_test(test_template_puts_fields_in_place),
        cmocka_unit_test(test_template_refuses_what_cannot_be),
        cmocka_unit_test(test_template_knows_its_constant_head),
        cmocka_unit_test(test_keys_count_what_comes_again),
        cmocka_unit_test(test_key_is_a_field_or_the_hash),
        cmocka_unit_test(test_bar_is_a_line_where_there_is_no_terminal),
        cmocka_unit_test(test_speed_is_found_again),
        cmocka_unit_test(test_resume_reads_whole_lines_of_its_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
