/* main.c - qwend: reads options, refuses what it should, runs the broker. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "broker.h"
#include "daemon/util/log.h"
#include "daemon/util/sd.h"

enum { MAIN_FAULT = 1, MAIN_USAGE = 2 };

static int main_complain(int r, const struct fault *fault)
{
    fprintf(stderr, "qwend: %s\n", fault->text[0] ? fault->text : strerror(-r));
    return MAIN_FAULT;
}

static int main_serve(const struct options *options)
{
    struct fault fault = {};
    struct broker broker;
    int r;

    if (!geteuid() && !options->allow_root) {
        fputs("qwend: refuses to run as root: nothing in it needs that.  Start it as a user of its own "
              "(systemd does), "
              "or give --allow-root\n",
              stderr);
        return MAIN_USAGE;
    }
    log_init("qwend", options->verbose);
    sd_init();
    signal(SIGPIPE, SIG_IGN);
    r = broker_init(&broker, options, &fault);
    if (r) {
        main_complain(r, &fault);
    } else {
        fprintf(stderr, "ready %s\n", options->socket);
        r = broker_run(&broker);
        if (r)
            log_errno(r, "the event loop failed");
        log_info("stopped");
    }
    broker_deinit(&broker);
    return r ? MAIN_FAULT : 0;
}

int main(int argc, char **argv)
{
    enum options_action action = OPTIONS_RUN;
    struct fault fault = {};
    struct options options;
    int r = options_read(&options, argc, argv, &action, &fault), status = 0;

    if (r) {
        main_complain(r, &fault);
        status = MAIN_USAGE;
    } else if (action == OPTIONS_HELP) {
        options_print_help();
    } else if (action == OPTIONS_VERSION) {
        puts("qwend " QWEND_VERSION);
    } else {
        status = main_serve(&options);
    }
    options_deinit(&options);
    return status;
}
