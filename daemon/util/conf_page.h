/* conf_page.h - manual pages that tell of a configuration's keys, checked against its tables while they are
 * built.  For the tools that the build makes them with; no daemon calls this.
 *
 * A page is a text in scdoc's language with two kinds of lines more:
 *
 *   @key SECTION NAME     the key's entry begins: its name and what its value may be.  The lines with a tab
 * behind it say what it means; range and default follow from the table.  Where the table has no default that
 * could be shown, they must say it, with the word "Default".
 *   @options SECTION      a program's options: an entry for each key, with the text of its --help
 *
 * A page that has one key of a section must have them all. */
#pragma once

#include "conf.h"

enum { CONF_PAGE_OK, CONF_PAGE_E_TEXT };

/* The fault names the line.  What was written before it is of no use. */
int conf_page_put(FILE *in, const char *path, FILE *out, const struct conf_table *tables, size_t n_tables,
                  struct fault *fault);

/* main() of such a tool, whose only argument is the page's path: the exit status. */
int conf_page_run(int argc, char **argv, const struct conf_table *tables, size_t n_tables);
