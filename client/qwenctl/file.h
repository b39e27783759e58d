/* file.h - small files of the user: read whole, replaced whole, in folders of his own. */
#pragma once

#include "proto/base.h"

enum { FILE_OK, FILE_E_BIG };

/* $VARIABLE/qwend/NAME, or ~/FALLBACK/qwend/NAME; the caller frees.  NULL: there is no home, or no memory. */
char *file_home(const char *variable, const char *fallback, const char *name);

/* The whole file, with a NUL behind it.  FILE_E_BIG: more than max bytes; negative errno. */
int file_read(const char *path, size_t max, char **ret_text, size_t *ret_n);

/* Makes the folders on the way to path, 0700 as XDG wants it; those that are there stay as they are. */
int file_make_folders(const char *path);

/* Puts a file in the place of path in one step: whoever reads sees the old or the new one, also after a
 * crash. A symbolic link stays one: what it points to is replaced. */
int file_replace(const char *path, const char *text, size_t n, mode_t mode);

/* May this be the name of a session or template?  1 to 64 letters, digits, '.', '_', '-', no '.' first: never
 * a path. */
bool file_is_name(const char *name);
