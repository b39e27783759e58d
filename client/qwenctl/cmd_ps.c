/* cmd_ps.c - the requests that wait or run: own ones; all of them for an administrator. */
#include "cmd.h"
#include "json.h"

static const char *ps_priority(int priority)
{
    return priority == 1 ? "interactive" : priority == 3 ? "batch" : "normal";
}

static void ps_json(FILE *out, const qwend_request_info *info, size_t n)
{
    struct json json = {.file = out};

    json_open(&json, NULL, '{');
    json_open(&json, "requests", '[');
    for (size_t i = 0; i < n; i++) {
        json_open(&json, NULL, '{');
        json_text(&json, "id", info[i].request_id, (size_t)-1);
        json_uint(&json, "uid", info[i].uid);
        json_uint(&json, "pid", info[i].pid);
        json_text(&json, "client", info[i].client, (size_t)-1);
        json_text(&json, "state", info[i].state, (size_t)-1);
        json_text(&json, "priority", ps_priority(info[i].priority), (size_t)-1);
        json_uint(&json, "position", info[i].position);
        json_uint(&json, "prompt_tokens", info[i].prompt_tokens);
        json_uint(&json, "cached_tokens", info[i].cached_tokens);
        json_uint(&json, "output_tokens", info[i].output_tokens);
        json_real(&json, "tokens_s", info[i].tokens_s, 2);
        json_uint(&json, "replays", info[i].replays);
        json_real(&json, "age_s", info[i].age_s, 3);
        json_close(&json, '}');
    }
    json_close(&json, ']');
    json_close(&json, '}');
    fputc('\n', out);
}

static void ps_text(FILE *out, const qwend_request_info *info, size_t n)
{
    fprintf(out, "%-32s %6s %7s %-9s %-11s %4s %8s %8s %8s %6s %8s  %s\n", "ID", "UID", "PID", "STATE",
            "PRIORITY", "POS", "PROMPT", "CACHED", "OUTPUT", "TOK/S", "AGE", "CLIENT");
    for (size_t i = 0; i < n; i++)
        fprintf(out, "%-32s %6u %7u %-9s %-11s %4u %8u %8u %8u %6.1f %7.1fs  %s\n", info[i].request_id,
                info[i].uid, info[i].pid, info[i].state, ps_priority(info[i].priority), info[i].position,
                info[i].prompt_tokens, info[i].cached_tokens, info[i].output_tokens, info[i].tokens_s,
                info[i].age_s, info[i].client);
}

enum code cmd_ps(const struct cmd_args *args)
{
    _cleanup_(qwend_closep) qwend *q = NULL;
    const qwend_request_info *info;
    struct cmd_page page;
    enum code code;
    size_t n;
    int r;

    code = connect_open(args, &q);
    if (code)
        return code;
    r = qwend_requests(q, &info, &n);
    if (r)
        return connect_fail(args, q, r);
    code = cmd_page_open(args, &page);
    if (code)
        return code;
    if (args->values->json)
        ps_json(page.file, info, n);
    else
        ps_text(page.file, info, n);
    return cmd_page_close(args, &page);
}
