/* test_weights.c - weights.c and model.c on golden files, whole and with one directory entry patched. */
#include "daemon/model/model.h"
#include "daemon/model/state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const char *golden;

/* A golden file in memory, so that it can be broken. */
struct file {
    uint8_t *p; /* owned */
    size_t n;
};

static void file_deinit(struct file *f)
{
    free(f->p);
}

static void file_read(struct file *f, const char *name)
{
    char path[512];
    FILE *in;
    long n;

    snprintf(path, sizeof(path), "%s/models/%s", golden, name);
    in = fopen(path, "rb");
    assert_non_null(in);
    assert_int_equal(fseek(in, 0, SEEK_END), 0);
    n = ftell(in);
    rewind(in);
    f->p = malloc((size_t)n);
    assert_non_null(f->p);
    f->n = fread(f->p, 1, (size_t)n, in);
    assert_int_equal(f->n, n);
    fclose(in);
}

static bool embeds_rows; /* what the backend says of itself */
static int host_copies;
static enum weights_table table;

/* Opens the model of f on the ref backend; whatever opens is freed again. */
static int open_model(const struct file *f, struct fault *fault, void (*look)(const struct model *model))
{
    const struct kern_options options = {.backend = "ref"};
    _cleanup_(gguf_freep) struct gguf *g = NULL;
    _cleanup_(kern_freep) struct kern *kern = NULL;
    _cleanup_(model_freep) struct model *model = NULL;
    int r = gguf_open_memory(f->p, f->n, fault, &g);

    if (!r)
        r = kern_open(&options, fault, &kern);
    if (!r) {
        kern->embeds_rows = embeds_rows;
        kern->host_copies = host_copies;
    }
    if (!r)
        r = model_open(g, "dir/file.gguf", kern, table, NULL, NULL, fault, &model);
    if (!r && look)
        look(model);
    return r;
}

/* in two pieces: ref reads main memory anyway, so what a device needs it for is not missed here */

static void look_at_table_apart(const struct model *m)
{
    const struct weights *w = &m->weights;

    assert_false(w->tied);
    assert_ptr_equal(w->embed.data, w->host.base);
    assert_int_equal(w->host.bytes, w->embed.bytes);
    assert_int_equal(w->embed.layout, KERN_ROWS);
    assert_true(w->host.fd >= 0 && w->host.fd != w->mem.fd);
    assert_true(w->head.data >= w->mem.base && w->head.data < w->mem.base + w->mem.bytes);
}

static int measure(const struct file *f, struct weights_size *ret_size)
{
    const struct kern_options options = {.backend = "ref"};
    _cleanup_(gguf_freep) struct gguf *g = NULL;
    _cleanup_(kern_freep) struct kern *kern = NULL;
    struct config config;

    assert_int_equal(gguf_open_memory(f->p, f->n, NULL, &g), GGUF_OK);
    assert_int_equal(config_read(g, NULL, &config), 0);
    assert_int_equal(kern_open(&options, NULL, &kern), KERN_OK);
    kern->embeds_rows = true;
    return weights_measure(g, &config, kern, NULL, ret_size);
}

static uint64_t mem_bytes, host_bytes;

static void look_at_bytes(const struct model *m)
{
    mem_bytes = m->weights.mem.bytes;
    host_bytes = m->weights.host.bytes;
}

