/* guess.c - nearest word.  See guess.h. */
#include "guess.h"

#include <string.h>

enum { GUESS_BYTES = 64 };

/* Optimal string alignment: d[i][j] is the distance of the first i bytes of a from the first j of b. */
unsigned guess_distance(const char *a, const char *b)
{
    uint8_t d[GUESS_BYTES][GUESS_BYTES];
    size_t n_a = strlen(a), n_b = strlen(b);

    if (n_a >= GUESS_BYTES || n_b >= GUESS_BYTES)
        return GUESS_BYTES;
    for (size_t i = 0; i <= n_a; i++) {
        for (size_t j = 0; j <= n_b; j++) {
            if (!i || !j) {
                d[i][j] = (uint8_t)(i + j);
                continue;
            }
            d[i][j] =
                (uint8_t)MIN(MIN(d[i - 1][j], d[i][j - 1]) + 1, d[i - 1][j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                d[i][j] = (uint8_t)MIN(d[i][j], d[i - 2][j - 2] + 1);
        }
    }
    return d[n_a][n_b];
}

void guess_offer(const char *word, const char *candidate, const char **best)
{
    unsigned d = guess_distance(word, candidate);

    if (d > 2 || 2 * d >= strlen(word))
        return;
    if (!*best || d < guess_distance(word, *best))
        *best = candidate;
}
