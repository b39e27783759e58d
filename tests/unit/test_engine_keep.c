/* test_engine_keep.c - weights that outlive the engine: the next one maps them, or says why not and reads the
 * file. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "daemon/model/gguf.h"
#include "engine_peer.h"

static char test_model[4096];
static const char model[] = "keep.gguf";

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

static void ask(struct peer *peer, int32_t ret_ids[N_TOK])
{
    const struct peer_request q = {.handle = 7,
                                   .prompt = some_ids,
                                   .n_prompt = ARRAY_SIZE(some_ids),
                                   .max_tokens = N_TOK,
                                   .ignore_eos = true};
    const struct peer_stream *s;

    peer_submit(peer, &q);
    s = peer_finish(peer, q.handle);
    assert_int_equal(s->n_ids, N_TOK);
    memcpy(ret_ids, s->ids, N_TOK * sizeof(*ret_ids));
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
    ask(peer, ret_ids);
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
    ask(peer, got);
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
    ask(next, got);
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

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keep_the_next_engine_reads_no_tensor),
        cmocka_unit_test(test_keep_another_file_is_loaded_anew),
        cmocka_unit_test(test_keep_another_packing_is_loaded_anew),
        cmocka_unit_test(test_keep_memory_that_is_not_the_weights_is_loaded_anew),
    };

    if (argc != 2)
        return 2;
    snprintf(test_model, sizeof(test_model), "%s/models/d1-k256/d1-k256-Q4_K_M.gguf", argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
