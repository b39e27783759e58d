/* map_input.c - records of a file or pipe, read as they come.  See map.h. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "input.h"
#include "map.h"

enum { MAP_READ_BYTES = 64 << 10, MAP_BUFFER_BYTES = MAP_RECORD_BYTES + 2 * MAP_READ_BYTES };

/* Room for one more read() behind what is there; a record that is too long is skipped before there is none.
 */
static int input_grow(struct map_input *input)
{
    const size_t cap = input->cap ? MIN(2 * input->cap, (size_t)MAP_BUFFER_BYTES) : 2 * MAP_READ_BYTES;
    char *data;

    if (input->cap - input->n >= MAP_READ_BYTES || input->cap == cap)
        return 0;
    data = realloc(input->data, cap);
    if (!data)
        return err_origin(-ENOMEM);
    input->data = data;
    input->cap = cap;
    return 0;
}

int map_input_init(struct map_input *input, int fd, const struct opt_values *values)
{
    *input = (struct map_input){
        .fd = fd,
        .in = (enum opt_map_in)values->map_in,
        .nul = values->null || values->map_in == OPT_MAP_NUL,
    };
    return input_grow(input);
}

void map_input_deinit(struct map_input *input)
{
    freep(&input->data);
    map_columns_free(input->columns);
    input->columns = NULL;
}

int map_input_fill(struct map_input *input)
{
    ssize_t k;
    int r;

    memmove(input->data, input->data + input->at, input->n - input->at);
    input->scanned -= input->at;
    input->n -= input->at;
    input->at = 0;
    r = input_grow(input);
    if (r)
        return r;
    do
        k = read(input->fd, input->data + input->n, MIN(input->cap - input->n, (size_t)MAP_READ_BYTES));
    while (k < 0 && errno == EINTR);
    if (k < 0)
        return errno == EAGAIN ? MAP_OK : err_errno();
    input->ended = k == 0;
    input->n += (size_t)k;
    return MAP_OK;
}

/* A quote opens a field only where one begins, so that a stray one does not swallow the lines behind it. */
static void input_see_quote(struct map_input *input, char c)
{
    const bool begins = input->scanned == input->at || input->data[input->scanned - 1] == ',';

    if (c != '"') {
        input->closed = false;
    } else if (input->quoted) {
        input->quoted = false;
        input->closed = true; /* unless another follows, which is one of its text */
    } else if (begins || input->closed) {
        input->quoted = true;
        input->closed = false;
    }
}

/* The end of the record that begins at `at`: the index of its separator.  Goes on where it stopped before. */
static bool input_find_end(struct map_input *input)
{
    const char separator = input->nul ? 0 : '\n';

    for (; input->scanned < input->n; input->scanned++) {
        if (input->in == OPT_MAP_CSV)
            input_see_quote(input, input->data[input->scanned]);
        if (input->data[input->scanned] == separator && !input->quoted)
            return true;
    }
    return input->ended && (input->n > input->at || input->skips);
}

/* Takes it: text[n] stays valid until the next fill.  MAP_E_BAD: it was too long, and skipped. */
static int input_take(struct map_input *input, char **ret_text, size_t *ret_n, uint64_t *ret_line)
{
    const bool found = input_find_end(input);
    const bool long_one = input->skips || input->scanned - input->at > MAP_RECORD_BYTES;

    if (!found && input->scanned - input->at > MAP_RECORD_BYTES) {
        input->skips = true;
        for (size_t i = input->at; i < input->scanned; i++)
            input->line += input->data[i] == '\n';
        input->at = input->scanned;
    }
    if (!found)
        return input->ended ? MAP_E_END : MAP_E_AGAIN;
    *ret_text = input->data + input->at;
    *ret_n = input->scanned - input->at;
    *ret_line = input->line + 1;
    for (size_t i = input->at; i < input->scanned; i++)
        input->line += input->data[i] == '\n';
    if (input->scanned < input->n) { /* the separator */
        input->line += input->data[input->scanned] == '\n' || input->nul;
        input->scanned++;
    }
    input->at = input->scanned;
    input->quoted = input->closed = input->skips = false;
    return long_one ? MAP_E_BAD : MAP_OK;
}