static void test_a_table_may_lie_apart(void **state _unused_)
{
    _cleanup_(file_deinit) struct file f = {0};
    struct weights_size size;
    struct fault fault = {0};

    file_read(&f, "d2-f32/d2-f32-F32.gguf");
    embeds_rows = true;
    assert_int_equal(measure(&f, &size), 0);
    assert_int_equal(open_model(&f, &fault, look_at_bytes), MODEL_OK);
    assert_int_equal(mem_bytes, size.all_bytes);
    assert_int_equal(host_bytes, 0);
    table = WEIGHTS_TABLE_HOST;
    assert_int_equal(open_model(&f, &fault, NULL), MODEL_E_HOST); /* not a backend that has use for it */
    assert_string_equal(fault.text, "no main memory for 0 MiB of embeddings that the ref backend reads: "
                                    "Operation not supported");
    host_copies = 1;
    assert_int_equal(open_model(&f, &fault, look_at_table_apart), MODEL_OK);
    assert_int_equal(open_model(&f, &fault, look_at_bytes), MODEL_OK);
    assert_int_equal(mem_bytes, size.rest_bytes);
    assert_int_equal(host_bytes, size.table_bytes);
    table = WEIGHTS_TABLE_WITH_ALL;
    host_copies = 0;
    embeds_rows = false;
}

static void test_a_table_that_is_the_head_stays(void **state _unused_)
{
    _cleanup_(file_deinit) struct file f = {0};
    struct weights_size size;
    struct fault fault = {0};

    file_read(&f, "d1-k256/d1-k256-Q4_K_M.gguf");
    assert_int_equal(measure(&f, &size), 0);
    assert_int_equal(size.table_bytes, 0);
    assert_int_equal(size.all_bytes, size.rest_bytes);
    embeds_rows = true;
    host_copies = 1;
    table = WEIGHTS_TABLE_HOST;
    assert_int_equal(open_model(&f, &fault, NULL), MODEL_E_HOST);
    assert_string_equal(fault.text, "token_embd.weight is the head too and stays with the other weights");
    table = WEIGHTS_TABLE_WITH_ALL;
    host_copies = 0;
    embeds_rows = false;
}

/* good */
static void look_at_d1(const struct model *m)
{
    assert_string_equal(m->name, "Hf D1 K256");
    assert_string_equal(m->file, "file.gguf");
    assert_string_equal(m->weights.types, "Q4_K+Q6_K+F32");
    assert_int_equal(m->weights.n_params, 2112088);
    assert_int_equal(m->weights.file_bytes, 1361888);
    assert_true(m->weights.tied);
    assert_ptr_equal(m->weights.embed.data, m->weights.head.data); /* one copy */
    assert_int_equal(m->weights.layers[3].is_attn, 1);
    assert_int_equal(m->weights.layers[2].i_kind, 2);
    assert_int_equal(m->weights.layers[3].attn.q.n_out, 512);
}

static void test_open_describes_the_model(void **state _unused_)
{
    _cleanup_(file_deinit) struct file f = {0};
    struct fault fault = {0};

    file_read(&f, "d1-k256/d1-k256-Q4_K_M.gguf");
    assert_int_equal(open_model(&f, &fault, look_at_d1), MODEL_OK);
}

static void look_at_d1_twice(const struct model *m)
{
    assert_true(m->weights.tied);
    assert_int_equal(m->weights.embed.layout, KERN_ROWS);
    assert_int_equal(m->weights.head.layout, KERN_PANELS);
    assert_ptr_not_equal(m->weights.embed.data, m->weights.head.data);
    assert_memory_equal(m->weights.embed.data, m->weights.head.data,
                        m->weights.embed.bytes); /* ref packs nothing */
    assert_int_equal(m->weights.n_params, 2112088);
    assert_int_equal(m->weights.file_bytes, 1361888);
}

static void test_tied_table_is_kept_twice_for_a_backend_that_gathers_rows(void **state _unused_)
{
    _cleanup_(file_deinit) struct file f = {0};

    file_read(&f, "d1-k256/d1-k256-Q4_K_M.gguf");
    embeds_rows = true;
    int r = open_model(&f, NULL, look_at_d1_twice);
    embeds_rows = false;
    assert_int_equal(r, MODEL_OK);
}

static void look_at_d2(const struct model *m)
{
    assert_false(m->weights.tied);
    assert_int_equal(m->weights.embed.layout, KERN_ROWS);
    assert_ptr_not_equal(m->weights.embed.data, m->weights.head.data);
}

