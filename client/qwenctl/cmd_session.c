/* cmd_session.c - `qwenctl session`: the conversations that ask and chat keep. */
#include <fcntl.h>
#include <string.h>
#include <time.h>

#include "cmd.h"
#include "file.h"
#include "json.h"
#include "session.h"

enum { SESSION_TITLE = 48 };

static enum code session_fault(const struct cmd_args *args, enum code code, const struct fault *fault)
{
    ui_error(args->ui, "%s", fault->text);
    return code;
}

static enum code session_must_exist(const char *name, struct fault *fault)
{
    _cleanup_(freep) char *path = NULL;
    enum code code = session_path(name, &path, fault);

    if (code || !access(path, F_OK))
        return code;
    return (enum code)fault_set(fault, CODE_USAGE, "no session is called %s (qwenctl session ls)", name);
}

/* ls */

/* The first line of the first question, so that one knows which it was. */
static void session_title(const struct talk *talk, char out[SESSION_TITLE + 1])
{
    const char *text = talk->n_turns ? talk->turns[0].user : "";
    size_t n = strcspn(text, "\n");

    n = qwend_utf8_valid(text, MIN(n, (size_t)SESSION_TITLE));
    memcpy(out, text, n);
    out[n] = 0;
}

static void session_put_info(FILE *out, struct json *json, const struct session_info *info,
                             const struct talk *talk)
{
    char title[SESSION_TITLE + 1], when[20] = "";
    const time_t at = info->at;
    struct tm tm;

    session_title(talk, title);
    if (json) {
        json_open(json, NULL, '{');
        json_text(json, "name", info->name, (size_t)-1);
        json_uint(json, "at", (uint64_t)info->at);
        json_uint(json, "bytes", info->bytes);
        json_uint(json, "turns", talk->n_turns);
        json_text(json, "title", title, (size_t)-1);
        json_close(json, '}');
        return;
    }
    if (localtime_r(&at, &tm))
        strftime(when, sizeof(when), "%F %H:%M", &tm);
    fprintf(out, "%-20s %s %5zu turns  %s\n", info->name, when, talk->n_turns, title);
}

static enum code session_ls(const struct cmd_args *args)
{
    _cleanup_(freep) struct session_info *list = NULL;
    const bool as_json = args->values->json;
    struct fault fault = {};
    struct cmd_page page;
    enum code code;
    size_t n;

    code = session_list(&list, &n, &fault);
    if (code)
        return session_fault(args, code, &fault);
    code = cmd_page_open(args, &page);
    if (code)
        return code;
    struct json json = {.file = page.file};
    if (as_json) {
        json_open(&json, NULL, '{');
        json_open(&json, "sessions", '[');
    }
    for (size_t i = 0; i < n; i++) {
        struct talk talk = {};

        if (args->ui->quiet) {
            fprintf(page.file, "%s\n", list[i].name);
            continue;
        }
        if (session_load(list[i].name, &talk, &fault))
            ui_error(args->ui, "%s", fault.text);
        session_put_info(page.file, as_json ? &json : NULL, &list[i], &talk);
        talk_deinit(&talk);
    }
    if (as_json) {
        json_close(&json, ']');
        json_close(&json, '}');
        fputc('\n', page.file);
    }
    return cmd_page_close(args, &page);
}

/* show, export */

static void session_put_text(FILE *out, const struct talk *talk)
{
    if (talk->system)
        fprintf(out, "## System\n\n%s\n\n", talk->system);
    for (size_t i = 0; i < talk->n_turns; i++) {
        fprintf(out, "%s## Question\n\n", i ? "\n" : "");
        fwrite(talk->turns[i].user, 1, talk->turns[i].n_user, out);
        fputs("\n\n## Answer\n\n", out);
        fwrite(talk->turns[i].assistant, 1, talk->turns[i].n_assistant, out);
        fputc('\n', out);
    }
}

static void session_put_message(struct json *json, const char *role, const char *text, size_t n)
{
    json_open(json, NULL, '{');
    json_text(json, "role", role, (size_t)-1);
    json_text(json, "content", text, n);
    json_close(json, '}');
}

