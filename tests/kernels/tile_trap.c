/* tile_trap.c - see tile_trap.h.
 *
 * Decodes the eight instructions' only encodings: VEX in three bytes, opcode, ModRM, and for memory SIB and
 * displacement.  Anything else, and any fault that the emulation finds, ends the program. */
#include "tile_trap.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

#include "kernels/cpu/amx.h"
#include "tile_emu.h"

static _Thread_local struct tile_emu tile_trap_tiles;
static _Atomic uint64_t tile_trap_n[6];

enum { CONFIGURE, RELEASE, ZERO, LOAD, STORE, DOT };

struct tile_trap_op {
    uint8_t opcode, prefix, modrm; /* prefix: 0 none, 1 66, 2 f3, 3 f2 */
    int reg, rm, vvvv;             /* with their high bits */
    uint8_t *address;              /* of a memory operand */
    int64_t stride;                /* of one with SIB */
    const uint8_t *next;
};

static uint8_t *tile_trap_register(const ucontext_t *u, int i)
{
    static const int names[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                  REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};

    return (uint8_t *)u->uc_mcontext.gregs[names[i]];
}

/* at: behind ModRM.  Base, displacement, index times scale as the stride, which has to be there if there is
 * SIB. */
static const char *tile_trap_memory(const ucontext_t *u, const uint8_t *at, int not_x, int not_b,
                                    struct tile_trap_op *op)
{
    const int mod = op->modrm >> 6, low = op->modrm & 7, sib = low == 4 ? *at++ : 0;
    const int base = (low == 4 ? sib & 7 : low) | (not_b ? 0 : 8), index = (sib >> 3 & 7) | (not_x ? 0 : 8);
    int32_t displacement = 0;

    if (mod == 1)
        displacement = (int8_t)*at++;
    if (mod == 2 || (mod == 0 && low == 5)) {
        memcpy(&displacement, at, 4);
        at += 4;
    }
    if (low == 4 && mod == 0 && (sib & 7) == 5)
        return "a memory operand without a base is not decoded";
    op->next = at;
    op->address = (mod == 0 && low == 5 ? (uint8_t *)at : tile_trap_register(u, base)) + displacement;
    if (low == 4 && index != 4)
        op->stride = (int64_t)tile_trap_register(u, index) * (1 << (sib >> 6));
    return NULL;
}

/* False: no AMX instruction. */
static bool tile_trap_decode(const ucontext_t *u, const uint8_t *ip, struct tile_trap_op *op,
                             const char **fault)
{
    if (ip[0] != 0xc4 || (ip[1] & 0x1f) != 2 || ip[2] & 0x84) /* VEX, map 0F38, W0, L0 */
        return false;
    if (ip[3] != 0x49 && ip[3] != 0x4b && ip[3] != 0x5e)
        return false;
    *op = (struct tile_trap_op){
        .opcode = ip[3],
        .prefix = ip[2] & 3,
        .modrm = ip[4],
        .reg = (ip[4] >> 3 & 7) | (ip[1] & 0x80 ? 0 : 8),
        .rm = (ip[4] & 7) | (ip[1] & 0x20 ? 0 : 8),
        .vvvv = ~(ip[2] >> 3) & 15,
        .next = ip + 5,
    };
    *fault = op->modrm >> 6 == 3 ? NULL : tile_trap_memory(u, ip + 5, ip[1] & 0x40, ip[1] & 0x20, op);
    if (op->reg > 7 || (op->modrm >> 6 == 3 && op->rm > 7) || op->vvvv > (op->opcode == 0x5e ? 7 : 0))
        *fault = "there are eight tiles";
    return true;
}

static const char *tile_trap_49(const struct tile_trap_op *op)
{
    const bool in_memory = op->modrm >> 6 != 3;

    if (op->prefix == 0 && in_memory && op->reg == 0) {
        tile_trap_n[CONFIGURE]++;
        return tile_emu_configure(&tile_trap_tiles, op->address);
    }
    if (op->prefix == 0 && op->modrm == 0xc0) {
        tile_trap_n[RELEASE]++;
        tile_emu_release(&tile_trap_tiles);
        return NULL;
    }
    if (op->prefix == 3 && !in_memory && op->rm == 0) {
        tile_trap_n[ZERO]++;
        return tile_emu_zero(&tile_trap_tiles, op->reg);
    }
    return "an instruction that is not emulated";
}

static const char *tile_trap_4b(const struct tile_trap_op *op)
{
    if (op->modrm >> 6 == 3 || (op->modrm & 7) != 4 || op->prefix < 2)
        return "an instruction that is not emulated";
    tile_trap_n[op->prefix == 3 ? LOAD : STORE]++;
    if (op->prefix == 3)
        return tile_emu_load(&tile_trap_tiles, op->reg, op->address, op->stride);
    return tile_emu_store(&tile_trap_tiles, op->reg, op->address, op->stride);
}

/* TDPBUUD, TDPBUSD, TDPBSUD, TDPBSSD, by prefix */
static const char *tile_trap_5e(const struct tile_trap_op *op)
{
    if (op->modrm >> 6 != 3)
        return "an instruction that is not emulated";
    tile_trap_n[DOT]++;
    return tile_emu_dot(&tile_trap_tiles, op->reg, op->rm, op->vvvv, op->prefix >= 2, op->prefix & 1);
}

static void tile_trap_fail(const uint8_t *ip, const char *fault)
{
    char text[160];
    const int n = snprintf(text, sizeof(text), "AMX emulation, at %02x %02x %02x %02x %02x: %s\n", ip[0],
                           ip[1], ip[2], ip[3], ip[4], fault);

    if (write(STDERR_FILENO, text, (size_t)n) < 0)
        _exit(3);
    abort();
}

/* As many as follow on each other, since the way here and back takes longer than most of them. */
static void tile_trap_on_sigill(int signal_number, siginfo_t *info, void *context)
{
    ucontext_t *u = context;
    const uint8_t *const first = (const uint8_t *)u->uc_mcontext.gregs[REG_RIP], *ip = first;
    struct tile_trap_op op;
    const char *fault = NULL;

    while (tile_trap_decode(u, ip, &op, &fault)) {
        if (!fault)
            fault = op.opcode == 0x49   ? tile_trap_49(&op)
                    : op.opcode == 0x4b ? tile_trap_4b(&op)
                                        : tile_trap_5e(&op);
        if (fault)
            tile_trap_fail(ip, fault);
        ip = op.next;
    }
    if (ip == first)
        tile_trap_fail(ip, "no AMX instruction");
    u->uc_mcontext.gregs[REG_RIP] = (greg_t)ip;
}

void tile_trap_install(void)
{
    struct sigaction action = {.sa_sigaction = tile_trap_on_sigill, .sa_flags = SA_SIGINFO};

    sigemptyset(&action.sa_mask);
    if (sigaction(SIGILL, &action, NULL) < 0)
        abort();
}

struct tile_trap_counts tile_trap_take_counts(void)
{
    uint64_t n[6];

    for (int i = 0; i < 6; i++)
        n[i] = atomic_exchange(&tile_trap_n[i], 0);
    return (struct tile_trap_counts){n[CONFIGURE], n[RELEASE], n[ZERO], n[LOAD], n[STORE], n[DOT]};
}

bool tile_trap_is_configured(void)
{
    return tile_trap_tiles.palette != 0;
}

/* instead of kernels/cpu/amx.c */
bool amx_is_usable(void)
{
    tile_trap_install();
    return true;
}
