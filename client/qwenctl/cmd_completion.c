/* cmd_completion.c - `qwenctl completion SHELL`: the script to be sourced by that shell. */
#include <string.h>

#include "cmd.h"
#include "complete.h"

enum code cmd_completion(const struct cmd_args *args)
{
    static const struct {
        const char *shell;
        void (*put)(FILE *out);
    } shells[] = {{"bash", complete_put_bash}, {"zsh", complete_put_zsh}, {"fish", complete_put_fish}};
    struct cmd_page page;
    enum code code;
    size_t i = 0;

    while (args->n && i < ARRAY_SIZE(shells) && strcmp(shells[i].shell, args->args[0]))
        i++;
    if (!args->n || i == ARRAY_SIZE(shells)) {
        ui_error(args->ui, "completion takes a shell: bash, zsh or fish");
        return CODE_USAGE;
    }
    code = cmd_page_open(args, &page);
    if (code)
        return code;
    shells[i].put(page.file);
    return cmd_page_close(args, &page);
}
