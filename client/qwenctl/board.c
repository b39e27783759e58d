/* board.c - the lines of `qwenctl top`.  See board.h. */
#include "board.h"

#include <pwd.h>
#include <stdarg.h>
#include <string.h>

#include "json.h"
#include "term.h"

enum {
    BOARD_LINE_BYTES = 512,
    BOARD_WIDE = 110, /* columns from which on pid and id are shown too */
    BOARD_BAR = 12,
    BOARD_HEAD_ROWS =
        6, /* what stands above the requests, the blank line and the names of columns included */
};

enum board_style { BOARD_PLAIN, BOARD_BOLD, BOARD_DIM, BOARD_GOOD, BOARD_WARN, BOARD_BAD, BOARD_HEADS };

/* numbers */
const char *board_count(uint64_t n, char out[8])
{
    static const char units[] = "kMGTPE";
    double v = (double)n;
    int i = -1;

    if (n < 100000) {
        snprintf(out, 8, "%u", (unsigned)n);
        return out;
    }
    do {
        v /= 1000;
        i++;
    } while (v >= 999.5);
    snprintf(out, 8, v < 9.95 ? "%.1f%c" : "%.0f%c", v, units[i]);
    return out;
}

const char *board_span(double seconds, char out[8])
{
    const uint64_t s = seconds > 0 ? (uint64_t)MIN(seconds, 1e12) : 0, m = s / 60, h = m / 60;

    if (!(seconds >= 99.95)) /* NaN too: a daemon may send anything */
        snprintf(out, 8, "%.1fs", seconds > 0 ? seconds : 0.0);
    else if (m < 100)
        snprintf(out, 8, "%um%02u", (unsigned)m, (unsigned)(s % 60));
    else if (h < 100)
        snprintf(out, 8, "%uh%02u", (unsigned)h, (unsigned)(m % 60));
    else
        snprintf(out, 8, "%ud", (unsigned)MIN(h / 24, (uint64_t)99999));
    return out;
}

static const char *board_bytes(uint64_t n, char out[16])
{
    const double mib = (double)n / (1 << 20);

    if (mib < 1023.5)
        snprintf(out, 16, mib < 9.95 ? "%.1f MiB" : "%.0f MiB", mib);
    else
        snprintf(out, 16, "%.1f GiB", MIN(mib / 1024, 1e6));
    return out;
}

/* Of what was read, what came from the cache. */
static const char *board_share(uint64_t part, uint64_t whole, char out[8])
{
    if (whole)
        snprintf(out, 8, "%u%%", (unsigned)(100 * MIN((double)part / (double)whole, 1.0) + 0.5));
    else
        snprintf(out, 8, "-");
    return out;
}

/* lines */
/* How many bytes of UTF-8 fill n columns at most; every character is taken for one column wide. */
static size_t board_cut(const char *text, int columns)
{
    size_t i = 0;

    for (int n = 0; text[i]; n++) {
        if (n == columns)
            break;
        for (i++; ((unsigned char)text[i] & 0xc0) == 0x80;)
            i++;
    }
    return i;
}

/* What is being written, and how many rows the terminal still has. */
struct board_page {
    FILE *out;
    const struct board *board;
    int left;
    uint32_t
        uid; /* of the user looked up last: a name service may be slow, and rows come in runs of one user */
    char user[16]; /* "": none was */
};

static void board_line(struct board_page *page, enum board_style style, const char *fmt, ...) _printf_(3, 4);
static void board_line(struct board_page *page, enum board_style style, const char *fmt, ...)
{
    static const char *const sgr[] = {"",         "\033[1m",  "\033[2m", "\033[32m",
                                      "\033[33m", "\033[31m", "\033[7m"};
    const struct board *board = page->board;
    const char *on = board->rows && board->color ? sgr[style] : "";
    char line[BOARD_LINE_BYTES], safe[TERM_GROWTH * BOARD_LINE_BYTES + 1];
    va_list ap;
    size_t n;

    if (board->rows && page->left-- <= 0)
        return;
    va_start(ap, fmt);
    vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    n = term_escape(line, strlen(line), safe);
    safe[n] = '\0';
    if (board->columns)
        n = board_cut(safe, board->columns);
    fprintf(page->out, "%s%.*s%s%s\n", on, (int)n, safe, *on ? "\033[0m" : "", board->rows ? "\033[K\r" : "");
}

static enum board_style board_state_style(int state)
{
    return state == 3 ? BOARD_BOLD : state == 6 ? BOARD_BAD : BOARD_WARN;
}

