/* open.c - finding the daemon, saying Hello, closing.  See qwend.h. */
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "conn.h"

#define OPEN_SYSTEM_PATH "/run/qwend/qwend.sock"

/* What qwend_error(NULL) tells: of the last qwend_open() of this thread.  There is no connection to keep it
 * in. */
enum { OPEN_TRIES = 3 };

static _Thread_local struct conn_error open_error;

static int open_fail(int r, const char *fmt, ...) _printf_(2, 3);
static int open_fail(int r, const char *fmt, ...)
{
    va_list ap;

    open_error = (struct conn_error){};
    va_start(ap, fmt);
    vsnprintf(open_error.text, sizeof(open_error.text), fmt, ap);
    va_end(ap);
    return r;
}

/* 0 and an fd, or the negative errno of connect(). */
static int open_connect(const char *path, unsigned flags, int *ret_fd)
{
    _cleanup_(closep) int fd = -1;
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int r;

    if (!*path || strlen(path) >= sizeof(addr.sun_path))
        return err_origin(-ENAMETOOLONG);
    strcpy(addr.sun_path, path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | (flags & QWEND_NONBLOCK ? SOCK_NONBLOCK : 0), 0);
    if (fd < 0)
        return err_errno();
    do
        r = connect(fd, (struct sockaddr *)&addr, sizeof(addr));
    while (r < 0 && errno == EINTR);
    if (r < 0)
        return err_errno();
    if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
        return err_errno();
    *ret_fd = steal_fd(&fd);
    return 0;
}

/* With no path given: the system's daemon, else the user's own.  A system socket that is there but refuses
 * this user is an answer, not a reason to look further. */
static int open_find(const char *given, unsigned flags, char **ret_path, int *ret_fd)
{
    const char *runtime_dir = secure_getenv("XDG_RUNTIME_DIR");
    _cleanup_(freep) char *path = NULL, *own = NULL;
    int r;

    if (!given)
        given = secure_getenv("QWEND_SOCKET");
    path = strdup(given && *given ? given : OPEN_SYSTEM_PATH);
    if (!path)
        return open_fail(-ENOMEM, "out of memory");
    r = open_connect(path, flags, ret_fd);
    if (r == -ENAMETOOLONG)
        return open_fail(r, "\"%.200s\" cannot be a socket: a path has 1 to 107 bytes", path);
    if ((r == -ENOENT || r == -ECONNREFUSED) && (!given || !*given) && runtime_dir && *runtime_dir == '/') {
        if (asprintf(&own, "%s/qwend/qwend.sock", runtime_dir) < 0)
            return open_fail(-ENOMEM, "out of memory");
        r = open_connect(own, flags, ret_fd);
    }
    if (r)
        return open_fail(r, "no daemon on %s%s%s: %s", path, own ? " or " : "", own ? own : "", strerror(-r));
    *ret_path = own ? steal(&own) : steal(&path);
    return 0;
}

/* A name for other people's terminals: printable ASCII, short. */
static void open_name_clean(const char *name, char ret_name[CONN_CLIENT_BYTES + 1])
{
    size_t i;

    for (i = 0; i < CONN_CLIENT_BYTES && name[i]; i++)
        ret_name[i] = name[i] >= ' ' && name[i] < 0x7f ? name[i] : '?';
    ret_name[i] = 0;
}

static int open_hello(qwend *q, const char *client_name)
{
    char *capabilities[] = {(char *)"preempt", (char *)"progress"};
    Qwp__Hello hello = QWP__HELLO__INIT;
    int r;

    open_name_clean(client_name ? client_name : program_invocation_short_name, q->client_name);
    hello.has_version_min = hello.has_version_max = true;
    hello.version_min = hello.version_max = 1;
    hello.client = q->client_name;
    hello.capabilities = capabilities;
    hello.n_capabilities = ARRAY_SIZE(capabilities);
    r = frame_preface_put(&q->out);
    if (r)
        return r;
    r = conn_put(q, 0, MSG_HELLO, 0, &hello.base);
    if (r)
        return r;
    return conn_flush(q);
}

