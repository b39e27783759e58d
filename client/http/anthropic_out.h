/* anthropic_out.h - what is answered in Anthropic's dialect. */
#pragma once

#include "job.h"

extern const struct dialect anthropic_dialect;
