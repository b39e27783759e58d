/* tool.h - the programs that qwenctl hands a verb over to. */
#pragma once

#include "cmd.h"

/* Where it is: beside qwenctl, in the folder of private programs, or in $PATH; the caller frees.  NULL:
 * nowhere. */
char *tool_find(const char *name);

/* Becomes that program: argv[0] is set.  Comes back only with the reason why not, which it has said. */
enum code tool_exec(struct ui *ui, const char *name, char **argv);

/* Runs it to its end; *ret_out is what it wrote to stdout (the caller frees), *ret_status as of waitpid(). */
enum code tool_run(struct ui *ui, const char *name, char **argv, char **ret_out, size_t *ret_n,
                   int *ret_status);
