/* memory.c - how much memory this process may still take.  See memory.h.
 *
 * The kernel's own estimate counts the page cache that it would give up; the file that was just loaded fills
 * that cache, so the bare free memory says next to nothing.  A service with ProcSubset=pid cannot see
 * /proc/meminfo: then half of what the machine has beyond the weights, since other programs live there as
 * well.  A cgroup's limit, where there is one, bounds either. */
#include "memory.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysinfo.h>

static bool memory_read_file(const char *path, char *text, size_t n_text)
{
    _cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, n_text - 1);

    text[MAX(n, 0)] = 0;
    return n > 0;
}

bool memory_parse_meminfo(const char *text, uint64_t *ret_bytes)
{
    static const char key[] = "MemAvailable:";
    const char *line = strstr(text, key);
    uint64_t kib;

    if (!line || sscanf(line + sizeof(key) - 1, "%" SCNu64 " kB", &kib) != 1)
        return false;
    *ret_bytes = kib << 10;
    return true;
}

bool memory_parse_cgroup(const char *text, char *path, size_t n_path)
{
    const char *line = strncmp(text, "0::", 3) ? strstr(text, "\n0::") : text;
    size_t n;

    if (!line)
        return false;
    line += *line == '\n' ? 4 : 3;
    n = strcspn(line, "\n");
    if (n >= n_path)
        return false;
    memcpy(path, line, n);
    path[n] = 0;
    return true;
}

/* The lowest memory.max from the process's cgroup up to the root. */
static uint64_t memory_cgroup_limit(void)
{
    char text[4096], group[1024], path[1200];
    uint64_t limit = UINT64_MAX, max;

    if (!memory_read_file("/proc/self/cgroup", text, sizeof(text)) ||
        !memory_parse_cgroup(text, group, sizeof(group)))
        return UINT64_MAX;
    for (char *slash; (slash = strrchr(group, '/')); *slash = 0) {
        snprintf(path, sizeof(path), "/sys/fs/cgroup%s/memory.max", group);
        if (memory_read_file(path, text, sizeof(text)) && sscanf(text, "%" SCNu64, &max) == 1)
            limit = MIN(limit, max); /* "max": no limit here */
    }
    return limit;
}

static uint64_t memory_less(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

static bool memory_meminfo(uint64_t *ret_bytes)
{
    char text[4096];

    return memory_read_file("/proc/meminfo", text, sizeof(text)) && memory_parse_meminfo(text, ret_bytes);
}

static uint64_t memory_total_bytes(void)
{
    struct sysinfo info;

    return sysinfo(&info) == 0 ? (uint64_t)info.totalram * info.mem_unit : UINT64_MAX;
}

uint64_t memory_available_bytes(uint64_t held_bytes)
{
    const uint64_t limit = memory_cgroup_limit(), total = memory_total_bytes();
    uint64_t bytes;

    if (!memory_meminfo(&bytes))
        bytes = total == UINT64_MAX ? total : memory_less(total, held_bytes) / 2;
    return limit == UINT64_MAX ? bytes : MIN(bytes, memory_less(limit, held_bytes));
}

uint64_t memory_limit_bytes(uint64_t held_bytes)
{
    uint64_t bytes;

    if (memory_meminfo(&bytes))
        bytes += held_bytes;
    else
        bytes = memory_total_bytes();
    return MIN(bytes, memory_cgroup_limit());
}
