/* quant.c - weight types.  See quant.h. */
#include "quant.h"
