/* cmd_map.c - `qwenctl map`: a question for each record of an input.  See map.h. */
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "gen.h"
#include "map.h"
#include "prompt.h"
#include "sig.h"
#include "tick.h"

enum {
    /* a beginning that all prompts share is read ahead of the others from so many bytes on */
    MAP_HEAD_BYTES = 512,
    /* slots for each request that runs: answers that wait for an earlier one take memory */
    MAP_AHEAD = 4,
    MAP_LOAD_MS = 200,     /* between two looks at whether the model is there */
    MAP_STATE_LOADING = 2, /* of qwend_status_info.state, and the last one before there is a model */
};

static enum code map_refuse(struct map *map, const char *why)
{
    return (enum code)fault_set(&map->fault, CODE_USAGE, "%s", why);
}

static enum code map_check(struct map *map)
{
    const struct opt_values *values = map->values;
    const char *failures = values->max_failures;

    if (values->resume && !values->output)
        return map_refuse(map, "--resume goes on with a file: -o FILE");
    if (values->mixed && !values->resume)
        return map_refuse(map, "--mixed goes with --resume");
    if (values->ordered && values->unordered)
        return map_refuse(map, "--ordered and --unordered exclude each other");
    if (values->dry_run && (values->output || values->errors))
        return map_refuse(map, "--dry-run asks nothing: no -o, --errors");
    if (values->null && values->map_in == OPT_MAP_CSV)
        return map_refuse(map, "-0 is for lines, NDJSON and names of files, not for CSV");
    if (failures && (strspn(failures, "0123456789") == 0 || strlen(failures) > 9 ||
                     strcmp(failures + strspn(failures, "0123456789"), strchr(failures, '%') ? "%" : "")))
        return map_refuse(map, "--max-failures needs a number, or a share as in 5%");
    if (!values->input && isatty(STDIN_FILENO))
        return map_refuse(map, "nothing to map: qwenctl map TEMPLATE < RECORDS, or --input FILE");
    return gen_check_args(values, map->args->args, map->args->n, &map->fault);
}

static enum code map_init_template(struct map *map)
{
    _cleanup_(freep) char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);

    for (int i = 0; out && i < map->args->n; i++)
        fprintf(out, "%s%s", i ? " " : "", map->args->args[i]);
    if (!out || fclose(out))
        return (enum code)fault_set(&map->fault, CODE_FAILED, "out of memory");
    return map_template_init(&map->template, text, &map->fault);
}

static enum code map_init_key(struct map *map)
{
    const char *key = map->values->key;

    if (!key)
        return CODE_OK;
    map->key_names = map_path_parse(key, strlen(key), &map->n_key_names);
    return map->key_names ? CODE_OK : map_refuse(map, "--key needs a path, as in .id or .user.name");
}

static enum code map_open_input(struct map *map)
{
    const char *path = map->values->input;
    const int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : STDIN_FILENO;
    int r;

    if (fd < 0)
        return (enum code)fault_set(&map->fault, CODE_USAGE, "%.300s: %s", path, strerror(errno));
    r = map_input_init(&map->input, fd, map->values);
    if (r)
        return (enum code)fault_set(&map->fault, CODE_FAILED, "out of memory");
    if (!map_input_count(&map->input, &map->bar.total))
        map->bar.total = 0;
    return CODE_OK;
}

static enum code map_open_errors(struct map *map)
{
    const char *path = map->values->errors;

    if (!path)
        return CODE_OK;
    map->errors = fopen(path, "we");
    return map->errors ? CODE_OK
                       : (enum code)fault_set(&map->fault, CODE_USAGE, "%.300s: %s", path, strerror(errno));
}

static enum code map_init_slots(struct map *map, size_t n_granted)
{
    const struct opt_int *jobs = &map->values->jobs;

    map->n_granted = jobs->given && jobs->value ? (size_t)jobs->value : MAX(n_granted, (size_t)1);
    map->n_granted = MIN(map->n_granted, (size_t)MAP_RUNNING_MAX);
    map->n_running_max = map->n_granted;
    map->n_slots = (map->values->unordered ? 2 : MAP_AHEAD) * map->n_granted;
    map->slots = calloc(map->n_slots, sizeof(*map->slots));
    if (!map->slots)
        return (enum code)fault_set(&map->fault, CODE_FAILED, "out of memory");
    for (size_t i = 0; i < map->n_slots; i++)
        map->slots[i].map = map;
    map->primed =
        map_template_head(&map->template) + (map->system ? strlen(map->system) : 0) < MAP_HEAD_BYTES;
    return CODE_OK;
}

