/* team.h - how many threads of a pool take part: what the process may use, less what others keep busy.
 *
 * A thread that lost its core in the middle of an item holds up the whole phase, for a scheduler's turn of
 * some milliseconds, where all the others are through in one.  So the pool tells of each phase that was held
 * up and for how long, and where more of the time is lost so than a thread brings, the team shrinks; after a
 * pause, which doubles as long as it does not pay, it tries again with one more.  Who takes a core for a
 * moment now and then, as clients do that read their tokens or work of low priority, costs less than a thread
 * would.  This is what PSI would be asked for, seen where it costs something: no pressure of others that
 * leave us our cores counts, and what their pressure does to us counts in a container without /proc/pressure
 * too.
 */
#pragma once

#include "proto/base.h"

struct team {
    int n_threads, n_cpus, n;    /* at most; may be used; take part */
    int64_t lost_ns, held_up_ns; /* to phases that were held up, less what was paid back; when that was so */
    int64_t pause_ns;            /* how long the next pause will be */
    int64_t rest_until_ns, grew_ns;
};

enum {
    TEAM_HELD_UP_NS =
        1500000, /* the longest item of a large prefill takes 1.3 ms on the slowest of two cores */
    TEAM_LOST_NS = 20000000, /* so much more lost than paid back is no accident; one phase counts for half */
    TEAM_PAUSE_MIN_NS = 50000000,
};
#define TEAM_PAUSE_MAX_NS INT64_C(2000000000)

struct team team_init(int n_threads, int n_cpus);
void team_on_held_up(struct team *team, int64_t lost_ns, int64_t now_ns);
/* Before a step; n_cpus as team_n_cpus() has it now. */
void team_on_step(struct team *team, int n_cpus, int64_t now_ns);

/* Cores that this process may run on: its affinity, and the cpu.max of its control group and of those above
 * it. */
int team_n_cpus(void);

/* What a control group allows: "max 100000", "150000 100000" -> 2; INT_MAX: no limit, or nothing that could
 * be read. root: where control groups are mounted; path: of the group, from there, with a slash in front. */
int team_quota(const char *cpu_max);
int team_quota_of_group(const char *root, const char *path);
