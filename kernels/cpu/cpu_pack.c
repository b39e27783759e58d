/* cpu_pack.c - weights from the file's layout to panels.  See panel.h.
 *
 * Panels are made where they stay in a core's cache, and written into the weights' memfd: the kernel then
 * takes pages as they are needed and fills them, 0.31 s a GiB on the machine that this was measured on, where
 * a write through the map takes a fault a page and clears it first, 0.61 s.  Writes to one file take turns,
 * so a team that is large enough for the map to be quicker writes through that; and so does everybody where
 * the system gives huge pages, which it does at a fault and not for write(). */
#include "cpu.h"

#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

enum {
    CPU_PACK_BYTES = 131072, /* of panels per item */
    CPU_PACK_WRITERS = 3,
};

static bool cpu_writes_fd(const struct kern_mem *mem)
{
    return mem && mem->fd >= 0 && !mem->huge;
}

struct cpu_pack {
    struct cpu *cpu;
    const struct kern_pack *pack;
    size_t panel_bytes;
    int group;        /* panels per item */
    bool through_map; /* else into the memfd */
    _Atomic int error;
};

static int cpu_write(const struct kern_mem *mem, const uint8_t *to, const uint8_t *data, size_t bytes)
{
    const off_t at = to - mem->base;
    size_t have = 0;

    while (have < bytes) {
        const ssize_t n = pwrite(mem->fd, data + have, bytes - have, at + (off_t)have);
        if (n < 0 && errno != EINTR)
            return err_errno();
        have += (size_t)MAX(n, 0);
    }
    return 0;
}

static void cpu_pack_item(void *ctx, int item, int thread)
{
    struct cpu_pack *p = ctx;
    const struct kern_pack *pack = p->pack;
    const struct kern_mat *mat = pack->mat;
    const size_t row_bytes = quant_row_bytes(quant_find(mat->type), mat->n_in);
    const int first = item * p->group, n = MIN(p->group, panel_n(pack->n_row) - first);
    uint8_t *to = (uint8_t *)mat->data + (size_t)(pack->row / PANEL_ROWS + first) * p->panel_bytes;
    uint8_t *panels = p->through_map ? to : p->cpu->pack + (size_t)thread * p->cpu->pack_bytes;
    int r = 0;

    for (int i = 0; i < n; i++) {
        const int row = (first + i) * PANEL_ROWS;
        panel_pack(mat, MIN(PANEL_ROWS, pack->n_row - row),
                   (const uint8_t *)pack->src + (size_t)row * row_bytes, panels + (size_t)i * p->panel_bytes);
    }
    if (!p->through_map)
        r = cpu_write(pack->mem, to, panels, (size_t)n * p->panel_bytes);
    if (r < 0)
        atomic_store(&p->error, r);
}

static int cpu_pack_room(struct cpu *cpu, size_t bytes)
{
    if (bytes <= cpu->pack_bytes)
        return 0;
    free(cpu->pack);
    cpu->pack_bytes = 0;
    cpu->pack = aligned_alloc(64, (size_t)cpu->kern.n_threads * bytes);
    if (!cpu->pack)
        return err_origin(-ENOMEM);
    cpu->pack_bytes = bytes;
    return 0;
}

static int cpu_pack_rows(const struct kern_pack *pack)
{
    const size_t row_bytes = quant_row_bytes(quant_find(pack->mat->type), pack->mat->n_in);
    uint8_t *to = (uint8_t *)pack->mat->data + (size_t)pack->row * row_bytes;
    const size_t bytes = (size_t)pack->n_row * row_bytes;

    if (cpu_writes_fd(pack->mem))
        return cpu_write(pack->mem, to, pack->src, bytes);
    memcpy(to, pack->src, bytes);
    return 0;
}

int cpu_mat_pack(struct kern *kern, const struct kern_pack *pack)
{
    struct cpu *cpu = cpu_of(kern);
    struct cpu_pack p = {.cpu = cpu, .pack = pack};
    int r = 0;

    if (pack->row % PANEL_ROWS || pack->row + pack->n_row > pack->mat->n_out)
        return err_origin(-EINVAL);
    if (pack->mat->layout == KERN_ROWS)
        return cpu_pack_rows(pack);
    p.panel_bytes = panel_bytes(panel_kind(pack->mat->type), pack->mat->n_in);
    p.group = MAX(1, (int)(CPU_PACK_BYTES / p.panel_bytes));
    p.through_map = !cpu_writes_fd(pack->mem) || pool_n_team(cpu->pool) > CPU_PACK_WRITERS;
    if (!p.through_map)
        r = cpu_pack_room(cpu, (size_t)p.group * p.panel_bytes);
    if (r < 0)
        return r;
    pool_run(cpu->pool, cpu_pack_item, &p, CEIL_DIV(panel_n(pack->n_row), p.group));
    return atomic_load(&p.error);
}
