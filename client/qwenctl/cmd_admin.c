/* cmd_admin.c - what an administrator says to the daemon and it does at once: reload, drain, resume,
 * upgrade. */
#include "cmd.h"

static enum code admin_send(const struct cmd_args *args, qwend_admin_verb verb)
{
    _cleanup_(qwend_closep) qwend *q = NULL;
    const char *text;
    struct cmd_page page;
    enum code code;
    int r;

    code = connect_open(args, &q);
    if (code)
        return code;
    r = qwend_admin(q, verb, &text);
    if (r)
        return connect_fail(args, q, r);
    if (args->ui->quiet)
        return CODE_OK;
    code = cmd_page_open(args, &page);
    if (code)
        return code;
    fprintf(page.file, "%s\n", text);
    return cmd_page_close(args, &page);
}

enum code cmd_reload(const struct cmd_args *args)
{
    return admin_send(args, QWEND_ADMIN_RELOAD);
}

enum code cmd_drain(const struct cmd_args *args)
{
    return admin_send(args, QWEND_ADMIN_DRAIN);
}

enum code cmd_resume(const struct cmd_args *args)
{
    return admin_send(args, QWEND_ADMIN_RESUME);
}

enum code cmd_upgrade(const struct cmd_args *args)
{
    return admin_send(args, QWEND_ADMIN_UPGRADE);
}
