/* map_speed.h - how fast a model was for map, kept for the estimate of the next --dry-run.
 *
 * The times are the daemon's, of each answer's usage.  A file of the user has the sums of the last run with
 * each model: numbers and the model's name, nothing of what was asked. */
#pragma once

#include "client/lib/qwend.h"
#include "proto/base.h"

enum { MAP_SPEED_KEY_BYTES = 300 };

struct map_speed {
    char key[MAP_SPEED_KEY_BYTES]; /* the model, and what it runs on */
    uint64_t n;                    /* answers */
    uint64_t read_tok, write_tok;  /* of their prompts, cached ones left out; of their texts */
    double read_ms, write_ms;      /* that one of them waits for these, beside the others that ran */
};

void map_speed_init(struct map_speed *speed, const qwend_status_info *status);
void map_speed_note(struct map_speed *speed, const qwend_usage *usage);
void map_speed_keep(const struct map_speed *speed); /* without an answer, a home or room for it: nothing */
bool map_speed_find(struct map_speed *speed);       /* what was kept of its key; false: nothing */
