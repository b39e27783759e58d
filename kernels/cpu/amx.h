/* amx.h - may this process use AMX tiles? */
#pragma once

#include <stdbool.h>

/* The processor has tiles of the size that mm_tile.c configures and products of bytes, and the kernel lets
 * this process use them: asks it for leave.  For all threads, so to be called before any is started; again:
 * the same. */
bool amx_is_usable(void);
