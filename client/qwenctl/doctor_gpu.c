/* doctor_gpu.c - is there a GPU of NVIDIA's, has it a driver, may the daemon use it, and is there an engine
 * that could? See doctor.h. */
#include <dirent.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>

#include "doctor.h"

enum { GPU_GROUPS_MAX = 64 };

/* whose daemon it is, or would be */
struct gpu_who {
    char name[40];
    uid_t uid;
    gid_t groups[GPU_GROUPS_MAX];
    int n_groups;
};

/* The numbers behind the name of a line of /proc/PID/status. */
static int gpu_numbers(const char *status, const char *name, unsigned *out, int max)
{
    const char *at = strstr(status, name);
    int n = 0, used;

    at = at ? at + strlen(name) : "";
    while (n < max && sscanf(at, " %u%n", &out[n], &used) == 1) {
        const char *line_end = strchr(at, '\n');

        if (line_end && line_end < at + used) /* sscanf went on to the next line */
            break;
        at += used;
        n++;
    }
    return n;
}

static void gpu_set_user(struct gpu_who *who, uid_t uid, const struct passwd *user)
{
    who->uid = uid;
    snprintf(who->name, sizeof(who->name), user ? "%s" : "%.0s%u", user ? user->pw_name : "", uid);
}

static bool gpu_who_runs(const struct doctor *doctor, struct gpu_who *who)
{
    _cleanup_(freep) char *text = NULL;
    char path[40];
    unsigned uids[4], gids[4];

    snprintf(path, sizeof(path), "/proc/%u/status", doctor->info.pid);
    if (!doctor->has_info || !doctor->info.pid || doctor_read(doctor, path, &text) ||
        gpu_numbers(text, "\nUid:", uids, 4) != 4 || gpu_numbers(text, "\nGid:", gids, 4) != 4)
        return false;
    who->groups[0] = gids[1];
    who->n_groups = 1 + gpu_numbers(text, "\nGroups:", who->groups + 1, GPU_GROUPS_MAX - 1);
    gpu_set_user(who, uids[1], getpwuid(uids[1])); /* the effective one */
    return true;
}

static void gpu_who(const struct doctor *doctor, struct gpu_who *who)
{
    const struct passwd *user;

    *who = (struct gpu_who){.n_groups = GPU_GROUPS_MAX};
    if (gpu_who_runs(doctor, who))
        return;
    user = getpwnam("qwend");
    if (!user)
        user = getpwuid(geteuid()); /* without the service it is a daemon of one's own */
    if (!user) {
        *who = (struct gpu_who){.groups = {getegid()}, .n_groups = 1};
        gpu_set_user(who, geteuid(), NULL);
        return;
    }
    gpu_set_user(who, user->pw_uid, user);
    if (getgrouplist(user->pw_name, user->pw_gid, who->groups, &who->n_groups) < 0)
        who->n_groups = GPU_GROUPS_MAX; /* the first of them */
}

static bool gpu_may_use(const struct gpu_who *who, const struct stat *st)
{
    if (!who->uid)
        return true;
    if (st->st_uid == who->uid)
        return (st->st_mode & 0600) == 0600;
    for (int i = 0; i < who->n_groups; i++)
        if (st->st_gid == who->groups[i])
            return (st->st_mode & 0060) == 0060;
    return (st->st_mode & 0006) == 0006;
}

/* on the bus */

static unsigned gpu_pci_number(const struct doctor *doctor, const char *device, const char *name)
{
    _cleanup_(freep) char *text = NULL;
    char path[300];

    snprintf(path, sizeof(path), "/sys/bus/pci/devices/%.200s/%s", device, name);
    return doctor_read(doctor, path, &text) ? 0 : (unsigned)strtoul(text, NULL, 16);
}

static size_t gpu_count_cards(const struct doctor *doctor)
{
    enum { NVIDIA = 0x10de, DISPLAY = 0x03 };
    char path[300];
    struct dirent *entry;
    size_t n = 0;
    DIR *folder;

    snprintf(path, sizeof(path), "%s/sys/bus/pci/devices", doctor->root);
    folder = opendir(path);
    while (folder && (entry = readdir(folder)))
        n += *entry->d_name != '.' && gpu_pci_number(doctor, entry->d_name, "vendor") == NVIDIA &&
             gpu_pci_number(doctor, entry->d_name, "class") >> 16 == DISPLAY;
    if (folder)
        closedir(folder);
    return n;
}

/* "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May …": the first word that is a version.
 */
static void gpu_driver_version(char *text, char *out, size_t size)
{
    snprintf(out, size, "of an unknown version");
    for (char *word = strtok(text, " \t\n"); word; word = strtok(NULL, " \t\n"))
        if (strchr(word, '.') && strspn(word, "0123456789.") == strlen(word)) {
            snprintf(out, size, "%.20s", word);
            return;
        }
}

/* devices */

struct gpu_devices {
    size_t n_cards;
    bool has_control, has_memory; /* nvidiactl, nvidia-uvm */
    char denied[300];             /* a device that may not be used; "": there is none */
    unsigned denied_mode;
    gid_t denied_group;
};

