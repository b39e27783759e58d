/* wire.c - the check before protobuf-c.  See wire.h. */
#include "wire.h"