static void test_untied_output_is_its_own_matrix(void **state _unused_)
{
    _cleanup_(file_deinit) struct file f = {0};

    file_read(&f, "d2-f32/d2-f32-F32.gguf");
    assert_int_equal(open_model(&f, NULL, look_at_d2), MODEL_OK);
}

static void look_at_d3(const struct model *m)
{
    assert_int_equal(m->config.n_mtp, 1);
    assert_int_equal(m->config.n_layers, 4);
    assert_int_equal(m->weights.n_params,
                     2571404); /* without the draft block's 854 k: they are checked, not loaded */
}

static void test_draft_block_is_checked_but_not_loaded(void **state _unused_)
{
    _cleanup_(file_deinit) struct file f = {0};
    struct fault fault = {0};
    char *at;

    file_read(&f, "d3-mtp/d3-mtp-Q4_K_M.gguf");
    assert_int_equal(open_model(&f, &fault, look_at_d3), MODEL_OK);
    at = memmem(f.p, f.n, "blk.4.nextn.enorm.weight", 24);
    assert_non_null(at);
    at[12] = 'X';
    assert_int_equal(open_model(&f, &fault, NULL), MODEL_E_TENSOR);
    assert_string_equal(fault.text, "blk.4.nextn.enorm.weight is missing");
}

static void test_unknown_tensors_are_ignored(void **state _unused_)
{
    _cleanup_(file_deinit) struct file f = {0};
    char *at;

    /* the draft's norms become unknown tensors, its block's count is taken away: a model without a draft is
     * left */
    file_read(&f, "d3-mtp/d3-mtp-Q4_K_M.gguf");
    at = memmem(f.p, f.n, "qwen35.nextn_predict_layers", 27);
    at[27 + 4] = 0;
    at = memmem(f.p, f.n, "qwen35.block_count", 18);
    at[18 + 4] = 4;
    assert_int_equal(open_model(&f, NULL, NULL), MODEL_OK);
}

/* broken */
static const struct {
    const char *tensor;
    int delta, width; /* after the name: u32 n_dims, u64 ne[n_dims], u32 type, u64 offset */
    uint64_t value;
    const char *text;
} patches[] = {
    {"blk.3.attn_q.weight", -1, 1, '_', "blk.3.attn_q.weight is missing"},
    {"output_norm.weight", -1, 1, '_', "output_norm.weight is missing"},
    {"blk.0.ssm_dt.bias", -1, 1, '_', "blk.0.ssm_dt.bias is missing"},
    {"blk.3.attn_q.weight", 12, 8, 256, "blk.3.attn_q.weight is [256, 256], should be [256, 512]"},
    {"blk.0.attn_qkv.weight", 12, 8, 511, "blk.0.attn_qkv.weight is [256, 511], should be [256, 512]"},
    {"blk.1.ssm_conv1d.weight", 4, 8, 3, "blk.1.ssm_conv1d.weight is [3, 512], should be [4, 512]"},
    {"blk.0.ssm_a", 4, 8, 3, "blk.0.ssm_a is [3], should be [4]"},
    {"blk.2.ffn_down.weight", 20, 4, 10, "blk.2.ffn_down.weight is Q2_K, a type that cannot be loaded"},
    {"blk.0.ssm_norm.weight", 12, 4, QUANT_F16, "blk.0.ssm_norm.weight is F16, should be F32"},
    {"blk.1.ssm_conv1d.weight", 20, 4, QUANT_BF16, "blk.1.ssm_conv1d.weight is BF16, should be F32"},
};

static void test_each_wrong_tensor_is_refused_by_name(void **state _unused_)
{
    for (size_t i = 0; i < ARRAY_SIZE(patches); i++) {
        _cleanup_(file_deinit) struct file f = {0};
        struct fault fault = {0};
        size_t n = strlen(patches[i].tensor);
        uint8_t *at;

        file_read(&f, "d1-k256/d1-k256-Q4_K_M.gguf");
        at = memmem(f.p, f.n, patches[i].tensor, n);
        assert_non_null(at);
        memcpy(at + n + patches[i].delta, &patches[i].value, (size_t)patches[i].width);
        int r = open_model(&f, &fault, NULL);
        assert_string_equal(fault.text, patches[i].text);
        assert_int_equal(r, MODEL_E_TENSOR);
    }
}

