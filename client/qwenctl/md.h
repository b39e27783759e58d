/* md.h - an answer laid out on a terminal while it still comes.
 *
 * What has come of a block (a paragraph, a list, a heading) is shown as it stands; once the block is over it
 * is taken back and put there laid out.  Lines of a code block are final one by one.  A block that is higher
 * than the terminal cannot be taken back and stays as it stands.  The terminal's size may change meanwhile.
 * Sequences in the text are shown, never obeyed. */
#pragma once

#include "proto/base.h"

struct md;
typedef int md_put(void *arg, const char *text, size_t n); /* nonzero: returned by the caller */

struct md *md_new(void); /* NULL: out of memory, or built without Markdown */
int md_feed(struct md *md, const char *text, size_t n, md_put *put, void *arg);
int md_end(struct md *md, md_put *put, void *arg);
void md_disturb(struct md *md);    /* somebody else wrote to the terminal: the block stays as it stands */
struct md *md_free(struct md *md); /* NULL allowed; returns NULL */
int md_set_size(struct md *md, unsigned columns, unsigned rows); /* instead of the terminal's; -ENOMEM */
