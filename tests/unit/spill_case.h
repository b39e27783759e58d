/* spill_case.h - engines over one cache folder, for tests of what outlives them. */
#pragma once

#include "engine_peer.h"
#include "engine_watch.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char test_golden[4096], test_root[64], test_folder[128];

enum { CONTEXT = 1024, LONG_CONTEXT = 8192, SLOTS = 4, CACHE_MIB = 64, N_VOCAB = 1024 };

/* the folder */

static inline int n_files(void)
{
    DIR *dir = opendir(test_folder);
    int n = 0;

    for (struct dirent *entry; dir && (entry = readdir(dir));)
        n += entry->d_name[0] != '.';
    if (dir)
        closedir(dir);
    return n;
}

static inline const char *file_path(uint32_t uid, uint64_t id)
{
    static char paths[2][256]; /* for two in one call */
    static int i;

    i = !i;
    snprintf(paths[i], sizeof(paths[i]), "%s/%u-%llu", test_folder, uid, (unsigned long long)id);
    return paths[i];
}

static inline off_t file_size(uint32_t uid, uint64_t id)
{
    struct stat st;

    return stat(file_path(uid, id), &st) < 0 ? -1 : st.st_size;
}

static inline void clear_folder(void)
{
    char command[200];

    snprintf(command, sizeof(command), "rm -rf %s", test_folder);
    assert_int_equal(system(command), 0);
}

static inline void flip_byte(const char *path, off_t at)
{
    const int fd = open(path, O_RDWR);
    uint8_t byte;

    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

/* engines and requests */

static inline Qwe__Start start_message(const char *folder)
{
    static char model[4200];
    Qwe__Start start = QWE__START__INIT;

    snprintf(model, sizeof(model), "%s/models/d1-k256/d1-k256-Q4_K_M.gguf", test_golden);
    start.model_path = model;
    start.backend = "cpu";
    start.kv_type = "f16";
    start.has_context = start.has_slots = start.has_threads = start.has_cache_mib = 1;
    start.context = CONTEXT;
    start.slots = SLOTS;
    start.threads = 1;
    start.cache_mib = CACHE_MIB;
    start.cache_dir = (char *)folder;
    return start;
}

static inline struct peer *start(void)
{
    const Qwe__Start message = start_message(test_folder);

    return peer_start_with(&message);
}

static inline void stop(struct peer *peer)
{
    engine_disk_stop(&peer->e); /* as at the end of engine_run() */
    peer_free(peer);
}

static inline void fill_ids(int32_t *ids, int n, uint32_t seed)
{
    for (int i = 0; i < n; i++)
        ids[i] = (int32_t)(100 + ((seed * 7919 + (uint32_t)i) * 2654435761u >> 8) % 700);
}

static inline struct peer_request ids_request(const int32_t *ids, int n)
{
    return (struct peer_request){
        .prompt = ids, .n_prompt = n, .max_tokens = 12, .uid = 1000, .logprobs = 1 + 3, .ignore_eos = true};
}

static inline const struct peer_stream *run(struct peer *peer, struct peer_request q, uint32_t handle)
{
    q.handle = handle;
    peer_submit(peer, &q);
    return peer_finish(peer, handle);
}

static inline struct peer_stream *run_without(struct peer_request q, const Qwe__Start *like)
{
    struct peer_stream *copy = malloc(sizeof(*copy));
    Qwe__Start message = *like;
    struct peer *peer;

    assert_non_null(copy);
    message.cache_dir = NULL;
    message.cache_mib = 0;
    peer = peer_start_with(&message);
    *copy = *run(peer, q, 1);
    peer_free(peer);
    return copy;
}

static inline void check_same(const struct peer_stream *got, const struct peer_stream *want)
{
    assert_false(got->refused || want->refused);
    assert_int_equal(got->n_ids, want->n_ids);
    assert_memory_equal(got->ids, want->ids, sizeof(*got->ids) * (size_t)want->n_ids);
    assert_int_equal(got->n_logprobs, want->n_logprobs);
    assert_memory_equal(got->logprobs, want->logprobs, sizeof(float) * (size_t)want->n_logprobs);
    assert_int_equal(got->prompt_tokens, want->prompt_tokens);
}

/* Fills the folder with one request's checkpoints. */
static inline void leave(const int32_t *ids, int n, uint32_t uid)
{
    struct peer *peer = start();
    struct peer_request q = ids_request(ids, n);

    q.uid = uid;
    run(peer, q, 1);
    stop(peer);
}

/* What an engine of its own makes of the folder: how much is cached; the answer is always the same. */
static inline uint32_t cached_of(const int32_t *ids, int n, uint32_t uid)
{
    const Qwe__Start message = start_message(test_folder);
    struct peer_request q = ids_request(ids, n);
    struct peer_stream *want = run_without(q, &message);
    struct peer *peer = start();
    uint32_t cached;

    q.uid = uid;
    check_same(run(peer, q, 1), want);
    cached = peer_stream(peer, 1)->cached_tokens;
    free(want);
    peer_free(peer);
    return cached;
}

static inline int setup(void **state)
{
    clear_folder();
    return 0;
}

/* Of main(): argv[1] is the golden folder, argv[2] the only test to run. */
static inline int spill_case_main(int argc, char **argv, int (*all_tests)(void))
{
    char command[100];
    int r;

    if (argc < 2)
        return 2;
    snprintf(test_golden, sizeof(test_golden), "%s", argv[1]);
    snprintf(test_root, sizeof(test_root), "/tmp/qwend-test-spill-XXXXXX");
    if (!mkdtemp(test_root))
        return 2;
    snprintf(test_folder, sizeof(test_folder), "%s/cache", test_root);
    if (argc > 2)
        cmocka_set_test_filter(argv[2]);
    r = all_tests();
    snprintf(command, sizeof(command), "rm -rf %s", test_root);
    return system(command) ? 1 : r;
}
