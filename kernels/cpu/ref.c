/* ref.c - every op in plain C: the definition. */
#include "kernels/kernels.h"
