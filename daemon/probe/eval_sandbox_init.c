/* eval_sandbox_init.c - the sandbox's first process.  See eval_sandbox_init.h. */
#include "eval_sandbox_init.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

const char *const sandbox_steps[SANDBOX_ENDED] = {
    [SANDBOX_STEP_IDS] = "taking on the sandbox's user id",
    [SANDBOX_STEP_ROOT] = "mounting a new root",
    [SANDBOX_STEP_SYSTEM] = "mounting the system's programs read-only",
    [SANDBOX_STEP_DEVICES] = "mounting /dev/null and /tmp",
    [SANDBOX_STEP_PIVOT] = "changing to the new root",
    [SANDBOX_STEP_PRIVILEGE] = "giving up privileges",
    [SANDBOX_STEP_FILTER] = "filtering system calls",
    [SANDBOX_STEP_LIMITS] = "setting limits",
    [SANDBOX_STEP_FORK] = "starting a process",
    [SANDBOX_STEP_EXEC] = "starting Python",
};

static _Noreturn void sandbox_fail(const struct sandbox_plan *plan, enum sandbox_step step)
{
    const struct sandbox_note note = {step, errno};

    if (write(plan->note, &note, sizeof(note)) < 0) /* we are gone: so is whoever would read it */
        _exit(126);
    _exit(127);
}

/* the first process */

/* Waits for our maps, then becomes the one user there is.  The parent's death is watched from here on: a
 * change of ids would switch that off. */
static int sandbox_take_ids(const struct sandbox_plan *plan)
{
    char byte;

    if (read(plan->go, &byte, 1) != 1)
        _exit(126);
    if (plan->drop_groups && setgroups(0, NULL) < 0)
        return -1;
    if (setresgid(SANDBOX_ID, SANDBOX_ID, SANDBOX_ID) < 0 ||
        setresuid(SANDBOX_ID, SANDBOX_ID, SANDBOX_ID) < 0)
        return -1;
    return prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || setsid() < 0 ? -1 : 0;
}

/* An empty file system in memory, over a folder that is there in each system; it becomes the working folder.
 */
static int sandbox_mount_root(void)
{
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return -1;
    if (mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "size=64k,mode=0755") < 0)
        return -1;
    return chdir("/tmp");
}

/* One of the system's folders: a link as it is (/lib -> usr/lib), a folder by a read-only bind mount. */
static int sandbox_mount_system(const char *path)
{
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV};
    const char *inside = path + 1;
    char link[256];
    struct stat st;
    ssize_t n;

    if (lstat(path, &st) < 0)
        return errno == ENOENT ? 0 : -1;
    if (S_ISLNK(st.st_mode)) {
        n = readlink(path, link, sizeof(link) - 1);
        if (n < 0)
            return -1;
        link[n] = '\0';
        return symlink(link, inside);
    }
    if (mkdir(inside, 0755) < 0 || mount(path, inside, NULL, MS_BIND | MS_REC, NULL) < 0)
        return -1;
    return mount_setattr(AT_FDCWD, inside, AT_RECURSIVE, &attr, sizeof(attr));
}

static int sandbox_mount_all_system(void)
{
    static const char *const paths[] = {"/usr", "/bin", "/lib", "/lib32", "/lib64"};

    for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
        if (sandbox_mount_system(paths[i]) < 0)
            return -1;
    return 0;
}

static int sandbox_mount_device(const char *path)
{
    const int fd = open(path + 1, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);

    if (fd < 0)
        return -1;
    close(fd);
    return mount(path, path + 1, NULL, MS_BIND, NULL);
}

static int sandbox_mount_devices(const struct sandbox_plan *plan)
{
    if (mkdir("dev", 0755) < 0 || sandbox_mount_device("/dev/null") < 0 ||
        sandbox_mount_device("/dev/urandom") < 0)
        return -1;
    if (mkdir("tmp", 0755) < 0)
        return -1;
    return mount("tmpfs", "tmp", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, plan->tmp_options);
}

/* The old root lands on top of the new one (pivot_root(2), "pivot_root(".", ".")") and is let go. */
static int sandbox_pivot(void)
{
    if (mount(NULL, ".", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV, NULL) < 0)
        return -1;
    if (syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0)
        return -1;
    return chdir("/tmp");
}

