/* record.h - a request as JSON: an object for each event (--ndjson), or one at the end (--json).
 *
 * Keys are stable; seeds are strings, since a JSON number of many readers holds 53 bits only. */
#pragma once

#include "json.h"
#include "run.h"

struct record {
    bool whole;                       /* --json: one object at the end */
    FILE *text, *thinking, *logprobs; /* gathered for it */
    char *text_data, *thinking_data, *logprobs_data;
    size_t n_text, n_thinking, n_logprobs;
    struct json logprobs_json;
};

int record_init(struct record *record, bool whole);
void record_deinit(struct record *record);
int record_event(struct run *run, struct record *record, const qwend_event *event); /* as a run_sink */
