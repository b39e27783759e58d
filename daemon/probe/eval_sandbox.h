/* eval_sandbox.h - runs a Python program that a model wrote, away from everything.
 *
 * The program gets namespaces of its own (user, mount, network, process, IPC, host name): it sees the
 * system's /usr read-only, an empty /tmp of its own, no /proc, no other process, no network; it has no
 * privilege, an empty environment, and the limits below.  Where the kernel does not let us make these, it is
 * not run. Linux only. */
#pragma once

#include "daemon/model/chat.h"

struct eval_sandbox_limits {
    int cpu_s;           /* RLIMIT_CPU of each process */
    int wall_ms;         /* then all of its processes are killed */
    uint64_t memory;     /* RLIMIT_AS of each process, bytes */
    uint64_t file_bytes; /* RLIMIT_FSIZE, and the size of its /tmp */
    int n_processes;     /* RLIMIT_NPROC, Python itself and the sandbox's init included */
    size_t output_bytes; /* of its output, kept; the rest is read and dropped */
};
/* HumanEval's tests take well below a second; a slow machine under load gets room. */
#define EVAL_SANDBOX_LIMITS                                                                                  \
    ((struct eval_sandbox_limits){.cpu_s = 10,                                                               \
                                  .wall_ms = 20000,                                                          \
                                  .memory = 1024ull << 20,                                                   \
                                  .file_bytes = 8 << 20,                                                     \
                                  .n_processes = 16,                                                         \
                                  .output_bytes = 16 << 10})

enum eval_sandbox_end { EVAL_SANDBOX_EXIT, EVAL_SANDBOX_SIGNAL, EVAL_SANDBOX_TIMEOUT };
struct eval_sandbox_result {
    enum eval_sandbox_end end;
    int status;   /* exit status or signal number */
    bool passed;  /* status 0, and the program ran to its end: it told the token */
    char *output; /* owned: stdout and stderr */
    size_t n_output;
};
enum { EVAL_SANDBOX_OK, EVAL_SANDBOX_E_NONE = 140 };

/* Runs `python3 -I -S` on program followed by a line that tells a random token to us, which a program that
 * ends early or fails does not reach.  EVAL_SANDBOX_E_NONE: no sandbox can be made here, and nothing was run;
 * the fault says which step failed and why.  < 0: a system call of our own failed.  ret_result is written on
 * success. */
int eval_sandbox_run(struct chat_str program, const struct eval_sandbox_limits *limits, struct fault *fault,
                     struct eval_sandbox_result *ret_result);
void eval_sandbox_result_deinit(struct eval_sandbox_result *result);
