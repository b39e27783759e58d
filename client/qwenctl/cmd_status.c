/* cmd_status.c - what the daemon is, has and does: `qwenctl status`. */
#include <string.h>

#include "cmd.h"
#include "json.h"

static const char *status_public_state(const qwend_public *public)
{
    static const char *const names[] = {"unknown", "waiting", "ready", "refused"};

    return names[public->state >= 1 && public->state <= 3 ? public->state : 0];
}

static void status_json_publics(struct json *json, const qwend_status_info *info)
{
    json_open(json, "publics", '[');
    for (size_t i = 0; i < info->n_publics; i++) {
        json_open(json, NULL, '{');
        json_text(json, "name", info->publics[i].name, (size_t)-1);
        json_text(json, "state", status_public_state(&info->publics[i]), (size_t)-1);
        json_uint(json, "tokens", info->publics[i].tokens);
        json_text(json, "text", info->publics[i].text, (size_t)-1);
        json_close(json, '}');
    }
    json_close(json, ']');
}

static void status_text_publics(FILE *out, const qwend_status_info *info)
{
    for (size_t i = 0; i < info->n_publics; i++) {
        const qwend_public *public = &info->publics[i];

        if (public->state == 2)
            fprintf(out, "public    %s: %u tokens\n", public->name, public->tokens);
        else
            fprintf(out, "public    %s: %s%s%s\n", public->name, status_public_state(public),
                    *public->text ? ": " : "", public->text);
    }
}

static void status_json_served(struct json *json, const qwend_served *served)
{
    json_text(json, "model_path", served->path, (size_t)-1);
    if (!*served->next_stage)
        return;
    json_open(json, "next", '{');
    json_text(json, "path", served->next_path, (size_t)-1);
    json_text(json, "stage", served->next_stage, (size_t)-1);
    json_uint(json, "left", served->next_left);
    json_uint(json, "load_permille", served->next_permille);
    json_close(json, '}');
}

/* A use of another model that is under way. */
static void status_text_next(FILE *out, const qwend_served *served)
{
    if (!*served->next_stage)
        return;
    fprintf(out, "next      %s: %s", served->next_path, served->next_stage);
    if (!strcmp(served->next_stage, "draining"))
        fprintf(out, ", %u requests of the present model are served first", served->next_left);
    else if (strcmp(served->next_stage, "checking") != 0)
        fprintf(out, ", %u %%", served->next_permille / 10);
    fputc('\n', out);
}

static void status_json(FILE *out, const qwend_status_info *info, const qwend_served *served)
{
    struct json json = {.file = out};

    json_open(&json, NULL, '{');
    json_text(&json, "state", info->state_name, (size_t)-1);
    json_text(&json, "note", info->note, (size_t)-1);
    json_text(&json, "server", info->server, (size_t)-1);
    json_uint(&json, "pid", info->pid);
    json_uint(&json, "engine_pid", info->engine_pid);
    json_real(&json, "uptime_s", info->uptime_s, 3);
    json_uint(&json, "load_permille", info->load_permille);
    json_open(&json, "model", '{');
    json_text(&json, "name", info->model, (size_t)-1);
    json_text(&json, "file", info->file, (size_t)-1);
    json_uint(&json, "file_bytes", info->file_bytes);
    json_uint(&json, "params", info->n_params);
    json_text(&json, "quantisation", info->quantisation, (size_t)-1);
    json_uint(&json, "context_trained", info->context_trained);
    json_text(&json, "numerics_id", info->numerics_id, (size_t)-1);
    json_close(&json, '}');
    json_text(&json, "backend", info->backend, (size_t)-1);
    json_text(&json, "isa", info->isa, (size_t)-1);
    json_text(&json, "kv_type", info->kv_type, (size_t)-1);
    json_uint(&json, "threads", info->threads);
    json_uint(&json, "context", info->context);
    json_uint(&json, "slots", info->slots);
    json_uint(&json, "weights_bytes", info->weights_bytes);
    json_uint(&json, "weights_host_bytes", info->weights_host_bytes);
    json_bool(&json, "weights_locked", info->weights_locked);
    json_uint(&json, "state_bytes", info->state_bytes);
    json_uint(&json, "cache_bytes", info->cache_bytes);
    json_uint(&json, "cache_used_bytes", info->cache_used_bytes);
    json_uint(&json, "cache_pages", info->cache_pages);
    json_uint(&json, "cache_checkpoints", info->cache_checkpoints);
    json_uint(&json, "cache_dir_bytes", info->cache_dir_bytes);
    json_uint(&json, "cache_dir_used_bytes", info->cache_dir_used_bytes);
    json_uint(&json, "running", info->running);
    json_uint(&json, "queued", info->queued);
    json_uint(&json, "connections", info->connections);
    json_uint(&json, "engine_restarts", info->engine_restarts);
    json_uint(&json, "requests", info->requests);
    json_uint(&json, "preemptions", info->preemptions);
    json_uint(&json, "prompt_tokens", info->prompt_tokens);
    json_uint(&json, "cached_tokens", info->cached_tokens);
    json_uint(&json, "output_tokens", info->output_tokens);
    status_json_publics(&json, info);
    status_json_served(&json, served);
    json_close(&json, '}');
    fputc('\n', out);
}