static int sandbox_drop_privilege(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    const struct __user_cap_data_struct none[2] = {{0}};

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return -1;
    return (int)syscall(SYS_capset, &header, none);
}

/* Python */

static int sandbox_limit(int what, uint64_t value)
{
    const struct rlimit limit = {value, value};

    return setrlimit((__rlimit_resource_t)what, &limit);
}

static int sandbox_set_limits(const struct eval_sandbox_limits *l)
{
    enum { FILES_MAX = 64, STACK_BYTES = 8 << 20 };

    return sandbox_limit(RLIMIT_CPU, (uint64_t)l->cpu_s) || sandbox_limit(RLIMIT_AS, l->memory) ||
                   sandbox_limit(RLIMIT_FSIZE, l->file_bytes) ||
                   sandbox_limit(RLIMIT_NPROC, (uint64_t)l->n_processes) ||
                   sandbox_limit(RLIMIT_NOFILE, FILES_MAX) || sandbox_limit(RLIMIT_STACK, STACK_BYTES) ||
                   sandbox_limit(RLIMIT_CORE, 0) || sandbox_limit(RLIMIT_MEMLOCK, 0)
               ? -1
               : 0;
}

/* Ours are all above 3, so that none is overwritten before it is used. */
static int sandbox_set_fds(const struct sandbox_plan *plan)
{
    if (dup2(plan->program, 0) < 0 || dup2(plan->out, 1) < 0 || dup2(plan->out, 2) < 0 ||
        dup2(plan->token, 3) < 0)
        return -1;
    return close_range(4, ~0u, CLOSE_RANGE_CLOEXEC);
}

/* Signals as a new program expects them: nothing blocked, nothing ignored, no handler of ours. */
static void sandbox_reset_signals(void)
{
    sigset_t none;

    for (int sig = 1; sig < NSIG; sig++)
        signal(sig, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static _Noreturn void sandbox_exec(const struct sandbox_plan *plan)
{
    char *argv[] = {(char *)"python3", (char *)"-I", (char *)"-S", (char *)"-", NULL}, *envp[] = {NULL};

    sandbox_reset_signals();
    if (sandbox_set_fds(plan) < 0 || sandbox_set_limits(plan->limits) < 0)
        sandbox_fail(plan, SANDBOX_STEP_LIMITS);
    errno = -sandbox_filter();
    if (errno)
        sandbox_fail(plan, SANDBOX_STEP_FILTER);
    execve(plan->python, argv, envp);
    sandbox_fail(plan, SANDBOX_STEP_EXEC);
}

/* Waits as the init of its process namespace; when it ends, the kernel kills whatever is left inside. */
static _Noreturn void sandbox_wait(const struct sandbox_plan *plan, pid_t python)
{
    struct sandbox_note note = {.step = SANDBOX_ENDED};
    pid_t pid;

    prctl(PR_SET_DUMPABLE, 0);
    do
        pid = waitpid(-1, &note.value, 0);
    while (pid != python && (pid > 0 || errno == EINTR));
    _exit(write(plan->note, &note, sizeof(note)) == sizeof(note) ? 0 : 126);
}

_Noreturn void sandbox_init(const struct sandbox_plan *plan)
{
    pid_t pid;

    if (sandbox_take_ids(plan) < 0)
        sandbox_fail(plan, SANDBOX_STEP_IDS);
    if (sandbox_mount_root() < 0)
        sandbox_fail(plan, SANDBOX_STEP_ROOT);
    if (sandbox_mount_all_system() < 0)
        sandbox_fail(plan, SANDBOX_STEP_SYSTEM);
    if (sandbox_mount_devices(plan) < 0)
        sandbox_fail(plan, SANDBOX_STEP_DEVICES);
    if (sandbox_pivot() < 0)
        sandbox_fail(plan, SANDBOX_STEP_PIVOT);
    if (sandbox_drop_privilege() < 0)
        sandbox_fail(plan, SANDBOX_STEP_PRIVILEGE);
    pid = fork();
    if (pid < 0)
        sandbox_fail(plan, SANDBOX_STEP_FORK);
    if (!pid)
        sandbox_exec(plan);
    sandbox_wait(plan, pid);
}
