/* kernels.c - opens a backend by name; the only file with CUDA behind an #ifdef.  See kernels.h. */
#include "kernels.h"
