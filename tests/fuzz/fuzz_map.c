/* fuzz_map.c - libFuzzer target: records of qwenctl map in each format, with a template and a key of the
 * input.
 *
 * The first byte chooses the format, the first line is the template, the second the key's path, the rest are
 * records.  What must hold: numbers rise by one and lines never fall; a record is text, or is refused with a
 * reason; counting ahead finds as many; what the template makes of it is text. */
#include <assert.h>
#include <string.h>
#include <sys/mman.h>

#include "client/qwenctl/map.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* The next line of the input as a string. */
static char *fuzz_line(const uint8_t **data, size_t *n)
{
    const uint8_t *end = *n ? memchr(*data, '\n', *n) : NULL;
    const size_t k = end ? (size_t)(end - *data) : *n;
    char *line = strndup((const char *)*data, k);

    assert(line);
    *data += end ? k + 1 : k;
    *n -= end ? k + 1 : k;
    return line;
}

static int fuzz_fd(const uint8_t *data, size_t n)
{
    const int fd = memfd_create("records", MFD_CLOEXEC);

    assert(fd >= 0 && write(fd, data, n) == (ssize_t)n && lseek(fd, 0, SEEK_SET) == 0);
    return fd;
}

static void fuzz_record(const struct map_record *record, const struct map_template *template,
                        char *const *key, size_t n_key)
{
    struct fault fault = {};
    char text_key[MAP_KEY_BYTES], *text;
    size_t n;
    int r;

    assert(record->text && strlen(record->text) == record->n &&
           qwend_utf8_valid(record->text, record->n) == record->n);
    r = map_key_of(record, key, n_key, text_key, &fault);
    assert(r == MAP_OK ? strlen(text_key) < MAP_KEY_BYTES : r == MAP_E_BAD && *fault.text);
    fault = (struct fault){};
    r = map_template_put(template, record, &text, &n, &fault);
    assert(r == MAP_OK || (r == MAP_E_BAD && *fault.text));
    if (r == MAP_OK) {
        assert(qwend_utf8_valid(text, n) == n || !*template->text ||
               qwend_utf8_valid(template->text, strlen(template->text)) != strlen(template->text));
        free(text);
    }
}

static void fuzz_records(struct map_input *input, const struct map_template *template, char *const *key,
                         size_t n_key)
{
    uint64_t n_counted = 0, n = 0, line = 0;
    struct map_record record;
    int r;

    assert(map_input_count(input, &n_counted));
    for (;;) {
        struct fault fault = {};

        r = map_input_next(input, &record, &fault);
        if (r == MAP_E_END)
            break;
        if (r == MAP_E_AGAIN) {
            assert(!map_input_fill(input));
            continue;
        }
        assert(record.number == ++n && record.line >= line && (r == MAP_OK) == !*fault.text);
        line = record.line;
        if (r == MAP_OK)
            fuzz_record(&record, template, key, n_key);
        map_record_deinit(&record);
    }
    assert(n == n_counted ||
           input->in == OPT_MAP_CSV); /* a first row that names nothing is counted as one that does */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const enum opt_map_in formats[] = {OPT_MAP_LINES, OPT_MAP_NDJSON, OPT_MAP_CSV, OPT_MAP_NUL};
    const struct opt_values values = {.map_in = n ? (int)formats[data[0] % 4] : 0};
    _cleanup_(closep) int fd = -1;
    struct fault fault = {};
    struct map_template template;
    struct map_input input;
    size_t n_key = 0;
    char **key, *text;

    if (!n)
        return 0;
    data++, n--;
    text = fuzz_line(&data, &n);
    if (map_template_init(&template, text, &fault)) {
        assert(*fault.text);
        map_template_deinit(&template);
        assert(!map_template_init(&template, "", &fault));
    }
    free(text);
    text = fuzz_line(&data, &n);
    key = map_path_parse(text, strlen(text), &n_key);
    free(text);
    fd = fuzz_fd(data, n);
    assert(!map_input_init(&input, fd, &values));
    fuzz_records(&input, &template, key, n_key);
    map_input_deinit(&input);
    map_template_deinit(&template);
    if (key)
        map_path_free(key, n_key);
    return 0;
}
