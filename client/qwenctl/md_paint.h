/* md_paint.h - a finished piece of Markdown as lines for a terminal: wrapped at words, with SGR sequences. */
#pragma once

#include <stdio.h>

#include "proto/base.h"

/* 0 or negative errno.  Ends with a newline unless nothing is to be seen. */
int md_paint(FILE *out, const char *text, size_t n, unsigned columns);

/* Columns of the character that text[n] begins with, and its bytes. */
unsigned md_columns_of(const char *text, size_t n, size_t *ret_bytes);
