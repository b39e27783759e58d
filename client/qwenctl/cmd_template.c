/* cmd_template.c - `qwenctl template`: roles in files, listed, shown, edited. */
#include <dirent.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "cmd.h"
#include "file.h"

static enum code template_fault(const struct cmd_args *args, enum code code, const struct fault *fault)
{
    ui_error(args->ui, "%s", fault->text);
    return code;
}

/* NAME of "NAME.txt", or NULL */
static char *template_name_of(const char *file)
{
    const size_t n = strlen(file);
    char *name;

    if (n <= 4 || strcmp(file + n - 4, ".txt"))
        return NULL;
    name = strndup(file, n - 4);
    if (name && !file_is_name(name)) {
        free(name);
        name = NULL;
    }
    return name;
}

static int template_by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* Those of one folder; of two with one name the first folder's counts, and only that is listed. */
static void template_ls_folder(FILE *out, const struct cmd_args *args, const char *folder)
{
    struct dirent **list;
    int n = folder ? scandir(folder, &list, NULL, template_by_name) : 0;

    for (int i = 0; i < n; i++) {
        _cleanup_(freep) char *name = template_name_of(list[i]->d_name), *path = NULL;

        if (name && !template_path(name, &path, NULL) && !strncmp(path, folder, strlen(folder)))
            fprintf(out, args->ui->quiet ? "%s\n" : "%-20s %s\n", name, path);
        free(list[i]);
    }
    if (n > 0)
        free(list);
}

static enum code template_ls(const struct cmd_args *args)
{
    char *folders[TEMPLATE_FOLDERS];
    struct cmd_page page;
    enum code code = cmd_page_open(args, &page);

    if (code)
        return code;
    template_folders(folders);
    for (size_t i = 0; i < TEMPLATE_FOLDERS; i++) {
        template_ls_folder(page.file, args, folders[i]);
        free(folders[i]);
    }
    return cmd_page_close(args, &page);
}

static enum code template_show(const struct cmd_args *args)
{
    _cleanup_(freep) char *path = NULL, *text = NULL;
    struct fault fault = {};
    enum code code;
    size_t n;
    int r;

    code = template_path(args->args[1], &path, &fault);
    if (code)
        return template_fault(args, code, &fault);
    r = file_read(path, TEMPLATE_BYTES, &text, &n);
    if (!r)
        return cmd_print(args, text, n);
    ui_error(args->ui, "%s: %s", path, r < 0 ? strerror(-r) : "too large");
    return CODE_USAGE;
}

/* The user's own file: one of the machine is copied, a new one begins as an example. */
static enum code template_make(const char *name, const char *path, struct fault *fault)
{
    static const char example[] = "---\nthink = off\n---\nYou are ...\n--- question\n{{question}}\n";
    _cleanup_(freep) char *from = NULL, *text = NULL;
    size_t n = 0;
    int r = 0;

    if (!access(path, F_OK))
        return CODE_OK;
    if (!template_path(name, &from, NULL))
        r = file_read(from, TEMPLATE_BYTES, &text, &n);
    if (!r)
        r = file_make_folders(path);
    if (!r)
        r = file_replace(path, text ? text : example, text ? n : sizeof(example) - 1, 0644);
    if (r)
        return (enum code)fault_set(fault, CODE_FAILED, "%s: %s", path, r < 0 ? strerror(-r) : "too large");
    return CODE_OK;
}

/* As git does: the shell splits $VISUAL, so that it may have options. */
static enum code template_run_editor(const char *path, struct fault *fault)
{
    const char *editor = getenv("VISUAL");
    int status;
    pid_t pid;

    if (!editor || !*editor)
        editor = getenv("EDITOR");
    if (!editor || !*editor)
        editor = "vi";
    pid = fork();
    if (pid < 0)
        return (enum code)fault_set(fault, CODE_FAILED, "cannot start an editor: %s", strerror(errno));
    if (!pid) {
        _cleanup_(freep) char *line = NULL;

        if (asprintf(&line, "%s \"$@\"", editor) >= 0)
            execl("/bin/sh", "sh", "-c", line, editor, path, NULL);
        kill(getpid(), SIGKILL);
    }
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return (enum code)fault_set(fault, CODE_FAILED, "the editor is lost: %s", strerror(errno));
    if (WIFEXITED(status) && !WEXITSTATUS(status))
        return CODE_OK;
    return (enum code)fault_set(fault, CODE_FAILED, "%.60s failed: nothing is known of %s", editor, path);
}

static enum code template_edit(const struct cmd_args *args)
{
    const char *name = args->args[1];
    char *folders[TEMPLATE_FOLDERS];
    _cleanup_(freep) char *path = NULL;
    struct template template;
    struct fault fault = {};
    enum code code = CODE_OK;

    if (!file_is_name(name))
        code = (enum code)fault_set(
            &fault, CODE_USAGE, "\"%.40s\" is no name for a template: up to 64 letters, digits, - _ .", name);
    template_folders(folders);
    if (!code && (!folders[0] || asprintf(&path, "%s/%s.txt", folders[0], name) < 0))
        code = (enum code)fault_set(&fault, CODE_USAGE,
                                    "there is no home for it: set $HOME or $XDG_CONFIG_HOME");
    for (size_t i = 0; i < TEMPLATE_FOLDERS; i++)
        free(folders[i]);
    if (!code)
        code = template_make(name, path, &fault);
    if (!code)
        code = template_run_editor(path, &fault);
    if (!code) { /* a mistake is said now, not at the next question */
        code = template_load(name, &template, &fault);
        if (!code)
            template_deinit(&template);
    }
    return code ? template_fault(args, code, &fault) : CODE_OK;
}

enum code cmd_template(const struct cmd_args *args)
{
    const char *word = args->n ? args->args[0] : "ls";

    if (!strcmp(word, "ls") && args->n <= 1)
        return template_ls(args);
    if (!strcmp(word, "show") && args->n == 2)
        return template_show(args);
    if (!strcmp(word, "edit") && args->n == 2)
        return template_edit(args);
    ui_error(args->ui, "template takes ls, show NAME or edit NAME");
    return CODE_USAGE;
}
