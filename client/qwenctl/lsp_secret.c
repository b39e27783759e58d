/* lsp_secret.c - names and texts that are kept from the model.  See lsp_secret.h. */
#include "lsp_secret.h"

#include <fnmatch.h>
#include <string.h>

static const char *const lsp_secret_globs[] = {
    ".env",        ".env.*",    "*.env",      "*.pem",      "*.key",
    "*.p12",       "*.pfx",     "*.jks",      "*.keystore", "*.kdbx",
    "*.gpg",       "id_rsa*",   "id_dsa*",    "id_ecdsa*",  "id_ed25519*",
    ".netrc",      "_netrc",    ".pgpass",    ".htpasswd",  ".git-credentials",
    "credentials", "*.tfstate", "*.tfvars",   "*.ovpn",     "secrets.*",
    "shadow",      "*/.ssh/*",  "*/.gnupg/*", "*/.aws/*",   "*/.kube/config",
};

void lsp_globs_deinit(struct lsp_globs *globs)
{
    for (size_t i = 0; i < globs->n; i++)
        free(globs->globs[i]);
    globs->n = 0;
}

int lsp_globs_add(struct lsp_globs *globs, const char *glob)
{
    if (globs->n == LSP_GLOBS_MAX)
        return 1;
    globs->globs[globs->n] = strdup(glob);
    if (!globs->globs[globs->n])
        return err_origin(-ENOMEM);
    globs->n++;
    return 0;
}

static bool lsp_glob_matches(const char *glob, const char *path)
{
    const char *slash = strrchr(path, '/');

    return !fnmatch(glob, !strchr(glob, '/') && slash ? slash + 1 : path, FNM_CASEFOLD);
}

bool lsp_secret_path(const struct lsp_globs *globs, const char *path)
{
    for (size_t i = 0; i < ARRAY_SIZE(lsp_secret_globs); i++)
        if (lsp_glob_matches(lsp_secret_globs[i], path))
            return true;
    for (size_t i = 0; i < globs->n; i++)
        if (lsp_glob_matches(globs->globs[i], path))
            return true;
    return false;
}

/* Followed by as many letters and digits as that kind of token has: a text that speaks of the form is none.
 */
static bool lsp_secret_token(const char *text, size_t n, const char *head, size_t n_tail)
{
    const size_t n_head = strlen(head);
    const char *p = text, *end = text + n;

    while ((p = memmem(p, (size_t)(end - p), head, n_head))) {
        size_t k = 0;

        p += n_head;
        while (k < n_tail && p + k < end &&
               strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", p[k]) && p[k])
            k++;
        if (k == n_tail)
            return true;
    }
    return false;
}

bool lsp_secret_text(const char *text, size_t n)
{
    static const struct {
        const char *head;
        size_t n_tail;
    } tokens[] = {{"AKIA", 16},   {"ghp_", 36},  {"github_pat_", 22},
                  {"glpat-", 20}, {"xoxb-", 10}, {"AIza", 35}};
    const char *key = memmem(text, n, "-----BEGIN ", 11);

    if (key && memmem(key, MIN(n - (size_t)(key - text), (size_t)64), "PRIVATE KEY", 11))
        return true;
    for (size_t i = 0; i < ARRAY_SIZE(tokens); i++)
        if (lsp_secret_token(text, n, tokens[i].head, tokens[i].n_tail))
            return true;
    return false;
}