/* identity */
static uint8_t seen_digest[32];

static void look_at_digest(const struct model *m)
{
    memcpy(seen_digest, m->digest, sizeof(seen_digest));
}

static void test_digest_tells_fine_tunes_apart(void **state _unused_)
{
    _cleanup_(file_deinit) struct file f = {0};
    _cleanup_(gguf_freep) struct gguf *g = NULL;
    uint8_t first[32];
    const struct gguf_tensor *t;

    file_read(&f, "d1-k256/d1-k256-Q4_K_M.gguf");
    assert_int_equal(open_model(&f, NULL, look_at_digest), MODEL_OK);
    memcpy(first, seen_digest, sizeof(first));
    assert_int_equal(open_model(&f, NULL, look_at_digest), MODEL_OK);
    assert_memory_equal(first, seen_digest, sizeof(first));
    assert_int_equal(gguf_open_memory(f.p, f.n, NULL, &g), GGUF_OK);
    t = gguf_find_tensor(g, "blk.1.ffn_up.weight");
    f.p[t->data - f.p + 100] ^= 1; /* the header stays */
    assert_int_equal(open_model(&f, NULL, look_at_digest), MODEL_OK);
    assert_memory_not_equal(first, seen_digest, sizeof(first));
}

/* progress */
struct progress {
    uint64_t last, all;
    int n;
};

static void on_progress(void *user, uint64_t done, uint64_t all)
{
    struct progress *p = user;

    assert_true(done > p->last && done <= all);
    p->last = done;
    p->all = all;
    p->n++;
}

static void test_progress_rises_to_all(void **state _unused_)
{
    const struct kern_options options = {.backend = "ref"};
    _cleanup_(file_deinit) struct file f = {0};
    _cleanup_(gguf_freep) struct gguf *g = NULL;
    _cleanup_(kern_freep) struct kern *kern = NULL;
    _cleanup_(model_freep) struct model *model = NULL;
    struct progress p = {0};

    file_read(&f, "d1-k256/d1-k256-Q4_K_M.gguf");
    assert_int_equal(gguf_open_memory(f.p, f.n, NULL, &g), GGUF_OK);
    assert_int_equal(kern_open(&options, NULL, &kern), KERN_OK);
    assert_int_equal(model_open(g, "x", kern, WEIGHTS_TABLE_WITH_ALL, on_progress, &p, NULL, &model),
                     MODEL_OK);
    assert_int_equal(p.last, p.all);
    assert_int_equal(p.all, 1361888);
    assert_int_equal(p.n, gguf_n_tensors(g));
}

/* from a file that is not in memory */
static int on_disk(const struct file *f, char *path)
{
    const int fd = mkstemp(path);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, f->p, f->n), f->n);
    return fd;
}

static void test_a_file_gives_the_bytes_that_memory_gives(void **state _unused_)
{
    const struct kern_options options = {.backend = "cpu", .n_threads = 2};
    char path[] = "test_weights.XXXXXX";
    _cleanup_(file_deinit) struct file f = {0};
    _cleanup_(gguf_freep) struct gguf *g = NULL, *on_file = NULL;
    _cleanup_(kern_freep) struct kern *kern = NULL;
    _cleanup_(model_freep) struct model *model = NULL, *other = NULL;

    file_read(&f, "d1-k256/d1-k256-Q4_K_M.gguf");
    close(on_disk(&f, path));
    assert_int_equal(gguf_open_memory(f.p, f.n, NULL, &g), GGUF_OK);
    assert_int_equal(gguf_open(path, NULL, &on_file), GGUF_OK);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(kern_open(&options, NULL, &kern), KERN_OK);
    assert_int_equal(model_open(g, "x", kern, WEIGHTS_TABLE_WITH_ALL, NULL, NULL, NULL, &model), MODEL_OK);
    assert_int_equal(model_open(on_file, "x", kern, WEIGHTS_TABLE_WITH_ALL, NULL, NULL, NULL, &other),
                     MODEL_OK);
    assert_memory_equal(model->digest, other->digest, sizeof(model->digest));
    assert_int_equal(model->weights.mem.bytes, other->weights.mem.bytes);
    assert_memory_equal(model->weights.mem.base, other->weights.mem.base, model->weights.mem.bytes);
}

