/* sig.c - signals.  See sig.h. */
#include "sig.h"

#include <fcntl.h>
#include <signal.h>

static volatile sig_atomic_t sig_last;
static int sig_pipe[2] = {-1, -1};

static void sig_on_signal(int signal)
{
    int saved = errno;

    sig_last = signal;
    if (write(sig_pipe[1], "", 1) < 0)
        errno = saved; /* the pipe is full: it is readable already */
    errno = saved;
}

/* Without SA_RESTART a blocked write() ends; with SA_RESETHAND the second signal does what it does by
 * default. */
static int sig_set(void (*handler)(int), int flags, int signal)
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};

    sigemptyset(&action.sa_mask);
    return sigaction(signal, &action, NULL) < 0 ? err_errno() : 0;
}

int sig_init(void)
{
    if (pipe2(sig_pipe, O_CLOEXEC | O_NONBLOCK) < 0)
        return err_errno();
    return sig_set(SIG_IGN, 0, SIGPIPE);
}

int sig_listen(void)
{
    int r = sig_set(sig_on_signal, SA_RESETHAND, SIGINT);

    return r ? r : sig_set(sig_on_signal, SA_RESETHAND, SIGTERM);
}

static void sig_on_resize(int signal)
{
    const int saved = errno;

    (void)!write(sig_pipe[1], "", 1); /* full: it is readable already */
    errno = saved;
}

int sig_listen_resize(void)
{
    return sig_set(sig_on_resize, 0, SIGWINCH);
}

void sig_take_resize(void)
{
    char waste[16];

    while (!sig_last && read(sig_pipe[0], waste, sizeof(waste)) > 0)
        ;
}

int sig_fd(void)
{
    return sig_pipe[0];
}

int sig_pending(void)
{
    return sig_last;
}

void sig_clear(void)
{
    char waste[16];

    sig_last = 0;
    while (read(sig_pipe[0], waste, sizeof(waste)) > 0)
        ;
    sig_listen(); /* worked before with the same arguments */
}
