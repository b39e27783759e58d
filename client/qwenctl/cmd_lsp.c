/* cmd_lsp.c - `qwenctl lsp`: the loop of the language server.  See lsp.h. */
#include <poll.h>
#include <string.h>

#include "cmd.h"
#include "lsp.h"
#include "tick.h"

enum {
    LSP_READ_BYTES = 64 << 10,
    LSP_WRITE_BYTES = 4096, /* PIPE_BUF: as much as a pipe that is writable takes without waiting */
};

static int lsp_timeout_ms(const struct lsp *lsp)
{
    const uint64_t due = lsp->fill.due_ns, now = tick_ns();
    const int left = !due ? -1 : due <= now ? 0 : (int)CEIL_DIV(due - now, 1000000u);
    const int link = lsp->link.q ? qwend_timeout_ms(lsp->link.q) : -1;

    return left < 0 || (link >= 0 && link < left) ? link : left;
}

/* false: what comes is no language server protocol */
static bool lsp_take_messages(struct lsp *lsp, struct fault *fault)
{
    const char *body;
    size_t n;
    int r;

    while (!lsp->over && !lsp->failed && !(r = lsp_frame_next(&lsp->in, fault, &body, &n))) {
        json_error_t error;
        json_t *message = json_loadb(body, n, JSON_ALLOW_NUL, &error);

        if (message)
            lsp_on_message(lsp, message);
        else
            lsp_on_garbage(lsp, error.text);
    }
    return lsp->over || lsp->failed || r != LSP_FRAME_E_BAD;
}

/* 1: something came; 0: the editor is gone; < 0 */
static int lsp_read(struct lsp *lsp)
{
    char *tail;
    ssize_t n;
    int r;

    r = lsp_frame_reserve(&lsp->in, LSP_READ_BYTES, &tail);
    if (r)
        return r;
    do
        n = read(STDIN_FILENO, tail, LSP_READ_BYTES);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN ? 1 : err_errno();
    lsp_frame_commit(&lsp->in, (size_t)n);
    return n > 0;
}

/* As long as it does not have to wait. */
static int lsp_write(struct lsp *lsp)
{
    size_t done = 0;
    int r = 0;

    while (!r && done < lsp->n_out) {
        struct pollfd pollfd = {.fd = STDOUT_FILENO, .events = POLLOUT};
        ssize_t n;

        if (poll(&pollfd, 1, 0) <= 0)
            break;
        n = write(STDOUT_FILENO, lsp->out + done, MIN(lsp->n_out - done, (size_t)LSP_WRITE_BYTES));
        if (n < 0 && errno != EINTR && errno != EAGAIN)
            r = err_errno();
        else if (n > 0)
            done += (size_t)n;
    }
    lsp->n_out -= done;
    memmove(lsp->out, lsp->out + done, lsp->n_out);
    return r;
}

static int lsp_turn(struct lsp *lsp, struct fault *fault)
{
    struct pollfd fds[] = {
        {.fd = STDIN_FILENO, .events = POLLIN},
        {.fd = lsp->link.q ? qwend_fd(lsp->link.q) : -1,
         .events = lsp->link.q ? qwend_events(lsp->link.q) : 0},
        {.fd = lsp->n_out ? STDOUT_FILENO : -1, .events = POLLOUT},
    };
    int n = poll(fds, ARRAY_SIZE(fds), lsp_timeout_ms(lsp)), r;

    if (n < 0)
        return errno == EINTR ? 0 : err_errno();
    if (lsp->link.q && qwend_dispatch(lsp->link.q, 0))
        lsp_link_lost(lsp);
    if (fds[0].revents) {
        r = lsp_read(lsp);
        if (r <= 0) {
            lsp->over = true;
            return r;
        }
        if (!lsp_take_messages(lsp, fault))
            return err_origin(-EBADMSG);
    }
    lsp_fill_on_time(lsp);
    return lsp->failed ? err_origin(-ENOBUFS) : lsp_write(lsp);
}

enum code cmd_lsp(const struct cmd_args *args)
{
    struct lsp *lsp = calloc(1, sizeof(*lsp));
    struct fault fault = {};
    enum code code = CODE_OK;
    int r = lsp ? 0 : -ENOMEM;

    if (lsp)
        lsp->link.socket = args->values->socket;
    while (!r && !lsp->over)
        r = lsp_turn(lsp, &fault);
    if (r < 0) {
        ui_error(args->ui, "lsp: %s", *fault.text ? fault.text : strerror(-r));
        code = r == -EBADMSG ? CODE_USAGE : r == -EPIPE ? CODE_PIPE : CODE_FAILED;
    } else if (!lsp->shut_down) {
        code = CODE_NO; /* as the protocol has it: it was not told to end */
    }
    if (lsp)
        lsp_deinit(lsp);
    free(lsp);
    return code;
}
