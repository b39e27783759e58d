/* test_engine_keep.c - weights that outlive the engine: the next one maps them, or says why not and reads the
 * file.
 *
 * usage: test_engine_keep MODEL cpu | test_engine_keep MODEL emu TIED_MODEL
 * On emu the table of embeddings may lie apart, in main memory; only what is about that runs there. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "daemon/model/gguf.h"
#include "engine_peer.h"

static char test_model[4096];
static char model[32]; /* a copy of it, which may be changed */

enum { N_TOK = 16 };
static const int32_t some_ids[] = {14, 230, 863, 896, 687};

/* the file */

static void copy_file(const char *from, const char *to)
{
    const int in = open(from, O_RDONLY | O_CLOEXEC);
    const int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    struct stat st;
    uint8_t *bytes;

    assert_true(in >= 0 && out >= 0 && fstat(in, &st) == 0);
    bytes = malloc((size_t)st.st_size);
    assert_non_null(bytes);
    assert_int_equal(read(in, bytes, (size_t)st.st_size), st.st_size);
    assert_int_equal(write(out, bytes, (size_t)st.st_size), st.st_size);
    free(bytes);
    close(in);
    close(out);
}

/* Where the first tensor begins. */
static off_t find_tensors(const char *path)
{
    struct gguf *gguf = NULL;
    size_t n;
    const uint8_t *header, *first;

    assert_int_equal(gguf_open(path, NULL, &gguf), GGUF_OK);
    header = gguf_header(gguf, &n);
    first = gguf_tensor(gguf, 0)->data;
    for (size_t i = 0; i < gguf_n_tensors(gguf); i++)
        first = MIN(first, gguf_tensor(gguf, i)->data);
    n = (size_t)(first - header);
    gguf_free(gguf);
    return (off_t)n;
}

/* Every tensor becomes 0xff; size, inode and time stay, so by all that is compared it is the same file. */
static void spoil_tensors(const char *path)
{
    const off_t begin = find_tensors(path);
    const int fd = open(path, O_WRONLY | O_CLOEXEC);
    uint8_t junk[4096];
    struct stat st;

    memset(junk, 0xff, sizeof(junk));
    assert_true(fd >= 0 && fstat(fd, &st) == 0);
    for (off_t at = begin; at < st.st_size; at += (off_t)sizeof(junk))
        assert_true(pwrite(fd, junk, (size_t)MIN((off_t)sizeof(junk), st.st_size - at), at) > 0);
    assert_int_equal(futimens(fd, (struct timespec[]){st.st_atim, st.st_mtim}), 0);
    close(fd);
}

/* engines */

static void ask(struct peer *peer, int n_ids, int32_t *ret_ids)
{
    const struct peer_request q = {.handle = 7,
                                   .prompt = some_ids,
                                   .n_prompt = ARRAY_SIZE(some_ids),
                                   .max_tokens = n_ids,
                                   .ignore_eos = true};
    const struct peer_stream *s;

    peer_submit(peer, &q);
    s = peer_finish(peer, q.handle);
    assert_int_equal(s->n_ids, n_ids);
    memcpy(ret_ids, s->ids, (size_t)n_ids * sizeof(*ret_ids));
}

static struct peer *start_first(int32_t ret_ids[N_TOK])
{
    struct peer *peer;

    copy_file(test_model, model);
    peer = peer_start_adopting(model, "cpu", NULL, -1);
    assert_non_null(peer->ready);
    assert_false(peer->ready->weights_adopted);
    assert_non_null(peer->weights);
    assert_true(peer->weights_fd >= 0);
    assert_int_equal(peer->weights->bytes, peer->ready->weights_bytes);
    ask(peer, N_TOK, ret_ids);
    return peer;
}

/* Not taken, and said why: then the file was read, and the answer is right as well. */
static void check_loads_anew(const Qwe__Weights *weights, int fd, const char *why, const int32_t ids[N_TOK])
{
    struct peer *peer = peer_start_adopting(model, "cpu", weights, fd);
    int32_t got[N_TOK];

    assert_non_null(peer->ready);
    assert_false(peer->ready->weights_adopted);
    assert_non_null(peer->ready->note);
    if (!strstr(peer->ready->note, why))
        fail_msg("\"%s\" does not have \"%s\"", peer->ready->note, why);
    assert_int_equal(peer->n_weights_refused, 1);
    assert_true(peer->weights_fd >= 0); /* the new ones came later */
    ask(peer, N_TOK, got);
    assert_memory_equal(got, ids, sizeof(got));
    peer_free(peer);
}