static void status_text(FILE *out, const qwend_status_info *info, const qwend_served *served)
{
    const double mib = 1 << 20;
    const bool giant = info->n_params >= 1000000000;

    fprintf(out, "state     %s%s%s\n", info->state_name, *info->note ? ": " : "", info->note);
    status_text_next(out, served);
    if (info->state == 2)
        fprintf(out, "loaded    %u %%\n", info->load_permille / 10);
    fprintf(out, "server    %s, pid %u, engine pid %u, up %.0f s, engine restarts %u\n", info->server,
            info->pid, info->engine_pid, info->uptime_s, info->engine_restarts);
    if (*info->file)
        fprintf(out, "model     %s, %.2f %s parameters, %s (%s, %.0f MiB)\n", info->model,
                (double)info->n_params / (giant ? 1e9 : 1e6), giant ? "G" : "M", info->quantisation,
                info->file, (double)info->file_bytes / mib);
    if (*info->backend)
        fprintf(out, "runs on   %s%s%s, %u threads, KV cache %s\n", info->backend, *info->isa ? " " : "",
                info->isa, info->threads, info->kv_type);
    fprintf(out, "memory    weights %.0f MiB%s", (double)info->weights_bytes / mib,
            info->weights_locked ? " (locked)" : "");
    if (info->weights_host_bytes)
        fprintf(out, " (%.0f on the device, %.0f in main memory)",
                (double)(info->weights_bytes - info->weights_host_bytes) / mib,
                (double)info->weights_host_bytes / mib);
    fprintf(out, ", state %.0f MiB\n", (double)info->state_bytes / mib);
    if (info->cache_bytes)
        fprintf(out, "cache     %.0f of %.0f MiB in use; room for %u tokens and %u checkpoints\n",
                (double)info->cache_used_bytes / mib, (double)info->cache_bytes / mib, 64 * info->cache_pages,
                info->cache_checkpoints);
    if (info->cache_dir_bytes)
        fprintf(out, "on disk   %.0f of %.0f MiB of the cache's files\n",
                (double)info->cache_dir_used_bytes / mib, (double)info->cache_dir_bytes / mib);
    status_text_publics(out, info);
    fprintf(out, "context   %u tokens a request (trained: %u), %u at a time\n", info->context,
            info->context_trained, info->slots);
    fprintf(out, "requests  %u running, %u queued, %llu since start, preempted %llu times; %u connections\n",
            info->running, info->queued, (unsigned long long)info->requests,
            (unsigned long long)info->preemptions, info->connections);
    fprintf(out, "tokens    %llu in prompts, %llu of them from the cache, %llu written\n",
            (unsigned long long)info->prompt_tokens, (unsigned long long)info->cached_tokens,
            (unsigned long long)info->output_tokens);
}

enum code cmd_status(const struct cmd_args *args)
{
    _cleanup_(qwend_closep) qwend *q = NULL;
    qwend_status_info info;
    qwend_served served;
    struct cmd_page page;
    enum code code;
    int r;

    code = connect_open(args, &q);
    if (code)
        return code;
    r = qwend_status(q, &info);
    if (!r)
        r = qwend_status_served(q, &served);
    if (r)
        return connect_fail(args, q, r);
    code = cmd_page_open(args, &page);
    if (code)
        return code;
    if (args->values->json)
        status_json(page.file, &info, &served);
    else
        status_text(page.file, &info, &served);
    return cmd_page_close(args, &page);
}
