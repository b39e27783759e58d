/* template.h - a role in a file: options, a system message, and how a question is put.
 *
 *     ---                      options as in a configuration; may be left out
 *     think = off
 *     ---
 *     You review patches.      the system message
 *     --- question             from here on the question; may be left out
 *     Review this. {{question}}
 *
 * NAME.txt is looked for in the user's folder, then in those of the machine. */
#pragma once

#include "code.h"
#include "opt.h"

enum { TEMPLATE_BYTES = 1 << 20, TEMPLATE_FOLDERS = 3 };

struct template
{
    char *path, *system, *question; /* owned; system in the form of --system; question NULL: none */
    struct template_option {
        const struct opt *opt;
        char *value; /* owned */
    } * options;
    size_t n_options;
};

/* CODE_OK; CODE_USAGE: there is none of that name, or it is wrong, with file and line. */
enum code template_load(const char *name, struct template *ret_template, struct fault *fault);
/* The same from the text of a file; template has its path, and is to be freed in any case. */
enum code template_parse(struct template *template, const char *text, size_t n, struct fault *fault);
void template_deinit(struct template *template);
/* Sets what is not set yet; values borrows the text. */
enum code template_apply(const struct template *template, uint64_t verb, struct opt_values *values,
                         struct fault *fault);

/* The folders, the user's first; the caller frees each.  NULL: there is none. */
void template_folders(char *ret_folders[TEMPLATE_FOLDERS]);
/* The file of a name, in the first folder that has it; the caller frees. */
enum code template_path(const char *name, char **ret_path, struct fault *fault);