static int input_copy(struct map_record *record, const char *text, size_t n, struct fault *fault)
{
    const size_t valid = qwend_utf8_valid(text, n);

    if (valid < n)
        return fault_set(fault, MAP_E_BAD,
                         text[valid] ? "not UTF-8: 0x%02x at byte %zu" : "a NUL (0x%02x) at byte %zu",
                         (unsigned char)text[valid], valid);
    record->text = strndup(text, n);
    record->n = n;
    return record->text ? MAP_OK : fault_set(fault, -ENOMEM, "out of memory");
}

/* The record is the name of a file: what is in it takes its place. */
static int input_open_file(struct map_record *record, struct fault *fault)
{
    record->path = steal(&record->text);
    return input_read_file(record->path, MAP_RECORD_BYTES, &record->text, &record->n, fault) ? MAP_E_BAD
                                                                                             : MAP_OK;
}

static int input_parse(struct map_input *input, struct map_record *record, struct fault *fault)
{
    int r;

    switch (input->in) {
    case OPT_MAP_NDJSON:
        return map_record_parse_json(record, fault);
    case OPT_MAP_CSV:
        r = map_record_parse_csv(record, input->columns, &input->columns, fault);
        return r || record->value ? r : MAP_E_AGAIN; /* the names of the columns */
    case OPT_MAP_FILES:
        return input_open_file(record, fault);
    default:
        return MAP_OK;
    }
}

static bool input_is_blank(const struct map_input *input, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (text[i] != ' ' && text[i] != '\t')
            return false;
    return !n || input->in == OPT_MAP_NDJSON || input->in == OPT_MAP_CSV;
}

/* Takes off what is not of the record: a carriage return, a byte order mark.  false: nothing is left of it.
 */
static bool input_trim(const struct map_input *input, uint64_t line, char **text, size_t *n)
{
    if (!input->nul && *n && (*text)[*n - 1] == '\r')
        --*n;
    if (!input->nul && line == 1 && *n >= 3 && !memcmp(*text, "\xef\xbb\xbf", 3)) {
        *text += 3;
        *n -= 3;
    }
    return !input_is_blank(input, *text, *n);
}

/* MAP_E_AGAIN: there was no record in it. */
static int input_one(struct map_input *input, struct map_record *record, char *text, size_t n,
                     struct fault *fault)
{
    int r;

    if (!input_trim(input, record->line, &text, &n))
        return MAP_E_AGAIN;
    r = input_copy(record, text, n, fault);
    if (!r)
        r = input_parse(input, record, fault);
    return r;
}

int map_input_next(struct map_input *input, struct map_record *ret_record, struct fault *fault)
{
    for (;;) {
        struct map_record record = {};
        char *text;
        size_t n;
        int r = input_take(input, &text, &n, &record.line);

        if (r == MAP_E_AGAIN || r == MAP_E_END)
            return r;
        if (r == MAP_E_BAD)
            r = fault_set(fault, r, "longer than %d bytes", MAP_RECORD_BYTES);
        else
            r = input_one(input, &record, text, n, fault);
        if (r == MAP_E_AGAIN) {
            map_record_deinit(&record);
            continue;
        }
        record.number = ++input->n_records;
        if (r) {
            const struct map_record bad = {.number = record.number, .line = record.line};

            map_record_deinit(&record);
            record = bad;
        }
        *ret_record = record;
        return r;
    }
}

bool map_input_count(const struct map_input *input, uint64_t *ret_n)
{
    struct map_input again = {.fd = input->fd, .in = input->in, .nul = input->nul};
    struct stat st;
    char *text;
    size_t n;
    uint64_t line, n_found = 0;
    int r = MAP_E_AGAIN;
    const off_t start = lseek(input->fd, 0, SEEK_CUR);

    if (start < 0 || fstat(input->fd, &st) || !S_ISREG(st.st_mode))
        return false;
    while (!input_grow(&again) && r != MAP_E_END) {
        r = input_take(&again, &text, &n, &line);
        if (r == MAP_E_AGAIN && map_input_fill(&again))
            r = MAP_E_END;
        else if (r == MAP_OK || r == MAP_E_BAD)
            n_found += r == MAP_E_BAD || input_trim(&again, line, &text, &n);
    }
    free(again.data);
    if (input->in == OPT_MAP_CSV && n_found)
        n_found--;
    *ret_n = n_found;
    return lseek(input->fd, start, SEEK_SET) == start && again.ended;
}