static qwend *open_new(unsigned flags, char *path, int fd)
{
    qwend *q = calloc(1, sizeof(*q));

    if (!q)
        return NULL;
    q->fd = fd;
    q->lost_fd = -1;
    q->flags = flags;
    q->path = path;
    q->in = BUF_INIT(FRAME_HEADER_BYTES + FRAME_MAX_BYTES + CONN_READ_BYTES);
    q->out = BUF_INIT(CONN_OUT_BYTES);
    q->held_text = BUF_INIT(FRAME_MAX_BYTES + 1);
    q->hello_deadline_ns = conn_now_ns() + CONN_HELLO_MS * 1000000ull;
    q->timeout_ms = -1;
    q->frame_bytes = FRAME_MAX_BYTES;
    q->n_streams_max = CONN_STREAMS;
    q->credit_bytes_max = CONN_CREDIT_BYTES_MAX;
    q->body_bytes = CONN_BODY_BYTES;
    q->next_number = 1;
    return q;
}

int open_again(qwend *q)
{
    int fd, r;

    r = open_connect(q->path, q->flags, &fd);
    if (r)
        return r;
    closep(&q->fd);
    q->fd = fd;
    for (size_t i = 0; i < q->n_pass; i++)
        closep(&q->pass[i].fd);
    q->n_pass = 0;
    buf_deinit(&q->in);
    buf_deinit(&q->out);
    conn_forget_welcome(q);
    q->preface_seen = false;
    q->dead = 0;
    q->n_out = 0;
    q->next_number = 1;
    q->hello_deadline_ns = conn_now_ns() + CONN_HELLO_MS * 1000000ull;
    return open_hello(q, q->client_name);
}

/* A daemon that dies before it has said a word is started again; who holds the socket meanwhile lets us wait.
 */
static int open_greeted(qwend *q, const char *client_name)
{
    int r = open_hello(q, client_name);

    for (int tries = 1; !r && !q->welcome && !(q->flags & QWEND_NONBLOCK);) {
        r = conn_wait(q, 0);
        if (r == -EPIPE && !q->error.code && tries++ < OPEN_TRIES && !open_again(q))
            r = 0;
    }
    return r;
}

int qwend_open_as(qwend **ret, const char *socket, unsigned flags, const char *client_name)
{
    _cleanup_(freep) char *path = NULL;
    _cleanup_(closep) int fd = -1;
    qwend *q;
    int r;

    if (flags & ~(unsigned)(QWEND_NONBLOCK | QWEND_RESUME))
        return open_fail(-EINVAL, "unknown flags 0x%x", flags);
    r = open_find(socket, flags, &path, &fd);
    if (r)
        return r;
    q = open_new(flags, path, fd);
    if (!q)
        return open_fail(-ENOMEM, "out of memory");
    path = NULL;
    fd = -1;
    r = open_greeted(q, client_name);
    if (r) {
        open_error = q->error;
        qwend_close(q);
        return open_error.code ? QWEND_REFUSED : r;
    }
    *ret = q;
    return 0;
}

int qwend_open(qwend **ret, const char *socket, unsigned flags)
{
    return qwend_open_as(ret, socket, flags, NULL);
}

void qwend_close(qwend *q)
{
    if (!q)
        return;
    q->resuming = false; /* nobody is waited for any more */
    while (q->streams)
        qwend_stream_free(q->streams);
    conn_flush(q);
    for (size_t i = 0; i < q->n_pass; i++)
        closep(&q->pass[i].fd);
    event_release(q);
    conn_forget_welcome(q);
    buf_deinit(&q->in);
    buf_deinit(&q->out);
    buf_deinit(&q->held_text);
    closep(&q->fd);
    closep(&q->lost_fd);
    free(q->path);
    free(q);
}

const char *qwend_error(const qwend *q)
{
    return q ? q->error.text : open_error.text;
}

int qwend_error_code(const qwend *q)
{
    return q ? q->error.code : open_error.code;
}

unsigned qwend_retry_after_ms(const qwend *q)
{
    return q ? q->error.retry_after_ms : open_error.retry_after_ms;
}

const char *qwend_socket_path(const qwend *q)
{
    return q->path;
}

unsigned qwend_version(void)
{
    return 0x000100; /* 0.1.0; the project's version in meson.build */
}

const char *qwend_model_name(const qwend *q)
{
    if (q->served && q->served->model)
        return q->served->model->name;
    return q->welcome && q->welcome->model ? q->welcome->model->name : NULL;
}

uint64_t qwend_prompt_max(const qwend *q)
{
    return q->body_bytes;
}
