/* pull.h - fetching a model by HTTP: into NAME.gguf.part, which a later try goes on with, and into place only
 * once its hash is the one that was asked for. */
#pragma once

#include "cmd.h"

enum code pull_run(const struct cmd_args *args); /* args[0]: the URL */
