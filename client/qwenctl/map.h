/* map.h - qwenctl map: one request for each record of an input, many at a time, answers as NDJSON.
 *
 *     map_input -> map_record -> map_template -> map_slot (a request) -> map_journal
 *
 * Memory is bounded by MAP_HELD_BYTES of prompts and the number of slots, not by the input; of a record that
 * is done only 16 bytes of its key's hash stay. */
#pragma once

#include "cmd.h"
#include "map_speed.h"

struct json_t; /* jansson's: json.h, which writes, cannot be included beside it */

enum {
    MAP_RECORD_BYTES = 8 << 20, /* the most that a prompt may have */
    MAP_HELD_BYTES = 64 << 20,  /* of all prompts that wait or run; one more may begin */
    MAP_FIELDS = 256,           /* columns of a CSV, fields of a template, names in a path */
    MAP_RUNNING_MAX = 64,       /* streams of one connection */
    MAP_RECORDS_MAX = 10000000,
    MAP_HASH_BYTES = 32,  /* hexadecimal digits of _h */
    MAP_KEY_BYTES = 1024, /* with its NUL */
};

/* map_record.c: one record, as it stands and as fields */
struct map_record {
    uint64_t number, line; /* 1, 2 …; where it starts in the input */
    char *text;            /* owned; the line, the row, or what is in the file */
    size_t n;
    char *path;           /* owned; of --in=files, else NULL */
    struct json_t *value; /* owned; of NDJSON and CSV, else NULL */
};

enum { MAP_OK, MAP_E_AGAIN, MAP_E_END, MAP_E_BAD }; /* BAD: this record is wrong, the next may not be */

void map_record_deinit(struct map_record *record);
int map_record_parse_json(struct map_record *record, struct fault *fault);
/* columns NULL: this row names them, *ret_columns has them then. */
int map_record_parse_csv(struct map_record *record, const struct json_t *columns, struct json_t **ret_columns,
                         struct fault *fault);
void map_columns_free(struct json_t *columns);
/* The field names[n] (n 0: the record) as text: *ret_text is the caller's.  MAP_E_BAD: there is none. */
int map_record_field(const struct map_record *record, char *const *names, size_t n, char **ret_text,
                     size_t *ret_n, struct fault *fault);

/* map_input.c: bytes become records */
struct map_input {
    int fd; /* borrowed */
    enum opt_map_in in;
    bool nul;   /* records end with NUL, not with a newline */
    char *data; /* owned; what was read and not taken yet: data[at .. n) */
    size_t at, n, cap, scanned;
    bool ended, skips;   /* skips: to the end of a record that is too long */
    bool quoted, closed; /* of CSV, at scanned: within quotes; just behind the closing one */
    uint64_t n_records, line;
    struct json_t *columns; /* owned */
};

int map_input_init(struct map_input *input, int fd, const struct opt_values *values);
void map_input_deinit(struct map_input *input);
int map_input_fill(struct map_input *input); /* reads once: MAP_OK, or negative errno */
/* The next record; MAP_E_AGAIN: fill first.  MAP_E_BAD leaves number and line in ret_record. */
int map_input_next(struct map_input *input, struct map_record *ret_record, struct fault *fault);
bool map_input_count(const struct map_input *input, uint64_t *ret_n); /* false: it can only be read once */

/* map_template.c */
struct map_piece {
    const char *text; /* borrowed from the template; NULL: a field */
    size_t n;
    char **names; /* owned */
    size_t n_names;
};
struct map_template {
    char *text; /* owned */
    struct map_piece pieces[MAP_FIELDS];
    size_t n;
    bool appends; /* it has no field: the record goes behind it */
};
enum code map_template_init(struct map_template *template, const char *text, struct fault *fault);
void map_template_deinit(struct map_template *template);
int map_template_put(const struct map_template *template, const struct map_record *record, char **ret_text,
                     size_t *ret_n, struct fault *fault);
size_t map_template_head(const struct map_template *template); /* bytes before the first field */
/* ".a.b" as names; NULL: it is no path, or memory is short */
char **map_path_parse(const char *text, size_t n, size_t *ret_n);
void map_path_free(char **names, size_t n);