static const char *board_bar(const struct board *board, uint32_t n, uint32_t max, char out[64])
{
    const int full = max ? (int)(MIN(n, max) * BOARD_BAR / max) : 0;
    char *p = out;

    for (int i = 0; i < BOARD_BAR; i++)
        p = stpcpy(p, board->utf8 ? (i < full ? "█" : "░") : (i < full ? "#" : "-"));
    return out;
}

void board_set_title(struct board *board, const qwend_status_info *info)
{
    const char *const name = *info->model ? info->model : info->file;

    snprintf(board->title, sizeof(board->title), "%.80s%s%.40s%s%.20s%s%.20s", *name ? name : "no model yet",
             *info->quantisation ? ", " : "", info->quantisation, *info->backend ? ", " : "", info->backend,
             *info->isa ? " " : "", info->isa);
}

static void board_put_head(struct board_page *page, const qwend_sample *s)
{
    const struct board *board = page->board;
    char a[16], b[16], c[16], d[16], e[16], bar[64];

    board_line(page, board_state_style(s->state), "%s: %s, up %s", s->state_name, board->title,
               board_span(s->uptime_s, a));
    board_line(page, BOARD_PLAIN, "running   %s %u of %u, %u waiting, %u connections",
               board_bar(board, s->running, s->slots, bar), s->running, s->slots, s->queued, s->connections);
    board_line(page, BOARD_PLAIN,
               "tokens    %.1f/s written, %.1f/s read; in all %s written, %s read, %s cached", s->written_s,
               s->read_s, board_count(s->output_tokens, a), board_count(s->prompt_tokens, b),
               board_share(s->cached_tokens, s->prompt_tokens, c));
    board_line(page, BOARD_PLAIN, "memory    weights %s, state %s, cache %s of %s, held %s",
               board_bytes(s->weights_bytes, a), board_bytes(s->state_bytes, b),
               board_bytes(s->cache_used_bytes, c), board_bytes(s->cache_bytes, d),
               board_bytes(s->held_bytes, e));
    board_line(page, s->engine_restarts ? BOARD_WARN : BOARD_PLAIN,
               "so far    %s requests, %u engine restarts, %llu replays, %llu stalls",
               board_count(s->n_requests, a), s->engine_restarts, (unsigned long long)s->replays,
               (unsigned long long)s->stalls);
}

/* the requests */
static const char *board_user(struct board_page *page, uint32_t uid)
{
    const struct passwd *user = *page->user && page->uid == uid ? NULL : getpwuid(uid);

    if (user)
        snprintf(page->user, sizeof(page->user), "%s", user->pw_name);
    else if (!*page->user || page->uid != uid)
        snprintf(page->user, sizeof(page->user), "%u", uid);
    page->uid = uid;
    return page->user;
}

static const char *board_priority(int priority)
{
    return priority == 1 ? "interactive" : priority == 3 ? "batch" : "normal";
}

static enum board_style board_request_style(const qwend_request_info *info)
{
    switch (*info->state) {
    case 'd':
        return BOARD_GOOD; /* decode */
    case 'q':
        return BOARD_DIM; /* queued */
    case 'p':
        return info->state[1] == 'a' ? BOARD_WARN : BOARD_PLAIN; /* paused, prefill */
    default:
        return BOARD_WARN; /* replaying */
    }
}

static void board_put_request(struct board_page *page, const qwend_request_info *info)
{
    const struct board *board = page->board;
    const bool wide = !board->columns || board->columns >= BOARD_WIDE;
    char state[16], prompt[8], cached[8], output[8], age[8], pid[24] = "", id[40] = "";

    snprintf(state, sizeof(state), info->position ? "%s %u" : "%s", info->state, info->position);
    if (wide)
        snprintf(pid, sizeof(pid), "%8u ", info->pid);
    if (wide)
        snprintf(id, sizeof(id), "%.33s ", info->request_id);
    board_line(page, board_request_style(info), "%-8.8s %s%-6s %-9.9s %6s %6s %6s %6.1f %6s  %s%.64s",
               board_user(page, info->uid), pid,
               info->priority == 1 ? "inter" : board_priority(info->priority), state,
               board_count(info->prompt_tokens, prompt),
               board_share(info->cached_tokens, info->prompt_tokens, cached),
               board_count(info->output_tokens, output), info->tokens_s, board_span(info->age_s, age), id,
               info->client);
}

