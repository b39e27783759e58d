/* amx.c - see amx.h.
 *
 * Tiles are 8 KiB of registers that no program had, so Linux (5.16 and later) gives them to those that ask:
 * to others it is as if there were none.  It refuses a process whose alternate signal stack is too small for
 * them. */
#include "amx.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { AMX_REQ_XCOMP_PERM = 0x1023, AMX_XTILEDATA = 18, AMX_XTILE = 3 << 17 }; /* XTILECFG and XTILEDATA */

static bool amx_is_in_cpu(void)
{
    enum { TILE = 1 << 24, INT8 = 1 << 25 };
    unsigned a, b, c, d;

    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & TILE) && (d & INT8);
}

/* Palette 1: eight tiles of sixteen rows of 64 bytes. */
static bool amx_has_palette(void)
{
    unsigned a, b, c, d;

    return __get_cpuid_count(0x1d, 1, &a, &b, &c, &d) && (b & 0xffff) >= 64 && b >> 16 >= 8 &&
           (c & 0xffff) >= 16;
}

/* Whether the system saves the registers at all; XGETBV itself is there if it says so. */
static bool amx_is_saved(void)
{
    unsigned a, b, c, d;

    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE))
        return false;
    __asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
    return (a & AMX_XTILE) == AMX_XTILE;
}

bool amx_is_usable(void)
{
    return amx_is_in_cpu() && amx_has_palette() && amx_is_saved() &&
           syscall(SYS_arch_prctl, AMX_REQ_XCOMP_PERM, AMX_XTILEDATA) == 0;
}
#else
bool amx_is_usable(void)
{
    return false;
}
#endif
