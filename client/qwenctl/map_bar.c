/* map_bar.c - how far map is: one line that is drawn over on a terminal, one line each 10 s elsewhere.  See
 * map.h. */
#include <stdio.h>
#include <string.h>

#include "map.h"
#include "tick.h"

enum { BAR_DRAW_MS = 200, BAR_LINE_MS = 10000, BAR_CELLS = 20 };

static uint64_t bar_interval_ns(const struct map_bar *bar)
{
    return (bar->ui->cursor ? BAR_DRAW_MS : BAR_LINE_MS) * 1000000ull;
}

void map_bar_init(struct map_bar *bar, struct ui *ui)
{
    bar->ui = ui;
    bar->start_ns = tick_ns();
    bar->next_ns = bar->start_ns + bar_interval_ns(bar);
}

static void bar_cells(const struct map_bar *bar, char out[BAR_CELLS + 4])
{
    const uint64_t full =
        bar->total ? MIN((bar->kept + bar->done) * BAR_CELLS / bar->total, (uint64_t)BAR_CELLS) : 0;

    *out = 0;
    if (!bar->total || !bar->ui->cursor)
        return;
    out[0] = '[';
    for (uint64_t i = 0; i < BAR_CELLS; i++)
        out[1 + i] = i < full ? '#' : '.';
    memcpy(out + 1 + BAR_CELLS, "] ", 3);
}

/* "812/2000, 3 failed, 412 tokens/s, 0:41 left" */
static void bar_text(const struct map_bar *bar, uint64_t now_ns, char *out, size_t size)
{
    const double elapsed_s = (double)(now_ns - bar->start_ns) / 1e9;
    const uint64_t all = bar->kept + bar->done;
    size_t n = (size_t)snprintf(out, size, "%llu", (unsigned long long)all);

    if (bar->total)
        n += (size_t)snprintf(out + n, size - n, "/%llu", (unsigned long long)bar->total);
    if (bar->failed)
        n += (size_t)snprintf(out + n, size - n, ", %llu failed", (unsigned long long)bar->failed);
    if (elapsed_s > 0)
        n += (size_t)snprintf(out + n, size - n, ", %.0f tokens/s", (double)bar->tokens / elapsed_s);
    if (bar->done && bar->total > all) {
        const double left_s = elapsed_s / (double)bar->done * (double)(bar->total - all);
        const unsigned long long s = (unsigned long long)left_s;

        if (s < 3600)
            snprintf(out + n, size - n, ", %llu:%02llu left", s / 60, s % 60);
        else
            snprintf(out + n, size - n, ", %lluh%02llu left", s / 3600, s / 60 % 60);
    }
}

void map_bar_turn(struct map_bar *bar)
{
    const uint64_t now_ns = tick_ns();
    char cells[BAR_CELLS + 4], text[160];

    if (now_ns < bar->next_ns || bar->ui->quiet)
        return;
    bar->next_ns = now_ns + bar_interval_ns(bar);
    bar_cells(bar, cells);
    bar_text(bar, now_ns, text, sizeof(text));
    if (bar->ui->cursor) {
        ui_progress(bar->ui, "%s%s", cells, text);
        return;
    }
    fprintf(stderr, "qwenctl: %s\n", text); /* also where notes are not wanted: it is one line in 10 s */
    fflush(stderr);
}

int map_bar_timeout_ms(const struct map_bar *bar)
{
    const uint64_t now_ns = tick_ns();

    if (bar->ui->quiet)
        return -1;
    return now_ns >= bar->next_ns ? 0 : (int)((bar->next_ns - now_ns) / 1000000u + 1);
}
