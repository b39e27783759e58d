/* model.c - puts a model together from its file.  See model.h. */
#include "model.h"
#include "proto/sha256.h"
#include "utf8.h"

#include <stdio.h>
#include <string.h>

/* The header alone would not do: two fine-tunes of one base often differ in nothing but tensor bytes.  4 KiB
 * of each tensor tell them apart for a few hundred page reads, where the whole file takes 20 s. */
static int model_digest(const struct gguf *gguf, struct fault *fault, uint8_t ret_digest[32])
{
    enum { SAMPLE_BYTES = 4096 };
    uint8_t sample[SAMPLE_BYTES];
    struct sha256 sha;
    size_t n_header = 0;
    const uint8_t *header = gguf_header(gguf, &n_header);

    sha256_init(&sha);
    sha256_put(&sha, header, n_header);
    for (size_t i = 0; i < gguf_n_tensors(gguf); i++)
        gguf_prefetch(gguf, gguf_tensor(gguf, i), SAMPLE_BYTES);
    for (size_t i = 0; i < gguf_n_tensors(gguf); i++) {
        const struct gguf_tensor *t = gguf_tensor(gguf, i);
        const size_t n = MIN(t->bytes, sizeof(sample));
        const int r = gguf_read(gguf, t, n, sample);

        if (r < 0)
            return weights_unreadable(gguf, t, r, fault);
        sha256_put(&sha, sample, n);
    }
    sha256_end(&sha, ret_digest);
    return 0;
}

/* The name is shown and sent: plain ASCII is kept of it. */
static void model_name(const struct gguf *gguf, size_t n_text, char *text)
{
    struct gguf_str name = {0};
    size_t n;

    if (gguf_get_str(gguf, "general.name", NULL, &name))
        name.n = 0;
    n = MIN(name.n, n_text - 1);
    for (size_t i = 0; i < n; i++)
        text[i] = name.s[i] >= ' ' && name.s[i] <= '~' ? name.s[i] : '?';
    text[n] = '\0';
}

static void model_label(struct model *m, const struct gguf *gguf, const char *path)
{
    const char *slash = strrchr(path, '/');

    snprintf(m->file, sizeof(m->file), "%s", slash ? slash + 1 : path);
    m->file[utf8_valid_prefix(m->file, strlen(m->file))] = '\0'; /* the cut may go through a character */
    model_name(gguf, sizeof(m->name), m->name);
}

/* Everything but the weights. */
static int model_new(const struct gguf *gguf, const char *path, struct kern *kern, struct fault *fault,
                     struct model **ret_model)
{
    _cleanup_(model_freep) struct model *m = calloc(1, sizeof(*m));
    int r;

    if (!m)
        return err_origin(-ENOMEM);
    m->kern = kern;
    m->weights.mem.fd = m->weights.host.fd = -1;
    r = config_read(gguf, fault, &m->config);
    if (r)
        return r;
    model_label(m, gguf, path);
    m->file_bytes = gguf_file_bytes(gguf);
    *ret_model = steal(&m);
    return MODEL_OK;
}

int model_open(const struct gguf *gguf, const char *path, struct kern *kern, enum weights_table table,
               model_progress_fn progress, void *user, struct fault *fault, struct model **ret_model)
{
    _cleanup_(model_freep) struct model *m = NULL;
    int r = model_new(gguf, path, kern, fault, &m);

    if (!r)
        r = model_digest(gguf, fault, m->digest);
    if (r)
        return r;
    r = weights_load(gguf, &m->config, kern, table, progress, user, fault, &m->weights);
    if (r)
        return r;
    if (gguf_has_changed(gguf))
        return fault_set(fault, MODEL_E_READ, "the file was written to while it was read");
    *ret_model = steal(&m);
    return MODEL_OK;
}

int model_adopt(const struct gguf *gguf, const char *path, struct kern *kern, struct weights_fds fds,
                const uint8_t digest[32], struct fault *fault, struct model **ret_model)
{
    _cleanup_(model_freep) struct model *m = NULL;
    int r = model_new(gguf, path, kern, fault, &m);

    if (r) {
        closep(&fds.all);
        closep(&fds.host);
        return r;
    }
    memcpy(m->digest, digest, sizeof(m->digest));
    r = weights_adopt(gguf, &m->config, kern, fds, fault, &m->weights);
    if (r)
        return r;
    *ret_model = steal(&m);
    return MODEL_OK;
}

int model_n_huge(const struct model *m)
{
    return m->kern->ops->make_huge ? (int)(m->weights.mem.bytes / KERN_HUGE_BYTES) : 0;
}

int model_make_huge(struct model *m, int i)
{
    return m->kern->ops->make_huge(m->kern, &m->weights.mem, (size_t)i * KERN_HUGE_BYTES);
}

struct model *model_free(struct model *m)
{
    if (!m)
        return NULL;
    weights_deinit(&m->weights, m->kern);
    free(m);
    return NULL;
}
