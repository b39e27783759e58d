/* wait.c - the line of what is waited for.  See wait.h. */
#include "wait.h"

#include <langinfo.h>
#include <stdarg.h>
#include <string.h>

#include "tick.h"

enum {
    WAIT_STILL_MS = 1000, /* how long a line stands still: what is over sooner does not flicker */
    WAIT_DRAW_MS = 120,   /* between two drawings, to be seen to move */
};

/* One of a few characters, so that they seem to turn. */
static const char *wait_mark(unsigned frame)
{
    static const char *const dots[] = {"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"};
    static const char *const strokes[] = {"|", "/", "-", "\\"};

    return strcmp(nl_langinfo(CODESET), "UTF-8") ? strokes[frame % ARRAY_SIZE(strokes)]
                                                 : dots[frame % ARRAY_SIZE(dots)];
}

void wait_init(struct wait *wait, struct ui *ui)
{
    *wait = (struct wait){.ui = ui};
}

static void wait_begin(struct wait *wait, unsigned after_ms)
{
    wait->more[0] = 0;
    wait->since_ns = tick_ns();
    wait->draw_ns = wait->since_ns + (after_ms ? after_ms : WAIT_STILL_MS) * 1000000ull;
    wait->frame = 0;
    wait->is_on = true;
    if (after_ms)
        ui_progress_end(wait->ui);
    else
        ui_progress(wait->ui, "%s", wait->text);
}

void wait_say(struct wait *wait, unsigned after_ms, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(wait->text, sizeof(wait->text), fmt, ap);
    va_end(ap);
    wait_begin(wait, after_ms);
}

void wait_go_on(struct wait *wait, unsigned after_ms, const char *text)
{
    if (!wait->is_on || strcmp(wait->text, text))
        wait_say(wait, after_ms, "%s", text);
}

void wait_add(struct wait *wait, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(wait->more, sizeof(wait->more), fmt, ap);
    va_end(ap);
}

void wait_end(struct wait *wait)
{
    wait->is_on = false;
    ui_progress_end(wait->ui);
}

int wait_timeout_ms(const struct wait *wait)
{
    const uint64_t now_ns = tick_ns();

    if (!wait->is_on || !ui_has_progress(wait->ui))
        return -1;
    return now_ns >= wait->draw_ns ? 0 : (int)((wait->draw_ns - now_ns) / 1000000u + 1);
}

void wait_turn(struct wait *wait)
{
    const uint64_t now_ns = tick_ns();

    if (!wait->is_on || !ui_has_progress(wait->ui) || now_ns < wait->draw_ns)
        return;
    wait->draw_ns = now_ns + WAIT_DRAW_MS * 1000000ull;
    ui_progress(wait->ui, "%s%s %s %llu s", wait->text, wait->more, wait_mark(wait->frame++),
                (unsigned long long)((now_ns - wait->since_ns) / 1000000000u));
}
