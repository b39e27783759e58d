/* cmd_config.c - `qwenctl config`: what is set and where; setting it in the user's file. */
#include <string.h>

#include "cmd.h"
#include "conf.h"

static enum code config_fault(const struct cmd_args *args, int r, const struct fault *fault)
{
    ui_error(args->ui, "%s", r > 0 ? fault->text : strerror(-r));
    return r > 0 ? CODE_USAGE : CODE_FAILED;
}

static void config_put(FILE *out, const struct cmd_args *args, const struct conf *conf, const struct opt *opt)
{
    char origin[400];
    const char *value = conf_get(conf, opt, conf_profile(conf, args->values), origin);

    if (!value)
        return;
    if (args->values->show_origin)
        fprintf(out, "%s\t", origin);
    fprintf(out, "%s = %s\n", opt->name, value);
}

static enum code config_list(const struct cmd_args *args, const struct conf *conf)
{
    const struct opt *options;
    struct cmd_page page;
    enum code code;
    size_t n;

    code = cmd_page_open(args, &page);
    if (code)
        return code;
    options = opt_table(&n);
    for (size_t i = 0; i < n; i++)
        if (options[i].conf)
            config_put(page.file, args, conf, &options[i]);
    return cmd_page_close(args, &page);
}

static enum code config_get(const struct cmd_args *args, const struct conf *conf)
{
    struct fault fault = {};
    const struct opt *opt;
    struct cmd_page page;
    char origin[400];
    const char *value;
    enum code code;
    int r;

    r = conf_find_key(args->args[1], strlen(args->args[1]), &opt, &fault);
    if (r)
        return config_fault(args, r, &fault);
    value = conf_get(conf, opt, conf_profile(conf, args->values), origin);
    if (!value)
        return CODE_NO;
    code = cmd_page_open(args, &page);
    if (code)
        return code;
    if (args->values->show_origin)
        fprintf(page.file, "%s\t", origin);
    fprintf(page.file, "%s\n", value);
    return cmd_page_close(args, &page);
}

/* What could not be read again is not written: values are checked as the file's are. */
static enum code config_set(const struct cmd_args *args, const char *value)
{
    _cleanup_(freep) char *path = conf_user_path();
    const char *profile = args->values->profile;
    struct opt_values scratch = {};
    struct fault fault = {};
    const struct opt *opt;
    int r;

    r = conf_find_key(args->args[1], strlen(args->args[1]), &opt, &fault);
    if (!r && !path)
        r = fault_set(&fault, CONF_E_FAULT, "there is no home: set $HOME or $XDG_CONFIG_HOME");
    if (!r && value && (!*value || strchr(value, '\n')))
        r = fault_set(&fault, CONF_E_FAULT, "a value is one line, not empty (unset takes it away)");
    if (!r && value)
        r = opt_assign(&scratch, opt, value, &fault);
    if (!r && profile && (!*profile || strlen(profile) >= CONF_NAME_BYTES || strpbrk(profile, "]\n")))
        r = fault_set(&fault, CONF_E_FAULT, "a profile has a name of 1 to %d bytes, without ]",
                      CONF_NAME_BYTES - 1);
    if (!r)
        r = conf_write(path, profile, opt->name, value, &fault);
    return r ? config_fault(args, r, &fault) : CODE_OK;
}

static enum code config_usage(const struct cmd_args *args)
{
    ui_error(args->ui, "config takes list, get KEY, set KEY VALUE or unset KEY");
    return CODE_USAGE;
}

enum code cmd_config(const struct cmd_args *args)
{
    const char *word = args->n ? args->args[0] : "list";
    struct fault fault = {};
    struct conf conf;
    enum code code;
    int r;

    if (!strcmp(word, "set") && args->n == 3)
        return config_set(args, args->args[2]);
    if (!strcmp(word, "unset") && args->n == 2)
        return config_set(args, NULL);
    if (!(!strcmp(word, "list") && args->n <= 1) && !(!strcmp(word, "get") && args->n == 2))
        return config_usage(args);
    r = conf_load_all(&conf, &fault);
    if (r)
        return config_fault(args, r, &fault);
    code = args->n == 2 ? config_get(args, &conf) : config_list(args, &conf);
    conf_deinit(&conf);
    return code;
}
