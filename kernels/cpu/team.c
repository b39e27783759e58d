/* team.c - see team.h. */
#include "team.h"

#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

struct team team_init(int n_threads, int n_cpus)
{
    return (struct team){
        .n_threads = n_threads,
        .n_cpus = n_cpus,
        .n = CLAMP(n_cpus, 1, n_threads),
        .pause_ns = TEAM_PAUSE_MIN_NS,
    };
}

/* Without its last thread a team of n takes at most an n-th longer of what it had: that much waiting is paid
 * back by having it, or half of that where memory is the limit or phases are short. */
static int64_t team_paid_back(const struct team *team, int64_t now_ns)
{
    return (now_ns - team->held_up_ns) / (2 * team->n);
}

void team_on_held_up(struct team *team, int64_t lost_ns, int64_t now_ns)
{
    team->lost_ns = MAX(team->lost_ns - team_paid_back(team, now_ns), 0) + MIN(lost_ns, TEAM_LOST_NS / 2);
    team->held_up_ns = now_ns;
    if (team->lost_ns < TEAM_LOST_NS || team->n == 1)
        return;
    team->n--;
    team->lost_ns = 0;
    team->rest_until_ns = now_ns + team->pause_ns;
    team->pause_ns = MIN(2 * team->pause_ns, TEAM_PAUSE_MAX_NS);
}

/* A team that has been whole for twice the longest pause begins with short pauses again. */
void team_on_step(struct team *team, int n_cpus, int64_t now_ns)
{
    const int most = CLAMP(n_cpus, 1, team->n_threads);

    team->n_cpus = n_cpus;
    if (team->n > most) {
        team->n = most;
    } else if (team->n < most && now_ns >= team->rest_until_ns) {
        team->n++;
        team->grew_ns = now_ns;
        team->rest_until_ns = now_ns + TEAM_PAUSE_MIN_NS;
    } else if (team->n == most && now_ns - team->grew_ns > 2 * TEAM_PAUSE_MAX_NS) {
        team->pause_ns = TEAM_PAUSE_MIN_NS;
    }
}

/* cores */

int team_quota(const char *cpu_max)
{
    long quota, period;

    if (sscanf(cpu_max, "%ld %ld", &quota, &period) != 2 || quota < 1 || period < 1)
        return INT_MAX;
    return (int)MIN(CEIL_DIV(quota, period), (long)INT_MAX);
}

/* A small file's text; false: it is not there or is empty. */
static bool team_read(const char *path, char *buf, size_t size)
{
    _cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    const ssize_t n = fd < 0 ? -1 : read(fd, buf, size - 1);

    buf[MAX(n, 0)] = '\0';
    return n > 0;
}

int team_quota_of_group(const char *root, const char *path)
{
    char file[512], line[64];
    size_t n = strlen(path);
    int least = INT_MAX;

    for (;;) {
        const int len = snprintf(file, sizeof(file), "%s%.*s/cpu.max", root, (int)n, path);
        if (len < (int)sizeof(file) && team_read(file, line, sizeof(line)))
            least = MIN(least, team_quota(line));
        if (n == 0)
            return least;
        while (n && path[--n] != '/')
            ;
    }
}

/* /proc/self/cgroup has a line "0::/path" for the hierarchy that has cpu.max; older ones set no limit that we
 * know. */
static int team_own_quota(void)
{
    char text[2048], *path;

    path = team_read("/proc/self/cgroup", text, sizeof(text)) ? strstr(text, "0::/") : NULL;
    if (!path || (path > text && path[-1] != '\n'))
        return INT_MAX;
    path += strlen("0::");
    path[strcspn(path, "\n")] = '\0';
    return team_quota_of_group("/sys/fs/cgroup", path[1] ? path : "");
}

int team_n_cpus(void)
{
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof(set), &set) < 0)
        return 1;
    return MAX(1, MIN(CPU_COUNT(&set), team_own_quota()));
}