/* map_keys.c: which records are done, and how often a key came */
struct map_keys {
    struct map_key_entry *entries; /* owned, a hash table with open addressing */
    size_t n, cap;
};
void map_keys_deinit(struct map_keys *keys);
/* How often it was there before; then it is there once more.  Negative errno. */
int64_t map_keys_add(struct map_keys *keys, const char *key);
bool map_keys_has(const struct map_keys *keys, const char *key);
int map_key_of(const struct map_record *record, char *const *names, size_t n_names,
               char ret_key[MAP_KEY_BYTES], struct fault *fault);

/* map_journal.c: the output, which is its own journal */
struct map_journal {
    int fd; /* owned; -1: standard output */
    const char *path;
    char hash[MAP_HASH_BYTES + 1]; /* of template, options and model */
    struct map_keys done;          /* of earlier runs */
    uint64_t n_kept, n_unsynced;
    unsigned sync_every;
};
void map_journal_hash(struct map_journal *journal, const char *template, const struct opt_values *values,
                      const char *system, const qwend_status_info *status);
enum code map_journal_open(struct map_journal *journal, const struct opt_values *values, struct fault *fault);
enum code map_journal_write(struct map_journal *journal, struct ui *ui, const char *line, size_t n,
                            struct fault *fault);
enum code map_journal_close(struct map_journal *journal, struct fault *fault);
/* map_resume.c: what a journal of an earlier run has; *ret_end: bytes of it that are whole lines. */
enum code map_resume_read(struct map_journal *journal, FILE *file, bool mixed, off_t *ret_end,
                          struct fault *fault);

/* map_bar.c: how far it is */
struct map_bar {
    struct ui *ui;
    uint64_t start_ns, next_ns;
    uint64_t total, done, failed, kept, tokens; /* total 0: not known; kept: of an earlier run */
};
void map_bar_init(struct map_bar *bar, struct ui *ui);
void map_bar_turn(struct map_bar *bar); /* draws, if it is time */
int map_bar_timeout_ms(const struct map_bar *bar);

/* map_run.c: the loop; map_slot.c: one record on its way */
struct map;
struct map_slot {
    struct map *map;
    enum map_state { MAP_FREE, MAP_WAITING, MAP_RUNNING, MAP_DONE } state;
    uint64_t order; /* in which it was read, 0, 1 … */
    struct map_record record;
    char key[MAP_KEY_BYTES];
    qwend_req *req;
    qwend_stream *stream;
    FILE *answer;
    char *text; /* what answer writes; then the line for the journal */
    size_t n, held_bytes;
    uint64_t not_before_ns;
    int n_tries;
};

struct map {
    const struct cmd_args *args;
    const struct opt_values *values;
    qwend *q;
    struct map_input input;
    struct map_template template;
    struct map_journal journal;
    struct map_keys seen;
    struct map_bar bar;
    struct map_slot *slots; /* owned, [n_slots] */
    size_t n_slots, n_running;
    size_t n_granted, n_running_max; /* at most; now, as the daemon was full or was not */
    char **key_names;
    size_t n_key_names;
    char *system;
    FILE *errors;           /* --errors, owned; NULL: stderr */
    uint64_t n_read, n_out; /* records with a slot so far; written or failed, in their order */
    uint64_t used_tokens, deadline_ns;
    size_t held_bytes; /* of prompts in slots */
    bool input_over, primed, stopping;
    bool has_cache; /* the daemon keeps beginnings of prompts */
    struct map_speed speed;
    enum code code; /* why it stops */
    struct fault fault;
};

/* Takes the record; negative errno, or MAP_E_BAD: it cannot be asked. */
int map_slot_take(struct map_slot *slot, struct map_record *record, const char *key, struct fault *fault);
void map_slot_free(struct map_slot *slot);
int map_slot_start(struct map_slot *slot); /* 0; -EAGAIN: not now; negative errno */
void map_slot_again(struct map_slot *slot,
                    uint64_t not_before_ns); /* the request is over, without an answer */
/* One that failed: told, counted, done.  code 0: it is no refusal by the daemon. */
void map_fail(struct map *map, const struct map_record *record, const char *key, int code, const char *text);
void map_stop(struct map *map, enum code code); /* nothing more is asked, what runs is cancelled */
enum code map_run(struct map *map);
enum code map_dry_run(struct map *map, qwend *q); /* map_dry.c: what it would be, nothing is asked */
