/* lsp_secret.h - what is never shown to a model, though it stays on this machine: a prompt may come to lie in
 * a cache's file.
 *
 * Pure. */
#pragma once

#include "proto/base.h"

enum { LSP_GLOBS_MAX = 64 };

struct lsp_globs {
    char *globs[LSP_GLOBS_MAX]; /* owned: of the client, beside those that always hold */
    size_t n;
};

void lsp_globs_deinit(struct lsp_globs *globs);
int lsp_globs_add(struct lsp_globs *globs, const char *glob); /* 0, > 0: there are too many, < 0 */
/* By its name: a glob with a slash is held against the whole path, else against its last part. */
bool lsp_secret_path(const struct lsp_globs *globs, const char *path);
bool lsp_secret_text(const char *text, size_t n); /* a private key, or a token of a known form, is in it */