static void test_keep_the_next_engine_reads_no_tensor(void **state)
{
    int32_t ids[N_TOK], got[N_TOK];
    struct peer *first = start_first(ids), *next;

    spoil_tensors(model);
    next = peer_start_adopting(model, "cpu", first->weights, first->weights_fd);
    assert_non_null(next->ready);
    assert_true(next->ready->weights_adopted);
    assert_null(next->weights);
    assert_int_equal(next->n_loading, 0);
    assert_int_equal(next->ready->model->digest.len, first->ready->model->digest.len);
    assert_memory_equal(next->ready->model->digest.data, first->ready->model->digest.data, 32);
    ask(next, N_TOK, got);
    assert_memory_equal(got, ids, sizeof(got));
    peer_free(next);
    next = peer_start_adopting(model, "cpu", NULL, -1); /* whoever does read them cannot serve */
    assert_null(next->ready);
    assert_int_equal(next->failed->code, STATUS_NUMERICS);
    peer_free(next);
    peer_free(first);
    unlink(model);
}

static void test_keep_another_file_is_loaded_anew(void **state)
{
    int32_t ids[N_TOK];
    struct peer *first = start_first(ids);

    copy_file(test_model, "keep-new.gguf");
    assert_int_equal(rename("keep-new.gguf", model), 0);
    check_loads_anew(first->weights, first->weights_fd, "the file was changed", ids);
    peer_free(first);
    unlink(model);
}

static void test_keep_another_packing_is_loaded_anew(void **state)
{
    int32_t ids[N_TOK];
    struct peer *first = start_first(ids);
    Qwe__Weights weights = *first->weights;

    weights.numerics_id = (char *)"cpu-0";
    check_loads_anew(&weights, first->weights_fd, "packed for cpu-0", ids);
    weights = *first->weights;
    weights.layout = NULL;
    check_loads_anew(&weights, first->weights_fd, "? packed them", ids);
    weights = *first->weights;
    weights.model_digest.len = 31;
    check_loads_anew(&weights, first->weights_fd, "a digest of 31 bytes", ids);
    peer_free(first);
    unlink(model);
}

/* What is mapped must be what was packed: of its size, and sealed. */
static void test_keep_memory_that_is_not_the_weights_is_loaded_anew(void **state)
{
    int32_t ids[N_TOK];
    struct peer *first = start_first(ids);
    const int fd = memfd_create("open", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    assert_int_equal(ftruncate(fd, (off_t)first->weights->bytes), 0);
    check_loads_anew(first->weights, fd, "does not hold", ids);
    assert_int_equal(ftruncate(fd, 4096), 0);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE), 0);
    check_loads_anew(first->weights, fd, "does not hold", ids);
    close(fd);
    peer_free(first);
    unlink(model);
}

/* apart: in two pieces, the table of embeddings in main memory */

static const char *tied_model;
enum { N_APART = 3 }; /* tokens: the emulation takes its time */

static struct peer *start_apart(const char *path, const char *embedding, const Qwe__Weights *weights, int fd,
                                int host_fd)
{
    Qwe__Start start = QWE__START__INIT;

    start.model_path = (char *)path;
    start.backend = "emu";
    start.embedding = (char *)embedding;
    start.has_context = start.has_slots = start.has_cache_mib = 1;
    start.context = 256;
    start.slots = 1;
    start.weights = (Qwe__Weights *)weights;
    return peer_start_any(&start, fd, weights ? weights->host_bytes : 0, host_fd);
}

static void check_ready_apart(const struct peer *peer, bool adopted)
{
    const struct weights *w = &peer->e.model->weights;

    if (!peer->ready)
        fail_msg("%s", peer->failed ? peer->failed->text : "no Ready");
    assert_int_equal(peer->ready->weights_adopted, adopted);
    assert_true(w->host.bytes > 0);
    assert_ptr_equal(w->embed.data, w->host.base);
    assert_int_equal(peer->ready->weights_host_bytes, w->host.bytes);
    assert_int_equal(peer->ready->weights_bytes, w->mem.bytes + w->host.bytes);
}

static struct peer *start_first_apart(int32_t ret_ids[N_APART])
{
    struct peer *peer;

    copy_file(test_model, model);
    peer = start_apart(model, "host", NULL, -1, -1);
    check_ready_apart(peer, false);
    assert_int_equal(peer->weights->bytes, peer->e.model->weights.mem.bytes);
    assert_int_equal(peer->weights->host_bytes, peer->e.model->weights.host.bytes);
    assert_true(peer->weights_fd >= 0 && peer->weights_host_fd >= 0);
    ask(peer, N_APART, ret_ids);
    return peer;
}

