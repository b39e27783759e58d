/* upstream_none.c - a build without libcurl: nothing can leave the machine.  See upstream.h. */
#include "upstream.h"

int upstream_open(struct gateway *g, struct fault *fault)
{
    if (!g->options->servers.n)
        return UPSTREAM_OK;
    return fault_set(fault, UPSTREAM_E_INVALID,
                     "upstream %s is configured, but this build has no libcurl to reach it with",
                     g->options->servers.all[0].name);
}

void upstream_close(struct gateway *g) {}

bool upstream_wants(const struct gateway *g, const char *model)
{
    return false;
}

int upstream_pick(const struct gateway *g, enum upstream_policy policy, const struct up_place *place)
{
    return -1;
}

int upstream_ask(struct gateway *g, struct up_call *call, int server, const char *user, const char *model,
                 const char *body, size_t n)
{
    return err_origin(-ENOSYS);
}

void up_end(struct up_call *call) {}

void up_pause(struct up_call *call, bool paused) {}

void upstream_state(const struct gateway *g, int server, struct up_state *ret_state)
{
    *ret_state = (struct up_state){};
}

enum upstream_policy upstream_policy_of(const struct server_conf *server)
{
    return UPSTREAM_LOCAL_ONLY;
}