static void gpu_look_at_device(const struct doctor *doctor, const struct gpu_who *who, const char *name,
                               struct gpu_devices *devices)
{
    const bool is_card =
        !strncmp(name, "nvidia", 6) && name[6] && strspn(name + 6, "0123456789") == strlen(name + 6);
    const bool is_control = !strcmp(name, "nvidiactl"), is_memory = !strcmp(name, "nvidia-uvm");
    char path[300];
    struct stat st;

    snprintf(path, sizeof(path), "%s/dev/%.200s", doctor->root, name);
    if ((!is_card && !is_control && !is_memory) || stat(path, &st) < 0)
        return;
    devices->n_cards += is_card;
    devices->has_control |= is_control;
    devices->has_memory |= is_memory;
    if (gpu_may_use(who, &st))
        return;
    snprintf(devices->denied, sizeof(devices->denied), "/dev/%.200s", name);
    devices->denied_mode = st.st_mode & 0777;
    devices->denied_group = st.st_gid;
}

static void gpu_find_devices(const struct doctor *doctor, const struct gpu_who *who,
                             struct gpu_devices *devices)
{
    char path[300];
    struct dirent *entry;
    DIR *folder;

    *devices = (struct gpu_devices){};
    snprintf(path, sizeof(path), "%s/dev", doctor->root);
    folder = opendir(path);
    while (folder && (entry = readdir(folder)))
        gpu_look_at_device(doctor, who, entry->d_name, devices);
    if (folder)
        closedir(folder);
}

static void gpu_say_denied(struct doctor *doctor, const struct gpu_who *who,
                           const struct gpu_devices *devices)
{
    const struct group *group = devices->denied_group ? getgrgid(devices->denied_group) : NULL;
    const bool by_group = group && (devices->denied_mode & 0060) == 0060;
    char command[300];

    snprintf(command, sizeof(command), "sudo usermod -aG %s %s && sudo systemctl restart qwend",
             group ? group->gr_name : "", who->name);
    doctor_say(
        doctor,
        &(struct doctor_check){"machine.gpu", DOCTOR_WARN,
                               by_group ? "put the daemon's user into the devices' group"
                                        : "NVreg_DeviceFileMode and its likes of the driver say who may",
                               by_group ? command : NULL},
        "%s has the mode %04o, and user %s may not use it", devices->denied, devices->denied_mode, who->name);
}

static void gpu_look_at_devices(struct doctor *doctor, const char *version)
{
    struct gpu_devices devices;
    struct gpu_who who;

    gpu_who(doctor, &who);
    gpu_find_devices(doctor, &who, &devices);
    if (!devices.n_cards || !devices.has_control || !devices.has_memory)
        doctor_say(doctor,
                   &(struct doctor_check){"machine.gpu", DOCTOR_WARN, "have the driver make them",
                                          "sudo nvidia-modprobe -u -c 0 && sudo systemctl restart qwend"},
                   "the driver %s is there, and %s is not", version,
                   !devices.has_control  ? "/dev/nvidiactl"
                   : !devices.has_memory ? "/dev/nvidia-uvm"
                                         : "/dev/nvidia0");
    else if (*devices.denied)
        gpu_say_denied(doctor, &who, &devices);
    else
        doctor_say(doctor, &(struct doctor_check){"machine.gpu", DOCTOR_OK},
                   "%zu of NVIDIA, driver %s, for user %s", devices.n_cards, version, who.name);
}

static void gpu_look_at_engine(struct doctor *doctor)
{
    const bool serves = doctor->has_info && !strcmp(doctor->info.backend, "cuda");
    char path[300];

    snprintf(path, sizeof(path), "%s%s/qwend-engine-cuda", doctor->root, QWENCTL_LIBEXEC);
    if (!doctor->has_gpu && !serves)
        doctor_say(doctor, &(struct doctor_check){"machine.gpu-engine", DOCTOR_SKIP},
                   "nothing for it to run on");
    else if (!serves && access(path, X_OK) < 0)
        doctor_say(doctor,
                   &(struct doctor_check){"machine.gpu-engine", DOCTOR_WARN,
                                          "build with -Dcuda=enabled and install that, then qwenctl upgrade"},
                   "%s is not installed: the CPU serves", path + strlen(doctor->root));
    else
        doctor_say(doctor, &(struct doctor_check){"machine.gpu-engine", DOCTOR_OK}, "%s",
                   serves ? "it serves" : "qwend-engine-cuda is installed");
}

void doctor_look_at_gpu(struct doctor *doctor)
{
    _cleanup_(freep) char *text = NULL;
    const bool has_driver = !doctor_read(doctor, "/proc/driver/nvidia/version", &text);
    const size_t n_cards = gpu_count_cards(doctor);
    char version[30];

    if (has_driver) {
        gpu_driver_version(text, version, sizeof(version));
        gpu_look_at_devices(doctor, version);
    } else if (n_cards) {
        doctor_say(
            doctor,
            &(struct doctor_check){"machine.gpu", DOCTOR_WARN, "install NVIDIA's driver, and boot with it"},
            "%zu of NVIDIA, and no driver for it: the CPU serves", n_cards);
    } else {
        doctor_say(doctor, &(struct doctor_check){"machine.gpu", DOCTOR_SKIP}, "none of NVIDIA");
    }
    doctor->has_gpu = has_driver || n_cards;
    gpu_look_at_engine(doctor);
}
