/* eval_sandbox_filter.c - system calls that a program in the sandbox may not make.  See eval_sandbox_init.h.
 *
 * Namespaces keep the program from what is outside; this keeps it from making namespaces of its own, in
 * which it would have privileges again, and from the rarely used parts of the kernel where most of its holes
 * were.  They fail with EPERM; clone3() with ENOSYS, since its flags cannot be looked at and the C library
 * then uses clone(). */
#include "eval_sandbox_init.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#if defined(__x86_64__)
#define FILTER_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define FILTER_ARCH AUDIT_ARCH_AARCH64
#endif

#ifdef FILTER_ARCH
#define FILTER_LOAD(field)    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offsetof(struct seccomp_data, field))
#define FILTER_RETURN(action) BPF_STMT(BPF_RET | BPF_K, action)
#define FILTER_REFUSE(call)                                                                                  \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##call, 0, 1), FILTER_RETURN(SECCOMP_RET_ERRNO | EPERM)

static const struct sock_filter filter_program[] = {
    FILTER_LOAD(arch),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, FILTER_ARCH, 1, 0),
    FILTER_RETURN(SECCOMP_RET_KILL_PROCESS),
    FILTER_LOAD(nr),
#ifdef __x86_64__
    /* the x32 numbers of the same calls */
    BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1),
    FILTER_RETURN(SECCOMP_RET_KILL_PROCESS),
#endif
    FILTER_REFUSE(unshare),
    FILTER_REFUSE(setns),
    FILTER_REFUSE(mount),
    FILTER_REFUSE(umount2),
    FILTER_REFUSE(pivot_root),
    FILTER_REFUSE(chroot),
    FILTER_REFUSE(open_tree),
    FILTER_REFUSE(move_mount),
    FILTER_REFUSE(fsopen),
    FILTER_REFUSE(mount_setattr),
    FILTER_REFUSE(ptrace),
    FILTER_REFUSE(process_vm_readv),
    FILTER_REFUSE(process_vm_writev),
    FILTER_REFUSE(bpf),
    FILTER_REFUSE(perf_event_open),
    FILTER_REFUSE(userfaultfd),
    FILTER_REFUSE(io_uring_setup),
    FILTER_REFUSE(keyctl),
    FILTER_REFUSE(add_key),
    FILTER_REFUSE(request_key),
    FILTER_REFUSE(kexec_load),
    FILTER_REFUSE(init_module),
    FILTER_REFUSE(finit_module),
    FILTER_REFUSE(open_by_handle_at),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1),
    FILTER_RETURN(SECCOMP_RET_ERRNO | ENOSYS),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 3),
    FILTER_LOAD(args[0]),
    BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_NEWUSER, 0, 1),
    FILTER_RETURN(SECCOMP_RET_ERRNO | EPERM),
    FILTER_RETURN(SECCOMP_RET_ALLOW),
};

int sandbox_filter(void)
{
    const struct sock_fprog program = {.len = ARRAY_SIZE(filter_program),
                                       .filter = (struct sock_filter *)filter_program};

    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0 ? -errno : 0;
}
#else
int sandbox_filter(void)
{
    return -ENOSYS; /* this machine's call numbers were not gone through */
}
#endif
