/* ollama_models.c - /api/tags, /api/ps, /api/show, /api/version.  See ollama.h. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "look.h"
#include "ollama.h"

/* Clients refuse to talk to an Ollama older than what they need; this is the one whose dialect is followed.
 */
#define OLLAMA_VERSION "0.9.0"

static void models_put_time(const struct conn *conn, struct jout *j)
{
    const time_t time = conn->g->started_s;
    char text[32];
    struct tm tm;

    gmtime_r(&time, &tm);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
    jout_text(j, "modified_at", text, (size_t)-1);
}

static void models_put_details(const qwend_status_info *status, struct jout *j)
{
    char size[32];

    snprintf(size, sizeof(size), "%.1fB", (double)status->n_params / 1e9);
    jout_open(j, "details", '{');
    jout_text(j, "parent_model", "", 0);
    jout_text(j, "format", "gguf", 4);
    jout_text(j, "family", "qwen35", 6);
    jout_open(j, "families", '[');
    jout_text(j, NULL, "qwen35", 6);
    jout_close(j, ']');
    jout_text(j, "parameter_size", size, (size_t)-1);
    jout_text(j, "quantization_level", status->quantisation, (size_t)-1);
    jout_close(j, '}');
}

static void models_put_list(struct conn *conn, const qwend_status_info *status, struct jout *j, bool runs)
{
    jout_open(j, NULL, '{');
    jout_open(j, "models", '[');
    if (*status->model) {
        jout_open(j, NULL, '{');
        jout_text(j, "name", status->model, (size_t)-1);
        jout_text(j, "model", status->model, (size_t)-1);
        jout_int(j, "size", (int64_t)status->file_bytes);
        jout_text(j, "digest", "", 0);
        models_put_details(status, j);
        if (runs) {
            jout_text(j, "expires_at", "9999-12-31T23:59:59Z", (size_t)-1);
            jout_int(j, "size_vram", strcmp(status->backend, "cuda") ? 0 : (int64_t)status->weights_bytes);
            jout_int(j, "context_length", status->context);
        } else {
            models_put_time(conn, j);
        }
        jout_close(j, '}');
    }
    jout_close(j, ']');
    jout_close(j, '}');
}

static bool tags_put(struct conn *conn, const qwend_event *event, struct jout *j, struct refusal *refusal)
{
    models_put_list(conn, event->status, j, false);
    return true;
}

static bool ps_put(struct conn *conn, const qwend_event *event, struct jout *j, struct refusal *refusal)
{
    models_put_list(conn, event->status, j, true);
    return true;
}

static bool show_put(struct conn *conn, const qwend_event *event, struct jout *j, struct refusal *refusal)
{
    const qwend_status_info *status = event->status;

    if (!look_is_serving(status, refusal))
        return true;
    jout_open(j, NULL, '{');
    jout_text(j, "modelfile", "", 0);
    jout_text(j, "parameters", "", 0);
    jout_text(j, "template", "", 0);
    models_put_details(status, j);
    jout_open(j, "model_info", '{');
    jout_text(j, "general.architecture", "qwen35", 6);
    jout_text(j, "general.basename", status->model, (size_t)-1);
    jout_int(j, "general.parameter_count", (int64_t)status->n_params);
    jout_int(j, "qwen35.context_length", status->context);
    jout_close(j, '}');
    jout_open(j, "capabilities", '[');
    jout_text(j, NULL, "completion", (size_t)-1);
    jout_text(j, NULL, "thinking", (size_t)-1);
    if (*conn->g->options->tools == 'c')
        jout_text(j, NULL, "tools", 5);
    jout_close(j, ']');
    models_put_time(conn, j);
    jout_close(j, '}');
    return true;
}

void ollama_tags_serve(struct conn *conn)
{
    look_status(conn, tags_put);
}

void ollama_ps_serve(struct conn *conn)
{
    look_status(conn, ps_put);
}

/* Whichever model is asked about: there is one. */
void ollama_show_serve(struct conn *conn)
{
    look_status(conn, show_put);
}

void ollama_version_serve(struct conn *conn)
{
    static const char version[] = "{\"version\":\"" OLLAMA_VERSION "\"}";

    conn_reply(conn, 200, "application/json", version, sizeof(version) - 1);
}