static void board_put_names(struct board_page *page)
{
    const struct board *board = page->board;
    const bool wide = !board->columns || board->columns >= BOARD_WIDE;

    board_line(page, BOARD_HEADS, "%-8s %s%-6s %-9s %6s %6s %6s %6s %6s  %s%s%*s", "USER",
               wide ? "     PID " : "", "CLASS", "STATE", "PROMPT", "CACHED", "OUTPUT", "TOK/S", "AGE",
               wide ? "ID                               " : "", "CLIENT",
               board->rows && board->color ? board->columns : 0, ""); /* the bar reaches the right edge */
}

/* Those that run before those that wait, each as they came. */
static size_t board_put_list(struct board_page *page, const qwend_sample *s, size_t max)
{
    size_t n = 0;

    for (int waiting = 0; waiting <= 1; waiting++)
        for (size_t i = 0; i < s->n_list && n < max; i++)
            if ((*s->list[i].state == 'q') == waiting) {
                board_put_request(page, &s->list[i]);
                n++;
            }
    return n;
}

void board_put(FILE *out, const struct board *board, const qwend_sample *sample)
{
    /* The last row stays empty: a line feed there would scroll. */
    struct board_page page = {.out = out, .board = board, .left = board->rows - 1};
    const size_t all = sample->n_list + sample->unlisted;
    size_t n;

    if (board->rows)
        fputs("\033[H", out);
    board_put_head(&page, sample);
    board_line(&page, BOARD_PLAIN, "%s", "");
    board_put_names(&page);
    n = board_put_list(&page, sample, board->rows ? (size_t)MAX(page.left - 1, 0) : SIZE_MAX);
    if (n < all)
        board_line(&page, BOARD_DIM, "%s %zu more", board->utf8 ? "…" : "...", all - n);
    if (board->rows)
        fputs("\033[J", out);
}

/* for programs */
static void board_json_requests(struct json *json, const qwend_sample *s)
{
    json_open(json, "requests", '[');
    for (size_t i = 0; i < s->n_list; i++) {
        const qwend_request_info *info = &s->list[i];

        json_open(json, NULL, '{');
        json_text(json, "id", info->request_id, (size_t)-1);
        json_uint(json, "uid", info->uid);
        json_uint(json, "pid", info->pid);
        json_text(json, "client", info->client, (size_t)-1);
        json_text(json, "state", info->state, (size_t)-1);
        json_text(json, "priority", board_priority(info->priority), (size_t)-1);
        json_uint(json, "position", info->position);
        json_uint(json, "prompt_tokens", info->prompt_tokens);
        json_uint(json, "cached_tokens", info->cached_tokens);
        json_uint(json, "output_tokens", info->output_tokens);
        json_real(json, "tokens_s", info->tokens_s, 2);
        json_uint(json, "replays", info->replays);
        json_real(json, "age_s", info->age_s, 3);
        json_close(json, '}');
    }
    json_close(json, ']');
}

void board_put_json(FILE *out, const qwend_status_info *info, const qwend_sample *s)
{
    struct json json = {.file = out};

    json_open(&json, NULL, '{');
    json_text(&json, "state", s->state_name, (size_t)-1);
    json_text(&json, "model", info->model, (size_t)-1);
    json_text(&json, "backend", info->backend, (size_t)-1);
    json_real(&json, "uptime_s", s->uptime_s, 3);
    json_uint(&json, "slots", s->slots);
    json_uint(&json, "running", s->running);
    json_uint(&json, "queued", s->queued);
    json_uint(&json, "connections", s->connections);
    json_real(&json, "read_s", s->read_s, 2);
    json_real(&json, "written_s", s->written_s, 2);
    json_uint(&json, "requests_total", s->n_requests);
    json_uint(&json, "prompt_tokens", s->prompt_tokens);
    json_uint(&json, "cached_tokens", s->cached_tokens);
    json_uint(&json, "output_tokens", s->output_tokens);
    json_uint(&json, "replays", s->replays);
    json_uint(&json, "stalls", s->stalls);
    json_uint(&json, "engine_restarts", s->engine_restarts);
    json_uint(&json, "weights_bytes", s->weights_bytes);
    json_uint(&json, "state_bytes", s->state_bytes);
    json_uint(&json, "cache_bytes", s->cache_bytes);
    json_uint(&json, "cache_used_bytes", s->cache_used_bytes);
    json_uint(&json, "held_bytes", s->held_bytes);
    json_uint(&json, "held_limit_bytes", s->held_limit_bytes);
    board_json_requests(&json, s);
    json_uint(&json, "unlisted", s->unlisted);
    json_close(&json, '}');
    fputc('\n', out);
}
