/* route.c - the table of paths.  See route.h. */
#include "route.h"

#include <stdio.h>
#include <string.h>

#include "anthropic.h"
#include "count.h"
#include "llama.h"
#include "metrics.h"
#include "models.h"
#include "ollama.h"
#include "openai.h"
#include "responses.h"
#include "upstream_count.h"

static void route_refuse(struct conn *conn);

static const struct route routes[] = {
    {"GET", "/health", health_serve, openai_put_error},
    {"GET", "/v1/health", health_serve, openai_put_error},
    {"GET", "/v1/models", models_serve, openai_put_error},
    {"GET", "/models", models_serve, openai_put_error},
    {"GET", "/v1/models/*", model_serve, openai_put_error},
    {"POST", "/v1/chat/completions", chat_serve, openai_put_error},
    {"POST", "/chat/completions", chat_serve, openai_put_error},
    {"POST", "/v1/chat/completions/input_tokens", count_input_serve, openai_put_error},
    {"POST", "/v1/responses", responses_serve, openai_put_error},
    {"POST", "/v1/responses/input_tokens", count_input_serve, openai_put_error},
    {"POST", "/v1/messages", messages_serve, anthropic_put_error},
    {"POST", "/v1/messages/count_tokens", count_tokens_serve, anthropic_put_error},
    {"POST", "/api/chat", ollama_chat_serve, ollama_put_error},
    {"POST", "/api/generate", ollama_generate_serve, ollama_put_error},
    {"GET", "/api/tags", ollama_tags_serve, ollama_put_error},
    {"GET", "/api/ps", ollama_ps_serve, ollama_put_error},
    {"POST", "/api/show", ollama_show_serve, ollama_put_error},
    {"GET", "/api/version", ollama_version_serve, ollama_put_error},
    {"POST", "/v1/completions", completion_serve, openai_put_error},
    {"POST", "/completion", native_serve, openai_put_error},
    {"POST", "/completions", native_serve, openai_put_error},
    {"POST", "/infill", infill_serve, openai_put_error},
    {"POST", "/tokenize", tokenize_serve, openai_put_error},
    {"POST", "/detokenize", detokenize_serve, openai_put_error},
    {"POST", "/apply-template", template_serve, openai_put_error},
    {"GET", "/upstream", upstream_serve, openai_put_error},
    {"GET", "/metrics", metrics_serve, openai_put_error},
    {"GET", "/props", props_serve, openai_put_error},
    {"POST", "/v1/embeddings", route_refuse, openai_put_error},
    {"POST", "/embedding*", route_refuse, openai_put_error},
    {"POST", "/rerank*", route_refuse, openai_put_error},
    {"POST", "/v1/rerank*", route_refuse, openai_put_error},
    {"GET", "/lora-adapters", route_refuse, openai_put_error},
    {"GET", "/slots", route_refuse, openai_put_error},
    {"POST", "/v1/images/*", route_refuse, openai_put_error},
    {"POST", "/v1/audio/*", route_refuse, openai_put_error},
    {"POST", "/api/embed*", route_refuse, ollama_put_error},
    {"POST", "/api/pull", route_refuse, ollama_put_error},
};

/* Asked for so often that 404 would only make people look for a mistake of theirs. */
static void route_refuse(struct conn *conn)
{
    struct refusal refusal;

    refuse(&refusal, 501, "unsupported_endpoint", NULL,
           "%s is not served: the model reads and writes text, and the daemon loads it", conn->route->path);
    conn_refuse(conn, &refusal);
}

static bool route_has_path(const struct route *route, const char *path)
{
    const size_t n = strlen(route->path);

    return route->path[n - 1] == '*' ? !strncmp(route->path, path, n - 1) : !strcmp(route->path, path);
}

const struct route *route_find(const char *method, const char *path, char allow[16])
{
    const char *wanted = strcmp(method, "HEAD") ? method : "GET";

    *allow = '\0';
    for (size_t i = 0; i < ARRAY_SIZE(routes); i++) {
        if (!route_has_path(&routes[i], path))
            continue;
        if (!strcmp(routes[i].method, wanted))
            return &routes[i];
        snprintf(allow, 16, "%s", routes[i].method);
    }
    return NULL;
}

void route_put_error(const struct conn *conn, const struct refusal *refusal, struct jout *j)
{
    if (conn->route)
        conn->route->put_error(refusal, j);
    else if (conn->head.path && !strncmp(conn->head.path, "/api/", 5))
        ollama_put_error(refusal, j);
    else
        openai_put_error(refusal, j);
}
