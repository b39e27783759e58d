/* input.h - text that is to be asked about: standard input and files, whole, as UTF-8, up to a limit. */
#pragma once

#include "code.h"

/* Reads fd to its end.  name is for messages ("standard input").  CODE_OK; CODE_USAGE: not readable, or not
 * UTF-8, with the offset; CODE_TOO_LONG: more than max bytes; CODE_INT, CODE_TERM.  *ret_text has a NUL
 * behind it; the caller frees. */
enum code input_read(int fd, const char *name, size_t max, char **ret_text, size_t *ret_n,
                     struct fault *fault);
enum code input_read_file(const char *path, size_t max, char **ret_text, size_t *ret_n, struct fault *fault);

/* CODE_USAGE with the offset of the first byte that is not UTF-8 (or is NUL) and how to convert. */
enum code input_check(const char *name, const char *text, size_t n, struct fault *fault);
