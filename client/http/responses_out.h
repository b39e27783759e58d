/* responses_out.h - what is answered in the dialect of OpenAI's Responses. */
#pragma once

#include "job.h"

extern const struct dialect responses_dialect;
