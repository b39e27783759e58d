/* map_speed.c - speeds of earlier runs.  See map_speed.h. */
#include "map_speed.h"

#include <jansson.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "file.h"

enum {
    SPEED_MODELS_MAX = 16, /* the one that was used longest ago goes */
    SPEED_FILE_BYTES = 64 << 10,
};

void map_speed_init(struct map_speed *speed, const qwend_status_info *status)
{
    *speed = (struct map_speed){};
    snprintf(speed->key, sizeof(speed->key), "%.100s %.30s %.30s %.30s %u", status->model,
             status->quantisation, status->backend, status->isa, status->threads);
    for (char *p = speed->key; *p; p++) /* a key of JSON, whatever a file calls its model */
        if (*p < ' ' || *p > '~')
            *p = '?';
}

void map_speed_note(struct map_speed *speed, const qwend_usage *usage)
{
    speed->n++;
    speed->read_tok += usage->prompt_tokens - MIN(usage->cached_tokens, usage->prompt_tokens);
    speed->write_tok += (uint64_t)usage->reasoning_tokens + usage->answer_tokens;
    speed->read_ms += usage->prefill_ms;
    speed->write_ms += usage->decode_ms;
}

static char *speed_path(void)
{
    return file_home("XDG_STATE_HOME", ".local/state", "speeds.json");
}

/* An object; what is there and is none counts as nothing. */
static json_t *speed_load(const char *path)
{
    _cleanup_(freep) char *text = NULL;
    json_t *all = NULL;
    struct stat st;
    size_t n;

    if (!stat(path, &st) && S_ISREG(st.st_mode) && /* a pipe there would be waited for */
        !file_read(path, SPEED_FILE_BYTES, &text, &n))
        all = json_loadb(text, n, 0, NULL);
    if (json_is_object(all))
        return all;
    json_decref(all);
    return json_object();
}

static void speed_drop_oldest(json_t *all)
{
    const char *key, *oldest = NULL;
    json_t *value;
    double at = INFINITY;

    json_object_foreach(all, key, value)
    {
        const double its = json_number_value(json_object_get(value, "at"));

        if (oldest && its >= at)
            continue;
        oldest = key;
        at = its;
    }
    if (oldest)
        json_object_del(all, oldest);
}

void map_speed_keep(const struct map_speed *speed)
{
    _cleanup_(freep) char *path = speed_path(), *text = NULL;
    json_t *all, *one;

    if (!speed->n || !path || file_make_folders(path))
        return;
    all = speed_load(path);
    one = json_pack("{sI sI sI sf sf sI}", "records", (json_int_t)speed->n, "read_tokens",
                    (json_int_t)speed->read_tok, "write_tokens", (json_int_t)speed->write_tok, "read_ms",
                    speed->read_ms, "write_ms", speed->write_ms, "at", (json_int_t)time(NULL));
    if (one && !json_object_set_new(all, speed->key, one)) {
        while (json_object_size(all) > SPEED_MODELS_MAX)
            speed_drop_oldest(all);
        text = json_dumps(all, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
    }
    if (text)
        (void)file_replace(path, text, strlen(text), 0600); /* the estimate is all that is lost */
    json_decref(all);
}

/* A count that can be one. */
static double speed_number(const json_t *one, const char *name)
{
    const double value = json_number_value(json_object_get(one, name));

    return value >= 0 && value < 9e15 ? value : 0;
}

bool map_speed_find(struct map_speed *speed)
{
    _cleanup_(freep) char *path = speed_path();
    json_t *all, *one;

    if (!path)
        return false;
    all = speed_load(path);
    one = json_object_get(all, speed->key);
    speed->n = (uint64_t)speed_number(one, "records");
    speed->read_tok = (uint64_t)speed_number(one, "read_tokens");
    speed->write_tok = (uint64_t)speed_number(one, "write_tokens");
    speed->read_ms = speed_number(one, "read_ms");
    speed->write_ms = speed_number(one, "write_ms");
    json_decref(all);
    return speed->n && speed->read_tok && speed->write_tok;
}
