/* memfd.h - bytes in memory that another process is handed and nobody can change any more. */
#pragma once

#include "proto/base.h"

/* data [n] in a new memfd, sealed against all changes; *ret_fd is the caller's.  0, < 0. */
int memfd_sealed(const char *name, const void *data, size_t n, int *ret_fd);