static void test_a_file_that_became_shorter_is_no_model(void **state _unused_)
{
    const struct kern_options options = {.backend = "cpu", .n_threads = 2};
    _cleanup_(file_deinit) struct file f = {0};

    file_read(&f, "d1-k256/d1-k256-Q4_K_M.gguf");
    for (int i = 0; i < 2; i++) { /* within what the digest wants; the last byte */
        char path[] = "test_weights.XXXXXX";
        _cleanup_(closep) int fd = on_disk(&f, path);
        _cleanup_(gguf_freep) struct gguf *g = NULL;
        _cleanup_(kern_freep) struct kern *kern = NULL;
        struct fault fault = {0};
        struct model *model = NULL;
        const char *name, *why = " of the file: the file has become shorter";

        assert_int_equal(gguf_open(path, NULL, &g), GGUF_OK);
        assert_int_equal(unlink(path), 0);
        assert_int_equal(ftruncate(fd, (off_t)(i ? f.n - 1 : f.n / 2)), 0);
        assert_int_equal(kern_open(&options, NULL, &kern), KERN_OK);
        assert_int_equal(model_open(g, "x", kern, WEIGHTS_TABLE_WITH_ALL, NULL, NULL, &fault, &model),
                         MODEL_E_READ);
        name = strstr(fault.text, " cannot be read, at byte ");
        assert_non_null(name);
        assert_string_equal(fault.text + strlen(fault.text) - strlen(why), why);
    }
}

/* The last bytes are written again, while they are read or before. */
static void on_progress_write(void *user, uint64_t done _unused_, uint64_t all _unused_)
{
    const int fd = *(const int *)user;
    const uint8_t zeros[16] = {0};
    const off_t end = lseek(fd, 0, SEEK_END);

    assert_int_equal(pwrite(fd, zeros, sizeof(zeros), end - (off_t)sizeof(zeros)), sizeof(zeros));
}

static void test_a_file_that_is_written_to_meanwhile_is_no_model(void **state _unused_)
{
    const struct kern_options options = {.backend = "cpu", .n_threads = 2};
    char path[] = "test_weights.XXXXXX";
    _cleanup_(file_deinit) struct file f = {0};
    _cleanup_(closep) int fd = -1;
    _cleanup_(gguf_freep) struct gguf *g = NULL;
    _cleanup_(kern_freep) struct kern *kern = NULL;
    struct fault fault = {0};
    struct model *model = NULL;

    file_read(&f, "d1-k256/d1-k256-Q4_K_M.gguf");
    fd = on_disk(&f, path);
    assert_int_equal(gguf_open(path, NULL, &g), GGUF_OK);
    assert_int_equal(unlink(path), 0);
    assert_false(gguf_has_changed(g));
    assert_int_equal(kern_open(&options, NULL, &kern), KERN_OK);
    assert_int_equal(model_open(g, "x", kern, WEIGHTS_TABLE_WITH_ALL, on_progress_write, &fd, &fault, &model),
                     MODEL_E_READ);
    assert_string_equal(fault.text, "the file was written to while it was read");
}

