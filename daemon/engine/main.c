/* main.c - qwend-engine: started by qwend with its socket as fd 3.  See engine.h. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "daemon/util/log.h"
#include "engine.h"

enum { MAIN_FD = 3, MAIN_USAGE = 2 };

static bool main_fd_is_socket(void)
{
    int type;
    socklen_t n = sizeof(type);

    return getsockopt(MAIN_FD, SOL_SOCKET, SO_TYPE, &type, &n) == 0;
}

int main(int argc, char **argv)
{
    const char *trouble;
    bool verbose = false;
    struct engine e;
    int r;

    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--version")) {
            puts("qwend-engine " QWEND_VERSION);
            return 0;
        }
        verbose = verbose || !strcmp(argv[i], "--verbose");
    }
    if (!main_fd_is_socket()) {
        fputs("qwend-engine: fd 3 is not a socket; qwend starts this program, it is not for use by hand\n",
              stderr);
        return MAIN_USAGE;
    }
    log_init("qwend-engine", verbose);
    /* The broker decides when to end; a Ctrl-C on its terminal reaches the whole group. */
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    r = engine_init(&e, MAIN_FD);
    if (!r)
        r = engine_run(&e);
    trouble = e.kern ? e.kern->trouble : "";
    if (r < 0)
        log_errno(r, "engine: ended%s%s", *trouble ? ", " : "", trouble);
    engine_deinit(&e);
    return r < 0 ? 1 : 0;
}
