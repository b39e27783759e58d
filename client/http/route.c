/* route.c - the table of paths.  See route.h. */
#include "route.h"

#include <stdio.h>
#include <string.h>

#include "models.h"
#include "openai.h"

static const struct route routes[] = {
    {"GET", "/health", health_serve, openai_put_error},
    {"GET", "/v1/health", health_serve, openai_put_error},
    {"GET", "/v1/models", models_serve, openai_put_error},
    {"GET", "/v1/models/*", model_serve, openai_put_error},
    {"POST", "/v1/chat/completions", chat_serve, openai_put_error},
};

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
    else
        openai_put_error(refusal, j);
}
