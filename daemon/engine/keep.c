/* keep.c - the identity of packed weights.  See keep.h. */
#include "keep.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "proto/sha256.h"

/* Another build may lay the weights out differently; that the program file is the same one is easily told. */
static int keep_layout(const struct kern *kern, char *text, size_t n)
{
    struct stat st;

    if (stat("/proc/self/exe", &st) < 0)
        return err_errno();
    snprintf(text, n, "%s/%s/" QWEND_VERSION "/%" PRIu64 ".%" PRIu64 ".%" PRIu64, kern->ops->name, kern->isa,
             (uint64_t)st.st_ino, (uint64_t)st.st_size,
             (uint64_t)st.st_mtim.tv_sec * 1000000000u + (uint64_t)st.st_mtim.tv_nsec);
    return 0;
}

static void keep_hash_header(const struct gguf *gguf, uint8_t ret_digest[32])
{
    struct sha256 sha;
    size_t n = 0;
    const uint8_t *header = gguf_header(gguf, &n);

    sha256_init(&sha);
    sha256_put(&sha, header, n);
    sha256_end(&sha, ret_digest);
}

int keep_describe(const struct gguf *gguf, const char *path, const struct kern *kern, struct keep *keep)
{
    const struct gguf_file_id id = gguf_file_id(gguf);
    Qwe__Weights *msg = &keep->msg;
    int r = keep_layout(kern, keep->layout, sizeof(keep->layout));

    if (r)
        return r;
    keep_hash_header(gguf, keep->header_digest);
    qwe__weights__init(msg);
    msg->model_path = (char *)path;
    msg->has_device = msg->has_inode = msg->has_file_bytes = msg->has_mtime_ns = 1;
    msg->device = id.device;
    msg->inode = id.inode;
    msg->file_bytes = id.bytes;
    msg->mtime_ns = id.mtime_ns;
    msg->has_header_digest = 1;
    msg->header_digest =
        (ProtobufCBinaryData){.data = keep->header_digest, .len = sizeof(keep->header_digest)};
    msg->numerics_id = (char *)kern->numerics_id;
    msg->layout = keep->layout;
    return 0;
}

bool keep_is_of(const Qwe__Weights *kept, const struct kern *kern)
{
    const size_t n = strlen(kern->ops->name);

    return kept->layout && !strncmp(kept->layout, kern->ops->name, n) && kept->layout[n] == '/';
}

static bool keep_is_same_text(const char *a, const char *b)
{
    return a && b && !strcmp(a, b);
}

static bool keep_is_same_file(const Qwe__Weights *a, const Qwe__Weights *b)
{
    return a->device == b->device && a->inode == b->inode && a->file_bytes == b->file_bytes &&
           a->mtime_ns == b->mtime_ns && a->header_digest.len == b->header_digest.len &&
           !memcmp(a->header_digest.data, b->header_digest.data, b->header_digest.len);
}

static int keep_differs_in_file(const Qwe__Weights *kept, const Qwe__Weights *here, struct fault *fault)
{
    return fault_set(fault, KEEP_E_DIFFERS,
                     "the file was changed: the weights are those of %.120s (inode %" PRIu64 ", %" PRIu64
                     " bytes, time %" PRIu64 "), now it is %.120s (inode %" PRIu64 ", %" PRIu64
                     " bytes, time %" PRIu64 ")",
                     kept->model_path ? kept->model_path : "?", kept->inode, kept->file_bytes, kept->mtime_ns,
                     here->model_path, here->inode, here->file_bytes, here->mtime_ns);
}

int keep_compare(const Qwe__Weights *kept, const struct keep *here, struct fault *fault)
{
    const Qwe__Weights *msg = &here->msg;

    if (!keep_is_same_file(kept, msg))
        return keep_differs_in_file(kept, msg, fault);
    if (!keep_is_same_text(kept->numerics_id, msg->numerics_id))
        return fault_set(fault, KEEP_E_DIFFERS, "they were packed for %.60s, this engine computes as %.60s",
                         kept->numerics_id ? kept->numerics_id : "?", msg->numerics_id);
    if (!keep_is_same_text(kept->layout, msg->layout))
        return fault_set(fault, KEEP_E_DIFFERS, "%.128s packed them, this engine is %.128s",
                         kept->layout ? kept->layout : "?", msg->layout);
    if (kept->model_digest.len != sizeof(here->header_digest))
        return fault_set(fault, KEEP_E_DIFFERS, "they came with a digest of %zu bytes",
                         kept->model_digest.len);
    return KEEP_OK;
}
