/* cpu_phase.c - how many threads a phase is worth.  See cpu.h.
 *
 * A hand-over to threads that wait on the spot costs a fraction of a microsecond, one to threads that sleep
 * the better part of a hundred, and threads that wait on the spot take their cores from the broker and its
 * clients. So a step that is over before a sleeper would be at work runs on the caller alone, and the others
 * sleep; in longer ones each phase is shared that is worth a hand-over.  Who computes an item changes no
 * bits. */
#include "cpu.h"

#include <stdatomic.h>
#include <time.h>

/* A step that is estimated to take one thread longer is worth waking the others for. */
enum { CPU_WAKE_NS = 150000 };

enum {
    CPU_HANDOVERS = 4, /* its rows travel to other cores too: a phase must take so many to be shared */
    CPU_SHARE_MIN_NS = 600,
    CPU_SHARE_MAX_NS = 5000
};

/* Multiplications a nanosecond of one thread of the quickest set; within a factor of two is enough. */
static const struct {
    const char *name;
    int ops_per_ns;
} cpu_kinds[CPU_STAGE_N] = {
    [CPU_EMBED] = {"embed", 1},    [CPU_ROWS] = {"rows", 4},   [CPU_IN] = {"in", 256},
    [CPU_CONV] = {"conv", 8},      [CPU_SCAN] = {"scan", 32},  [CPU_ROPE] = {"rope", 2},
    [CPU_ATTEND] = {"attend", 48}, [CPU_OUT] = {"out", 256},   [CPU_GATE_UP] = {"gate+up", 256},
    [CPU_DOWN] = {"down", 256},    [CPU_HEAD] = {"head", 256},
};
enum { CPU_BYTES_PER_NS = 64 };

void cpu_step_begin(struct cpu *cpu, int n_tok)
{
    const struct cpu_step last = cpu->step;
    const uint64_t foretold = MAX(last.read_ns, last.row_ns * (uint64_t)n_tok / (uint64_t)MAX(last.n_tok, 1));

    pool_begin_step(cpu->pool);
    cpu->step = (struct cpu_step){
        .n_tok = n_tok,
        .known = true,
        .shared = !last.known || foretold >= CPU_WAKE_NS,
    };
}

int cpu_team(struct cpu *cpu, const struct cpu_work *work)
{
    const uint64_t row_ns =
        work->ops * (uint64_t)cpu->isa->slowness / (uint64_t)cpu_kinds[work->stage].ops_per_ns;
    const uint64_t read_ns = work->bytes / CPU_BYTES_PER_NS, ns = MAX(read_ns, row_ns);
    const int handover_ns = pool_handover_ns(cpu->pool);
    const uint64_t worth_ns =
        (uint64_t)CLAMP(CPU_HANDOVERS * handover_ns, CPU_SHARE_MIN_NS, CPU_SHARE_MAX_NS);

    cpu->step.read_ns += read_ns;
    cpu->step.row_ns += row_ns;
    if (cpu->share_all || ns >= CPU_WAKE_NS || (cpu->step.shared && ns >= worth_ns))
        return pool_n_team(cpu->pool);
    return 1;
}

static uint64_t cpu_now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void cpu_count(struct cpu *cpu, const struct cpu_work *work, int team, uint64_t ns)
{
    struct kern_stage *stage = &cpu->stages[work->stage];

    stage->n++;
    stage->n_shared += team > 1;
    stage->ns += ns;
    stage->bytes += work->bytes;
    stage->ops += work->ops;
}

void cpu_phase(struct cpu *cpu, const struct cpu_work *work, int team, pool_fn fn, void *ctx, int n_items)
{
    const uint64_t start = cpu->kern.timed ? cpu_now_ns() : 0;

    team = MIN(team, n_items); /* nobody is waited for who has nothing to do */
    if (team > 1)
        pool_run(cpu->pool, fn, ctx, n_items);
    else
        for (int i = 0; i < n_items; i++)
            fn(ctx, i, 0);
    if (cpu->kern.timed)
        cpu_count(cpu, work, team, cpu_now_ns() - start);
}

int cpu_stages(const struct kern *kern, struct kern_stage *ret_stages, int n_max)
{
    const struct cpu *cpu = (const struct cpu *)kern;

    for (int i = 0; i < MIN(n_max, (int)CPU_STAGE_N); i++) {
        ret_stages[i] = cpu->stages[i];
        ret_stages[i].name = cpu_kinds[i].name;
    }
    return CPU_STAGE_N;
}

enum { CPU_READ_BYTES = 1 << 20 }; /* per item */

struct cpu_read {
    const struct isa *isa;
    const uint8_t *data;
    size_t bytes;
    _Atomic bool odd; /* so that the reads are not left out */
};

static void cpu_read_item(void *ctx, int item, int thread _unused_)
{
    struct cpu_read *read = ctx;
    const size_t at = (size_t)item * CPU_READ_BYTES;

    if (read->isa->read(read->data + at, MIN(read->bytes - at, (size_t)CPU_READ_BYTES)) < 0.0f)
        atomic_store(&read->odd, true);
}

void cpu_read(struct kern *kern, const uint8_t *data, size_t bytes)
{
    struct cpu_read read = {.isa = cpu_of(kern)->isa, .data = data, .bytes = bytes};

    pool_begin_step(cpu_of(kern)->pool);
    pool_run(cpu_of(kern)->pool, cpu_read_item, &read, (int)CEIL_DIV(bytes, (size_t)CPU_READ_BYTES));
}
