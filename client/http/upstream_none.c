/* upstream_none.c - a build without libcurl: nothing can leave the machine.  See upstream.h. */
#include "upstream.h"

int upstream_open(struct gateway *g, struct fault *fault)
{
    if (!g->options->upstream_url)
        return UPSTREAM_OK;
    return fault_set(fault, UPSTREAM_E_INVALID,
                     "upstream_url is set, but this build has no libcurl to reach it with");
}

void upstream_close(struct gateway *g) {}

enum upstream_policy upstream_policy(const struct gateway *g)
{
    return UPSTREAM_LOCAL_ONLY;
}

bool upstream_is_well(struct gateway *g)
{
    return false;
}

int upstream_ask(struct gateway *g, struct up_call *call, const char *user, char *body, size_t n)
{
    free(body);
    return err_origin(-ENOSYS);
}

void up_end(struct up_call *call) {}

void up_pause(struct up_call *call, bool paused) {}

void upstream_count(const struct gateway *g, const char *user, uint64_t *ret_requests, uint64_t *ret_bytes)
{
    *ret_requests = *ret_bytes = 0;
}
