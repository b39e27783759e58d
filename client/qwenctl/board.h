/* board.h - one sample of the service as text: for a terminal of some size, or whole and plain. */
#pragma once

#include <stdio.h>

#include "client/lib/qwend.h"
#include "proto/base.h"

struct board {
    int columns, rows; /* of the terminal; 0: as many as it takes, and no escape sequences at all */
    bool color, utf8;
    char title[256]; /* model, quantisation, backend: board_set_title() */
};

void board_set_title(struct board *board, const qwend_status_info *info);

/* For a terminal it begins at its first row, and what stood to the right and below is wiped. */
void board_put(FILE *out, const struct board *board, const qwend_sample *sample);
void board_put_json(FILE *out, const qwend_status_info *info, const qwend_sample *sample);

/* In at most 5 and 6 columns: "12345", "123k", "1.2M"; "4.2s", "12m30", "3h12", "5d". */
const char *board_count(uint64_t n, char out[8]);
const char *board_span(double seconds, char out[8]);
