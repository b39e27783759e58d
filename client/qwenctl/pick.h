/* pick.h - the model that a word on the command line means. */
#pragma once

#include "code.h"

/* A path, or of a model in the folders of store.h: its file's name, with or without .gguf, or the beginning
 * of just one name, in upper or lower case.  The service's own comes before a user's of the same name, which
 * the service may not read.  The path is absolute, the caller's.  CODE_NO: there is none, the fault says what
 * there is; CODE_USAGE: several begin so. */
enum code pick_model(const char *word, char **ret_path, struct fault *fault);
