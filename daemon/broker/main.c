/* main.c - qwend: the broker between the clients of this machine and one engine.  See broker.h,
 * docs/ARCHITECTURE.md. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "broker.h"
#include "daemon/util/log.h"
#include "daemon/util/sd.h"
#include "policy_read.h"

enum { MAIN_FAILED = 1, MAIN_USAGE = 2 };

/* fds 0 to 2 must be taken, or a socket would get such a number and be written to as stderr. */
static int main_open_std_fds(void)
{
    int fd;

    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd > STDERR_FILENO)
        close(fd);
    return fd < 0 ? MAIN_FAILED : 0;
}

static int main_serve(const struct options *options, struct policy **policy, struct publish **publish)
{
    struct fault fault = {};
    struct broker broker;
    int r = broker_init(&broker, options, policy, publish, &fault);

    if (!r)
        r = broker_run(&broker);
    if (r > 0)
        log_err("%s", fault.text);
    else if (r < 0)
        log_errno(r, "cannot go on");
    broker_deinit(&broker);
    if (!r)
        log_event_info(&(struct journal_event){.kind = JOURNAL_STOPPED}, "stopped");
    return r ? MAIN_FAILED : 0;
}

static int main_run(const struct options *options, struct policy **policy, struct publish **publish)
{
    log_init("qwend", options->verbose);
    log_open_journal(JOURNAL_PATH);
    if (!geteuid() && !options->allow_root) {
        log_err(
            "qwend does not need to be root and refuses to be: start it as user qwend, or say --allow-root");
        return MAIN_USAGE;
    }
    signal(SIGPIPE, SIG_IGN); /* of stderr; sockets are written with MSG_NOSIGNAL */
    sd_init();
    return main_serve(options, policy, publish);
}

int main(int argc, char **argv)
{
    enum conf_action action = CONF_RUN;
    _cleanup_(freep) struct policy *policy = NULL;
    _cleanup_(publish_freep) struct publish *publish = NULL;
    struct options options;
    struct fault fault = {};
    int r;

    if (main_open_std_fds())
        return MAIN_FAILED;
    r = options_read(&options, argc, argv, &action, &fault);
    if (!r && action == CONF_RUN)
        r = policy_read(&options.files, &policy, &fault);
    if (!r && action == CONF_RUN)
        r = publish_read(&options.files, &publish, &fault);
    if (r) {
        fprintf(stderr, "qwend: %s\n", r > 0 ? fault.text : strerror(-r));
        r = MAIN_USAGE;
    } else if (action == CONF_HELP) {
        options_print_help();
    } else if (action == CONF_VERSION) {
        puts("qwend " QWEND_VERSION);
    } else {
        r = main_run(&options, &policy, &publish);
    }
    options_deinit(&options);
    return r;
}