/* sizes */
static void test_state_refuses_what_cannot_be(void **state _unused_)
{
    static const struct {
        struct state_size size;
        const char *text;
    } cases[] = {
        {{.n_slots = 0, .max_ctx = 8, .max_tok = 8}, "0 slots, should be 1 to 4096"},
        {{.n_slots = 1, .n_ckpts = 4097, .max_ctx = 8, .max_tok = 8},
         "4097 checkpoints, should be 0 to 4096"},
        {{.n_slots = 1, .max_ctx = 0, .max_tok = 8},
         "context of 0 tokens, should be 1 to 262144 (qwen35.context_length)"},
        {{.n_slots = 1, .max_ctx = 262145, .max_tok = 8},
         "context of 262145 tokens, should be 1 to 262144 (qwen35.context_length)"},
        {{.n_slots = 1, .max_ctx = 8, .max_tok = 0}, "steps of 0 rows, should be 1 to 65536"},
        {{.n_slots = 1, .max_ctx = 8, .max_tok = 8, .max_rows = 9}, "9 logit rows a step, should be 0 to 8"},
        {{.n_slots = 1, .max_ctx = 8, .max_tok = 8, .n_pages = -1},
         "-1 KV pages for 1 slots of 8 tokens: out of range"},
    };
    const struct kern_options options = {.backend = "ref"};
    _cleanup_(file_deinit) struct file f = {0};
    _cleanup_(gguf_freep) struct gguf *g = NULL;
    _cleanup_(kern_freep) struct kern *kern = NULL;
    _cleanup_(model_freep) struct model *model = NULL;
    struct fault fault = {0};
    struct state *s = NULL;

    file_read(&f, "d1-k256/d1-k256-Q4_K_M.gguf");
    assert_int_equal(gguf_open_memory(f.p, f.n, NULL, &g), GGUF_OK);
    assert_int_equal(kern_open(&options, NULL, &kern), KERN_OK);
    assert_int_equal(model_open(g, "x", kern, WEIGHTS_TABLE_WITH_ALL, NULL, NULL, NULL, &model), MODEL_OK);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(state_new(model, &cases[i].size, &fault, &s), MODEL_E_STATE);
        assert_string_equal(fault.text, cases[i].text);
        assert_null(s);
    }
}

/* The figure that a context is chosen by is what the backend then takes, within the 2 % of the header. */
static void test_state_bytes_is_what_state_new_takes(void **state _unused_)
{
    const struct kern_options options = {.backend = "cpu"};
    const struct state_size size = {.n_slots = 2,
                                    .n_ckpts = 1,
                                    .max_ctx = 1000,
                                    .max_tok = 64,
                                    .max_rows = 3,
                                    .n_pages = 48,
                                    .kv_type = KERN_KV_F16};
    _cleanup_(file_deinit) struct file f = {0};
    _cleanup_(gguf_freep) struct gguf *g = NULL;
    _cleanup_(kern_freep) struct kern *kern = NULL;
    _cleanup_(model_freep) struct model *model = NULL;
    _cleanup_(state_freep) struct state *s = NULL;
    uint64_t expected, taken;

    file_read(&f, "d1-k256/d1-k256-Q4_K_M.gguf");
    assert_int_equal(gguf_open_memory(f.p, f.n, NULL, &g), GGUF_OK);
    assert_int_equal(kern_open(&options, NULL, &kern), KERN_OK);
    assert_int_equal(model_open(g, "x", kern, WEIGHTS_TABLE_WITH_ALL, NULL, NULL, NULL, &model), MODEL_OK);
    expected = state_bytes(model, &size);
    assert_int_equal(state_new(model, &size, NULL, &s), MODEL_OK);
    assert_int_equal(state_n_pages(s), 48);
    taken = 48 * kern->ops->kv_page_bytes(kern) + 3 * 3 * kern->ops->delta_state_bytes(kern) +
            (expected - 48 * 64 * 2 * 128 * 2 -
             3 * 3 * (4 * 64 * 64 + 3 * 512) * 4); /* activations: ours, exact */
    assert_in_range(taken, expected, expected + expected / 50);
}

static void fill(uint8_t *base, size_t n, uint8_t value)
{
    memset(base, value, n);
}

