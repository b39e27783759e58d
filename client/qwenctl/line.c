/* line.c - a line of input.  See line.h.
 *
 * libedit reads characters through line_on_char(), which polls for signals too: Ctrl-C gives the line up. */
#include "line.h"

#include <fcntl.h>
#include <histedit.h>
#include <langinfo.h>
#include <locale.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <wchar.h>

#include "file.h"
#include "sig.h"

enum { LINE_HISTORY = 1000 }; /* lines kept */

struct line {
    EditLine *el; /* NULL: no editing */
    History *history;
    char *path;
    const char *prompt; /* borrowed during line_read() */
    char *text;         /* without editing: what getline() gave */
    size_t cap;
};

char *line_history_path(void)
{
    return file_home("XDG_STATE_HOME", ".local/state", "chat_history");
}

/* Makes the folders and the file with their modes before libedit writes: what was typed is the user's alone.
 */
static int line_history_make(const char *path)
{
    _cleanup_(closep) int fd = -1;
    int r = file_make_folders(path);

    if (r)
        return r;
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    return fd < 0 || fchmod(fd, 0600) < 0 ? err_errno() : 0;
}

static char *line_on_prompt(EditLine *el)
{
    struct line *line;

    el_get(el, EL_CLIENTDATA, &line);
    return (char *)line->prompt;
}

/* One character for libedit: 1, 0 at the end of input, -1 for a signal. */
static int line_on_char(EditLine *el, wchar_t *ret_c)
{
    struct pollfd fds[] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = sig_fd(), .events = POLLIN}};
    mbstate_t state = {};
    char byte;

    for (;;) {
        ssize_t n;

        while (poll(fds, ARRAY_SIZE(fds), -1) < 0 && errno == EINTR)
            ;
        if (sig_pending()) {
            errno = EINTR;
            return -1;
        }
        n = read(STDIN_FILENO, &byte, 1);
        if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN))
            return (int)n;
        if (n < 0)
            continue;
        switch (mbrtowc(ret_c, &byte, 1, &state)) {
        case (size_t)-2: /* more bytes of this character follow */
            continue;
        case (size_t)-1: /* not of this locale: show that something was there */
            *ret_c = L'?';
            return 1;
        default:
            return 1;
        }
    }
}

static int line_open_edit(struct line *line)
{
    HistEvent event;

    if (strcmp(nl_langinfo(CODESET), "UTF-8"))
        setlocale(LC_CTYPE, "C.UTF-8"); /* the daemon takes UTF-8 only, so that is what must be typed */
    line->el = el_init("qwenctl", stdin, stdout, stderr);
    line->history = history_init();
    if (!line->el || !line->history)
        return err_origin(-ENOMEM);
    history(line->history, &event, H_SETSIZE, LINE_HISTORY);
    history(line->history, &event, H_SETUNIQUE, 1);
    if (line->path && !line_history_make(line->path))
        history(line->history, &event, H_LOAD, line->path); /* empty or foreign: starts without */
    el_set(line->el, EL_CLIENTDATA, line);
    el_set(line->el, EL_PROMPT, line_on_prompt);
    el_set(line->el, EL_EDITOR, "emacs");
    el_set(line->el, EL_HIST, history, line->history);
    el_set(line->el, EL_GETCFN, line_on_char);
    el_source(line->el, NULL); /* the user's ~/.editrc */
    return 0;
}

int line_open(bool edit, const char *history, struct line **ret_line)
{
    struct line *line = calloc(1, sizeof(*line));
    int r = 0;

    if (!line)
        return err_origin(-ENOMEM);
    if (edit) {
        line->path = history ? strdup(history) : NULL;
        r = line_open_edit(line);
    }
    if (r) {
        line_close(line);
        return r;
    }
    *ret_line = line;
    return 0;
}

static int line_read_edit(struct line *line, const char **ret_text, size_t *ret_n)
{
    HistEvent event;
    const char *text;
    int n = 0;

    /* Before the prompt shows: what is typed at once is edited, not echoed. */
    el_set(line->el, EL_PREP_TERM, 1);
    text = el_gets(line->el, &n);
    if (!text || n <= 0)
        return sig_pending() ? LINE_E_SIGNAL : LINE_E_END;
    if (n > 1)
        history(line->history, &event, H_ENTER, text);
    *ret_text = text;
    *ret_n = (size_t)n - (text[n - 1] == '\n');
    return LINE_OK;
}

static int line_read_plain(struct line *line, const char **ret_text, size_t *ret_n)
{
    ssize_t n;

    do {
        errno = 0;
        clearerr(stdin);
        n = getline(&line->text, &line->cap, stdin);
    } while (n < 0 && errno == EINTR && !sig_pending());
    if (sig_pending())
        return LINE_E_SIGNAL;
    if (n < 0)
        return errno && errno != EINTR ? err_errno() : LINE_E_END;
    *ret_text = line->text;
    *ret_n = (size_t)n - (n && line->text[n - 1] == '\n');
    return LINE_OK;
}

int line_read(struct line *line, const char *prompt, const char **ret_text, size_t *ret_n)
{
    line->prompt = prompt;
    return line->el ? line_read_edit(line, ret_text, ret_n) : line_read_plain(line, ret_text, ret_n);
}

struct line *line_close(struct line *line)
{
    HistEvent event;

    if (!line)
        return NULL;
    if (line->history && line->path && !line_history_make(line->path))
        history(line->history, &event, H_SAVE, line->path);
    if (line->history)
        history_end(line->history);
    if (line->el)
        el_end(line->el);
    free(line->path);
    free(line->text);
    free(line);
    return NULL;
}