static void test_apart_both_are_taken_over(void **state)
{
    int32_t ids[N_APART], got[N_APART];
    struct peer *first, *next;

    if (!tied_model)
        skip();
    first = start_first_apart(ids);
    spoil_tensors(model);
    next = start_apart(model, "host", first->weights, first->weights_fd, first->weights_host_fd);
    check_ready_apart(next, true);
    assert_null(next->weights);
    assert_int_equal(next->n_loading, 0);
    ask(next, N_APART, got);
    assert_memory_equal(got, ids, sizeof(got));
    peer_free(next);
    /* also where it would fit on the device, unless that is what is wanted */
    next = start_apart(model, "auto", first->weights, first->weights_fd, first->weights_host_fd);
    check_ready_apart(next, true);
    peer_free(next);
    peer_free(first);
    unlink(model);
}

static void check_apart_anew(const char *embedding, const Qwe__Weights *weights, int fd, int host_fd,
                             const char *why)
{
    struct peer *peer = start_apart(model, embedding, weights, fd, host_fd);

    if (!peer->ready)
        fail_msg("%s", peer->failed ? peer->failed->text : "no Ready");
    assert_false(peer->ready->weights_adopted);
    assert_non_null(peer->ready->note);
    if (!strstr(peer->ready->note, why))
        fail_msg("\"%s\" does not have \"%s\"", peer->ready->note, why);
    assert_int_equal(peer->n_weights_refused, 1);
    assert_true(peer->weights_fd >= 0); /* the new ones came later */
    assert_int_equal(peer->weights_host_fd >= 0, !strcmp(embedding, "host"));
    peer_free(peer);
}

static void test_apart_what_is_not_both_is_loaded_anew(void **state)
{
    int32_t ids[N_APART];
    struct peer *first;
    int fd;

    if (!tied_model)
        skip();
    first = start_first_apart(ids);
    check_apart_anew("host", first->weights, first->weights_fd, -1, "the part in main memory did not come");
    check_apart_anew("host", first->weights, first->weights_host_fd, first->weights_fd,
                     "does not hold"); /* swapped */
    fd = memfd_create("short", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_int_equal(ftruncate(fd, (off_t)first->weights->host_bytes - 1), 0);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE), 0);
    check_apart_anew("host", first->weights, first->weights_fd, fd, "the kept main memory does not hold");
    close(fd);
    check_apart_anew("device", first->weights, first->weights_fd, first->weights_host_fd,
                     "their table of embeddings is to be on the device (weights take 0 MiB, or 0 with");
    peer_free(first);
    first = start_apart(model, "device", NULL, -1, -1);
    assert_non_null(first->ready);
    check_apart_anew("host", first->weights, first->weights_fd, -1,
                     "their table of embeddings is to be in main memory");
    peer_free(first);
    unlink(model);
}

static void check_apart_refused(const char *path, const char *why)
{
    struct peer *peer = start_apart(path, "host", NULL, -1, -1);

    assert_null(peer->ready);
    assert_non_null(peer->failed);
    if (!strstr(peer->failed->text, why))
        fail_msg("\"%s\" does not have \"%s\"", peer->failed->text, why);
    peer_free(peer);
}

static void test_apart_a_table_that_is_the_head_is_refused(void **state)
{
    if (!tied_model)
        skip();
    check_apart_refused(tied_model, "token_embd.weight is the head too and stays on the device");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keep_the_next_engine_reads_no_tensor),
        cmocka_unit_test(test_keep_another_file_is_loaded_anew),
        cmocka_unit_test(test_keep_another_packing_is_loaded_anew),
        cmocka_unit_test(test_keep_memory_that_is_not_the_weights_is_loaded_anew),
        cmocka_unit_test(test_apart_both_are_taken_over),
        cmocka_unit_test(test_apart_what_is_not_both_is_loaded_anew),
        cmocka_unit_test(test_apart_a_table_that_is_the_head_is_refused),
    };

    if (argc < 3 || argc > 4)
        return 2;
    snprintf(test_model, sizeof(test_model), "%s", argv[1]);
    snprintf(model, sizeof(model), "keep-%.8s.gguf", argv[2]); /* both may run at a time */
    tied_model = argv[3];
    if (tied_model)
        cmocka_set_test_filter("test_apart_*");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
