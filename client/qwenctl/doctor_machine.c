/* doctor_machine.c - what of the machine makes answers slow, or keeps models out.  See doctor.h. */
#include <string.h>
#include <sys/statvfs.h>

#include "doctor.h"
#include "file.h"

int doctor_read(const struct doctor *doctor, const char *path, char **ret_text)
{
    enum { MACHINE_FILE_MAX = 64 << 20 }; /* /proc/cpuinfo of the largest machines is a few MiB */
    char whole[300];
    size_t n;

    snprintf(whole, sizeof(whole), "%s%s", doctor->root, path);
    return file_read(whole, MACHINE_FILE_MAX, ret_text, &n);
}

static bool _unused_ machine_cpu_has(const struct doctor *doctor, const char *flag)
{
    _cleanup_(freep) char *text = NULL;
    char word[32];

    snprintf(word, sizeof(word), " %s ", flag);
    if (doctor_read(doctor, "/proc/cpuinfo", &text))
        return false;
    for (char *p = text; *p; p++) /* the last flag of a line has none of its own blanks behind it */
        *p = *p == '\n' ? ' ' : *p;
    return strstr(text, word);
}

static void machine_look_at_cpu(struct doctor *doctor)
{
#if defined(__x86_64__)
    const bool wide = machine_cpu_has(doctor, "avx512f"), good = machine_cpu_has(doctor, "avx2");
    const bool tiles = wide && machine_cpu_has(doctor, "amx_int8");

    doctor_say(doctor,
               &(struct doctor_check){"machine.cpu", good ? DOCTOR_OK : DOCTOR_WARN,
                                      "use a machine of the last ten years"},
               "%s",
               tiles  ? "AVX-512 and AMX"
               : wide ? "AVX-512"
               : good ? "AVX2"
                      : "no AVX2: answers will be slow");
#elif defined(__aarch64__)
    const bool wide = machine_cpu_has(doctor, "i8mm"), good = machine_cpu_has(doctor, "asimddp");

    doctor_say(doctor,
               &(struct doctor_check){"machine.cpu", good ? DOCTOR_OK : DOCTOR_WARN,
                                      "use a machine of Armv8.2 or later"},
               "%s",
               wide   ? "dot products and I8MM"
               : good ? "dot products"
                      : "no dot products: answers will be slow");
#else
    doctor_say(doctor, &(struct doctor_check){"machine.cpu", DOCTOR_SKIP},
               "nothing is known of this kind of CPU");
#endif
}

static void machine_look_at_cgroup(struct doctor *doctor)
{
    const bool v2 = !access("/sys/fs/cgroup/cgroup.controllers", F_OK);

    doctor_say(doctor,
               &(struct doctor_check){"machine.cgroup", v2 ? DOCTOR_OK : DOCTOR_WARN,
                                      "boot with systemd.unified_cgroup_hierarchy=1"},
               "cgroup version %d", v2 ? 2 : 1);
}

static void machine_look_at_disk(struct doctor *doctor)
{
    const char *folder = access(QWENCTL_STATE, F_OK) ? "/" : QWENCTL_STATE;
    const double gib = 1 << 30;
    struct statvfs fs;
    double room;

    if (statvfs(folder, &fs) < 0) {
        doctor_say(doctor, &(struct doctor_check){"machine.disk", DOCTOR_SKIP}, "%s: %s", folder,
                   strerror(errno));
        return;
    }
    room = (double)fs.f_bavail * (double)fs.f_frsize / gib;
    doctor_say(doctor,
               &(struct doctor_check){"machine.disk", room < 2 ? DOCTOR_WARN : DOCTOR_OK,
                                      "remove models that nobody serves"},
               "%.1f GiB free for models on the disk of %s", room, folder);
}

/* Linux 6.1 and later move weights into huge pages when they are asked to, whatever a memfd gets of itself.
 */
static bool machine_moves_to_huge(struct doctor *doctor)
{
    _cleanup_(freep) char *text = NULL;
    int major = 0, minor = 0;

    return !doctor_read(doctor, "/proc/sys/kernel/osrelease", &text) &&
           sscanf(text, "%d.%d", &major, &minor) == 2 && (major > 6 || (major == 6 && minor >= 1));
}

/* The weights lie in a memfd, for which this file of the kernel is meant: the word in brackets is chosen. */
static void machine_look_at_huge_pages(struct doctor *doctor)
{
    static const char path[] = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";
    _cleanup_(freep) char *text = NULL;
    const bool known = !doctor_read(doctor, path, &text);
    const bool never = known && strstr(text, "[never]"), denied = known && strstr(text, "[deny]");
    const bool small = denied || (never && !machine_moves_to_huge(doctor));

    if (!known) {
        doctor_say(doctor, &(struct doctor_check){"machine.hugepages", DOCTOR_SKIP},
                   "the kernel does not say");
        return;
    }
    doctor_say(doctor,
               &(struct doctor_check){
                   "machine.hugepages", small ? DOCTOR_WARN : DOCTOR_OK,
                   "allow them where a program asks for them",
                   "echo 'w /sys/kernel/mm/transparent_hugepage/shmem_enabled - - - - advise' | sudo tee "
                   "/etc/tmpfiles.d/qwend-hugepages.conf && sudo systemd-tmpfiles --create "
                   "qwend-hugepages.conf && sudo systemctl restart qwend"},
               "%s",
               small   ? "the kernel gives weights small pages, and words take up to a tenth longer"
               : never ? "weights are moved into huge pages after the start"
                       : "weights may lie in huge pages");
}

void doctor_look_at_machine(struct doctor *doctor)
{
    machine_look_at_cpu(doctor);
    machine_look_at_cgroup(doctor);
    machine_look_at_disk(doctor);
    machine_look_at_huge_pages(doctor);
    doctor_look_at_gpu(doctor);
}