/* As the OpenAI API takes it. */
static void session_put_json(FILE *out, const struct talk *talk)
{
    struct json json = {.file = out};

    json_open(&json, NULL, '{');
    json_open(&json, "messages", '[');
    if (talk->system)
        session_put_message(&json, "system", talk->system, (size_t)-1);
    for (size_t i = 0; i < talk->n_turns; i++) {
        session_put_message(&json, "user", talk->turns[i].user, talk->turns[i].n_user);
        session_put_message(&json, "assistant", talk->turns[i].assistant, talk->turns[i].n_assistant);
    }
    json_close(&json, ']');
    json_close(&json, '}');
    fputc('\n', out);
}

static enum code session_show(const struct cmd_args *args)
{
    const char *name = args->args[1];
    struct fault fault = {};
    struct talk talk = {};
    struct cmd_page page;
    enum code code;

    code = session_must_exist(name, &fault);
    if (!code)
        code = session_load(name, &talk, &fault);
    if (code)
        return session_fault(args, code, &fault);
    code = cmd_page_open(args, &page);
    if (!code && (args->values->json || !strcmp(args->args[0], "export")))
        session_put_json(page.file, &talk);
    else if (!code)
        session_put_text(page.file, &talk);
    talk_deinit(&talk);
    return code ? code : cmd_page_close(args, &page);
}

/* the others */

static enum code session_rm(const struct cmd_args *args)
{
    struct fault fault = {};
    enum code code = CODE_OK;

    for (int i = 1; !code && i < args->n; i++) {
        _cleanup_(freep) char *path = NULL;

        code = session_must_exist(args->args[i], &fault);
        if (!code)
            code = session_path(args->args[i], &path, &fault);
        if (!code && unlink(path) < 0)
            code = (enum code)fault_set(&fault, CODE_FAILED, "%s: %s", path, strerror(errno));
    }
    return code ? session_fault(args, code, &fault) : CODE_OK;
}

/* A copy under another name, of whole lines. */
static enum code session_fork(const struct cmd_args *args)
{
    _cleanup_(freep) char *from = NULL, *to = NULL, *text = NULL;
    struct fault fault = {};
    enum code code;
    size_t n;
    int r;

    code = session_must_exist(args->args[1], &fault);
    if (!code)
        code = session_path(args->args[1], &from, &fault);
    if (!code)
        code = session_path(args->args[2], &to, &fault);
    if (!code && session_exists(args->args[2]))
        code = (enum code)fault_set(&fault, CODE_USAGE, "there is a session %s already", args->args[2]);
    if (code)
        return session_fault(args, code, &fault);
    r = file_read(from, SESSION_BYTES, &text, &n);
    while (!r && n && text[n - 1] != '\n')
        n--;
    if (!r)
        r = file_replace(to, text, n, 0600);
    if (r) {
        ui_error(args->ui, "%s: %s", from, r < 0 ? strerror(-r) : "too large");
        return CODE_FAILED;
    }
    return CODE_OK;
}

static enum code session_print_path(const struct cmd_args *args)
{
    _cleanup_(freep) char *path = NULL;
    struct fault fault = {};
    struct cmd_page page;
    enum code code;

    code = session_path(args->args[1], &path, &fault);
    if (code)
        return session_fault(args, code, &fault);
    code = cmd_page_open(args, &page);
    if (code)
        return code;
    fprintf(page.file, "%s\n", path);
    return cmd_page_close(args, &page);
}

enum code cmd_session(const struct cmd_args *args)
{
    static const struct {
        const char *word;
        int n_min, n_max; /* arguments behind it */
        enum code (*run)(const struct cmd_args *args);
    } words[] = {{"ls", 0, 0, session_ls},       {"show", 1, 1, session_show},
                 {"export", 1, 1, session_show}, {"rm", 1, 1000, session_rm},
                 {"fork", 2, 2, session_fork},   {"path", 1, 1, session_print_path}};
    const char *word = args->n ? args->args[0] : "ls";
    const int n = MAX(args->n - 1, 0);

    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        if (!strcmp(words[i].word, word) && n >= words[i].n_min && n <= words[i].n_max)
            return words[i].run(args);
    ui_error(args->ui, "session takes ls, show NAME, export NAME, rm NAME..., fork NAME NEW or path NAME");
    return CODE_USAGE;
}