static void map_say_end(struct map *map, enum code code)
{
    const struct map_bar *bar = &map->bar;

    if (map->values->usage)
        fprintf(stderr,
                "%" PRIu64 " records answered, %" PRIu64 " failed, %" PRIu64 " of before; %" PRIu64
                " tokens\n",
                bar->done - bar->failed, bar->failed, bar->kept, map->used_tokens);
    if (code && map->values->output && code != CODE_USAGE)
        ui_note(map->args->ui, "%" PRIu64 " records are answered in %s: --resume goes on",
                bar->kept + bar->done - bar->failed, map->values->output);
}

/* Of a model that is still being loaded nothing is known. */
static int map_wait_for_model(struct map *map, qwend *q, qwend_status_info *ret_status)
{
    int r;

    while (!(r = qwend_status(q, ret_status)) && ret_status->state <= MAP_STATE_LOADING && !sig_pending()) {
        struct pollfd pollfd = {.fd = sig_fd(), .events = POLLIN};

        ui_progress(map->args->ui, "the model is being loaded, %u %%", ret_status->load_permille / 10);
        poll(&pollfd, 1, MAP_LOAD_MS);
    }
    ui_progress_end(map->args->ui);
    return r;
}

/* The daemon is asked what it is before anything is opened: an answer depends on it. */
static enum code map_prepare(struct map *map, qwend **ret_q)
{
    qwend_status_info status;
    enum code code = map_check(map);
    int r;

    if (!code)
        code = map_init_template(map);
    if (!code)
        code = map_init_key(map);
    if (!code)
        code = prompt_system(map->values, &map->system, &map->fault);
    if (!code)
        code = map_open_input(map);
    if (!code)
        code = connect_open(map->args, ret_q);
    if (code)
        return code;
    if (sig_listen())
        return (enum code)fault_set(&map->fault, CODE_FAILED, "cannot watch for signals: %s",
                                    strerror(errno));
    r = map_wait_for_model(map, *ret_q, &status);
    if (r)
        return connect_fail(map->args, *ret_q, r);
    if (sig_pending())
        return sig_pending() == SIGINT ? CODE_INT : CODE_TERM;
    if (!status.slots)
        return (enum code)fault_set(&map->fault, CODE_FAILED, "the daemon has no model: %.300s", status.note);
    map_journal_hash(&map->journal, map->template.text, map->values, map->system, &status);
    map_speed_init(&map->speed, &status);
    map->has_cache = status.cache_bytes;
    code = map_init_slots(map, status.slots);
    if (!code)
        code = map_journal_open(&map->journal, map->values, &map->fault);
    return code ? code : map_open_errors(map);
}

static void map_deinit(struct map *map)
{
    qwend_close(map->q);
    map_input_deinit(&map->input);
    if (map->values->input)
        closep(&map->input.fd);
    map_template_deinit(&map->template);
    map_keys_deinit(&map->seen);
    if (map->key_names)
        map_path_free(map->key_names, map->n_key_names);
    if (map->errors)
        fclose(map->errors);
    free(map->system);
    free(map->slots);
}

enum code cmd_map(const struct cmd_args *args)
{
    struct map map = {
        .args = args, .values = args->values, .journal.fd = -1, .input.fd = -1, .bar.ui = args->ui};
    _cleanup_(qwend_closep) qwend *q = NULL;
    enum code code = map_prepare(&map, &q), closed;
    const struct opt_int *timeout = &args->values->timeout_ms;

    map.deadline_ns = timeout->given ? tick_ns() + (uint64_t)timeout->value * 1000000u : UINT64_MAX;
    if (!code && args->values->dry_run) {
        code = map_dry_run(&map, q);
    } else if (!code) {
        qwend_close(steal(&q));
        code = map_run(&map);
        map_speed_keep(&map.speed);
        map_say_end(&map, code);
    }
    closed = map_journal_close(&map.journal, &map.fault);
    code = code ? code : closed;
    if (*map.fault.text && code != CODE_INT && code != CODE_TERM)
        ui_error(args->ui, "%s", map.fault.text);
    map_deinit(&map);
    return code;
}
