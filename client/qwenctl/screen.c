/* screen.c - escape sequences and termios.  See screen.h.  Sequences: xterm's ctlseqs; every terminal
 * emulator and tmux know them. */
#include "screen.h"

#include <string.h>
#include <sys/ioctl.h>

#include "sig.h"

/* Alternate screen, no cursor, lines that do not wrap; and back.  Wiped before it is left: tmux 3.3 otherwise
 * brings lines of it back if the window was made larger meanwhile. */
static const char screen_enter[] = "\033[?1049h\033[?25l\033[?7l\033[2J";
static const char screen_leave[] = "\033[H\033[2J\033[?7h\033[?25h\033[?1049l";

enum { SCREEN_COLUMNS = 80, SCREEN_ROWS = 24 }; /* where the terminal does not say */

int screen_put(const char *text, size_t n)
{
    while (n) {
        ssize_t k = write(STDOUT_FILENO, text, n);

        if (k < 0 && (errno != EINTR || sig_pending()))
            return err_errno();
        if (k > 0) {
            text += k;
            n -= (size_t)k;
        }
    }
    return 0;
}

/* Keys come at once and are not shown; Ctrl-C is a signal still, Ctrl-Z and Ctrl-\ are nothing: a stopped or
 * dead program could not put the terminal back. */
static int screen_take_keys(struct screen *screen)
{
    struct termios raw;

    if (tcgetattr(STDIN_FILENO, &screen->saved) < 0)
        return 0; /* no terminal, so no keys */
    raw = screen->saved;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    raw.c_cc[VSUSP] = raw.c_cc[VQUIT] = _POSIX_VDISABLE;
    raw.c_cc[VMIN] = raw.c_cc[VTIME] = 0; /* read() takes what is there */
    if (tcsetattr(STDIN_FILENO, TCSANOW, &raw) < 0)
        return err_errno();
    screen->has_keys = true;
    return 0;
}

int screen_open(struct screen *screen)
{
    int r;

    *screen = (struct screen){.is_open = true};
    r = screen_take_keys(screen);
    return r ? r : screen_put(screen_enter, sizeof(screen_enter) - 1);
}

void screen_close(struct screen *screen)
{
    if (!screen->is_open)
        return;
    screen->is_open = false;
    if (screen->has_keys) {              /* at once, also where the output is held up */
        tcflush(STDIN_FILENO, TCIFLUSH); /* what was typed was meant for us */
        tcsetattr(STDIN_FILENO, TCSANOW, &screen->saved);
    }
    (void)!write(STDOUT_FILENO, screen_leave, sizeof(screen_leave) - 1); /* whatever signal waits */
}

void screen_size(int *ret_columns, int *ret_rows)
{
    struct winsize size = {};

    (void)ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
    *ret_columns = size.ws_col ? size.ws_col : SCREEN_COLUMNS;
    *ret_rows = size.ws_row ? size.ws_row : SCREEN_ROWS;
}

int screen_key(void)
{
    struct termios now;
    unsigned char c;
    ssize_t n = read(STDIN_FILENO, &c, 1);

    if (n > 0)
        return c;
    return n < 0 && tcgetattr(STDIN_FILENO, &now) < 0 ? -2 : -1;
}
