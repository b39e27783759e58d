/* main.c - qwend-http: HTTP for programs that know no socket of ours.  See gateway.h, docs/GATEWAY.md. */
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "daemon/util/log.h"
#include "daemon/util/sd.h"
#include "gateway.h"

enum { MAIN_FAILED = 1, MAIN_USAGE = 2 };

static int main_serve(const struct options *options)
{
    struct fault fault = {};
    struct gateway gateway;
    int r = gateway_init(&gateway, options, &fault);

    if (!r)
        r = gateway_run(&gateway);
    if (r > 0)
        log_err("%s", fault.text);
    else if (r < 0)
        log_errno(r, "cannot go on");
    gateway_deinit(&gateway);
    return r > 0 ? MAIN_USAGE : r ? MAIN_FAILED : 0;
}

static int main_run(const struct options *options)
{
    log_init("qwend-http", options->verbose);
    if (!geteuid() && !options->allow_root) {
        log_err(
            "qwend-http does not need to be root and refuses to be: start it as a user of its own, or say "
            "--allow-root");
        return MAIN_USAGE;
    }
    /* A prompt of 8 MiB passes through several buffers; each goes back to the system when it is freed. */
    mallopt(M_MMAP_THRESHOLD, 256 << 10);
    mallopt(M_TRIM_THRESHOLD, 512 << 10);
    signal(SIGPIPE, SIG_IGN); /* of stderr; sockets are written with MSG_NOSIGNAL */
    sd_init();
    return main_serve(options);
}

int main(int argc, char **argv)
{
    enum conf_action action = CONF_RUN;
    struct options options;
    struct fault fault = {};
    int r = options_read(&options, argc, argv, &action, &fault);

    if (r) {
        fprintf(stderr, "qwend-http: %s\n", r > 0 ? fault.text : strerror(-r));
        r = MAIN_USAGE;
    } else if (action == CONF_HELP) {
        options_print_help();
    } else if (action == CONF_VERSION) {
        puts("qwend-http " QWEND_VERSION);
    } else {
        r = main_run(&options);
    }
    options_deinit(&options);
    return r;
}
