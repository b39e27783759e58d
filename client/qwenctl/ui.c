/* ui.c - stdout and stderr.  See ui.h. */
#include "ui.h"

#include <poll.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>

#include "md_paint.h"
#include "sig.h"
#include "term.h"

enum {
    UI_WRITE_BYTES = 4096, /* PIPE_BUF: a pipe that polls writable takes so much without blocking */
    UI_WIPE_BYTES = 24,    /* an escape sequence with a number */
};

void ui_init(struct ui *ui, const struct opt_values *values)
{
    const char *term = getenv("TERM"), *no_color = getenv("NO_COLOR");
    bool dumb = !term || !*term || !strcmp(term, "dumb");

    *ui = (struct ui){
        .quiet = values->quiet,
        .verbose = values->verbose,
        .out_tty = isatty(STDOUT_FILENO),
        .err_tty = isatty(STDERR_FILENO),
    };
    ui->color = values->color == OPT_COLOR_ALWAYS ||
                (values->color == OPT_COLOR_AUTO && ui->err_tty && !dumb && !(no_color && *no_color));
    ui->style = ui->out_tty && !dumb && values->color != OPT_COLOR_NEVER &&
                (values->color == OPT_COLOR_ALWAYS || !(no_color && *no_color));
    ui->cursor = ui->err_tty && !dumb;
}

static unsigned ui_columns(void)
{
    struct winsize size;

    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) || !size.ws_col ? 80 : size.ws_col;
}

/* How many bytes of harmless text fit into the columns; what they take goes to ret_columns. */
static size_t ui_fit(const char *text, size_t n, unsigned columns, unsigned *ret_columns)
{
    size_t done = 0, k;

    *ret_columns = 0;
    while (done < n) {
        const unsigned width = md_columns_of(text + done, n - done, &k);

        if (*ret_columns + width > columns)
            break;
        *ret_columns += width;
        done += k;
    }
    return done;
}

/* What takes the line of progress away, or nothing where there is none.  A terminal that was made narrower
 * meanwhile has broken the line into several, as most do; the cursor is in the last. */
static const char *ui_wipe(struct ui *ui, unsigned columns, char text[UI_WIPE_BYTES])
{
    const unsigned n_more = ui->progress ? (ui->progress - 1) / columns : 0;

    if (n_more)
        snprintf(text, UI_WIPE_BYTES, "\r\033[%uA\033[J", n_more);
    else
        snprintf(text, UI_WIPE_BYTES, "%s", ui->progress ? "\r\033[K" : "");
    ui->progress = 0;
    return text;
}

void ui_progress_end(struct ui *ui)
{
    char wipe[UI_WIPE_BYTES];

    if (ui->progress)
        fputs(ui_wipe(ui, ui_columns(), wipe), stderr);
}

/* In place: what stands there for a while, one line of the terminal at most; else a whole line.  The size of
 * the window is asked once and all is written at once: what is wiped and what is drawn fit together, and
 * nothing flickers. */
static void ui_say(struct ui *ui, bool in_place, const char *fmt, va_list ap)
{
    static const char name[] = "qwenctl: ";
    char line[600], safe[sizeof(name) + TERM_GROWTH * sizeof(line)], wipe[UI_WIPE_BYTES];
    const unsigned columns = ui_columns();
    size_t n;

    vsnprintf(line, sizeof(line), fmt, ap);
    memcpy(safe, name, sizeof(name) - 1);
    n = sizeof(name) - 1 + term_escape(line, strlen(line), safe + sizeof(name) - 1);
    ui_wipe(ui, columns, wipe);
    if (in_place)
        n = ui_fit(safe, n, columns - 1, &ui->progress);
    fprintf(stderr, "%s%.*s%s", wipe, (int)n, safe, in_place ? "" : "\n");
    fflush(stderr);
}

void ui_error(struct ui *ui, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    ui_say(ui, false, fmt, ap);
    va_end(ap);
}

static bool ui_wants_notes(const struct ui *ui)
{
    return !ui->quiet && (ui->err_tty || ui->verbose);
}

void ui_note(struct ui *ui, const char *fmt, ...)
{
    va_list ap;

    if (!ui_wants_notes(ui))
        return;
    va_start(ap, fmt);
    ui_say(ui, false, fmt, ap);
    va_end(ap);
}

bool ui_has_progress(const struct ui *ui)
{
    const bool in_line =
        (ui->out_tty && ui->out_last && ui->out_last != '\n') || (ui->err_last && ui->err_last != '\n');

    return ui->cursor && !ui->quiet && !in_line;
}

void ui_progress(struct ui *ui, const char *fmt, ...)
{
    va_list ap;

    if (!ui_wants_notes(ui))
        return;
    va_start(ap, fmt);
    ui_say(ui, ui_has_progress(ui), fmt, ap);
    va_end(ap);
}

/* Waits until stdout takes some bytes, or a signal comes. */
static int ui_wait_out(const struct ui *ui)
{
    struct pollfd fds[] = {{.fd = STDOUT_FILENO, .events = POLLOUT}, {.fd = sig_fd(), .events = POLLIN}};

    while (poll(fds, ARRAY_SIZE(fds), ui->hurry ? 0 : -1) < 0)
        if (errno != EINTR)
            return err_errno();
    if (ui->hurry)
        return fds[0].revents ? UI_OK : UI_E_SIGNAL;
    return sig_pending() ? UI_E_SIGNAL : UI_OK;
}

static int ui_write(const struct ui *ui, const char *text, size_t n)
{
    while (n) {
        int r = ui_wait_out(ui);
        ssize_t k;

        if (r)
            return r;
        k = write(STDOUT_FILENO, text, MIN(n, (size_t)UI_WRITE_BYTES));
        if (k < 0 && errno == EPIPE)
            return UI_E_GONE;
        if (k < 0 && errno != EINTR && errno != EAGAIN)
            return err_errno();
        if (k > 0) {
            text += k;
            n -= (size_t)k;
        }
    }
    return UI_OK;
}

int ui_out(struct ui *ui, const char *text, size_t n)
{
    _cleanup_(freep) char *safe = NULL;

    if (!n)
        return UI_OK;
    ui_progress_end(ui);
    ui->out_last = text[n - 1];
    if (!ui->out_tty)
        return ui_write(ui, text, n);
    safe = malloc(TERM_GROWTH * n);
    if (!safe)
        return err_origin(-ENOMEM);
    return ui_write(ui, safe, term_escape(text, n, safe));
}

int ui_out_styled(struct ui *ui, const char *text, size_t n)
{
    if (!n)
        return UI_OK;
    ui_progress_end(ui);
    ui->out_last = text[n - 1];
    return ui_write(ui, text, n);
}

void ui_err(struct ui *ui, const char *text, size_t n)
{
    _cleanup_(freep) char *safe = NULL;

    ui_progress_end(ui);
    if (n)
        ui->err_last = text[n - 1];
    if (ui->err_tty && n) {
        safe = malloc(TERM_GROWTH * n);
        if (!safe)
            return;
        n = term_escape(text, n, safe);
    }
    fwrite(safe ? safe : text, 1, n, stderr);
    fflush(stderr);
}