static bool is_all(const uint8_t *base, size_t n, uint8_t value)
{
    for (size_t i = 0; i < n; i++)
        if (base[i] != value)
            return false;
    return true;
}

/* Slots 0 and 1, checkpoints 0 and 1 behind them; pages 0 to 2: each layer's, and nobody else's. */
static void test_state_copies_one_slot_or_page_of_all_layers(void **state _unused_)
{
    const struct kern_options options = {.backend = "cpu"};
    const struct state_size size = {.n_slots = 2, .n_ckpts = 2, .max_ctx = 64, .max_tok = 8, .n_pages = 3};
    _cleanup_(file_deinit) struct file f = {0};
    _cleanup_(gguf_freep) struct gguf *g = NULL;
    _cleanup_(kern_freep) struct kern *kern = NULL;
    _cleanup_(model_freep) struct model *model = NULL;
    _cleanup_(state_freep) struct state *s = NULL;

    file_read(&f, "d1-k256/d1-k256-Q4_K_M.gguf");
    assert_int_equal(gguf_open_memory(f.p, f.n, NULL, &g), GGUF_OK);
    assert_int_equal(kern_open(&options, NULL, &kern), KERN_OK);
    assert_int_equal(model_open(g, "x", kern, WEIGHTS_TABLE_WITH_ALL, NULL, NULL, NULL, &model), MODEL_OK);
    assert_int_equal(state_new(model, &size, NULL, &s), MODEL_OK);
    for (int i = 0; i < model->config.n_delta; i++)
        fill(state_delta(s, i) + s->slot_bytes, s->slot_bytes, (uint8_t)(i + 1)); /* slot 1 */
    for (int i = 0; i < model->config.n_attn; i++)
        fill(state_kv(s, i) + 2 * s->page_bytes, s->page_bytes, (uint8_t)(i + 100)); /* page 2 */
    assert_int_equal(state_save(s, 1, 1), 0);
    assert_int_equal(state_clear_slot(s, 1), 0);
    assert_int_equal(state_load(s, 0, 1), 0);
    assert_int_equal(state_copy_page(s, 0, 2), 0);
    for (int i = 0; i < model->config.n_delta; i++)
        for (int slot = 0; slot < 4; slot++)
            assert_true(is_all(state_delta(s, i) + (size_t)slot * s->slot_bytes, s->slot_bytes,
                               slot == 0 || slot == 3 ? (uint8_t)(i + 1) : 0));
    for (int i = 0; i < model->config.n_attn; i++)
        for (int page = 0; page < 3; page++)
            assert_true(is_all(state_kv(s, i) + (size_t)page * s->page_bytes, s->page_bytes,
                               page != 1 ? (uint8_t)(i + 100) : 0));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_table_may_lie_apart),
        cmocka_unit_test(test_a_table_that_is_the_head_stays),
        cmocka_unit_test(test_open_describes_the_model),
        cmocka_unit_test(test_untied_output_is_its_own_matrix),
        cmocka_unit_test(test_tied_table_is_kept_twice_for_a_backend_that_gathers_rows),
        cmocka_unit_test(test_draft_block_is_checked_but_not_loaded),
        cmocka_unit_test(test_unknown_tensors_are_ignored),
        cmocka_unit_test(test_each_wrong_tensor_is_refused_by_name),
        cmocka_unit_test(test_digest_tells_fine_tunes_apart),
        cmocka_unit_test(test_progress_rises_to_all),
        cmocka_unit_test(test_a_file_gives_the_bytes_that_memory_gives),
        cmocka_unit_test(test_a_file_that_became_shorter_is_no_model),
        cmocka_unit_test(test_a_file_that_is_written_to_meanwhile_is_no_model),
        cmocka_unit_test(test_state_refuses_what_cannot_be),
        cmocka_unit_test(test_state_bytes_is_what_state_new_takes),
        cmocka_unit_test(test_state_copies_one_slot_or_page_of_all_layers),
    };

    if (argc != 2)
        return 2;
    golden = argv[1];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
