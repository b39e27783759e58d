/* test_engine_start.c - what the engine says when it starts: of files, memory, and to a broker that goes. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "engine_peer.h"

static char test_model[4096], test_golden[4096];
static const char *test_program; /* qwend-engine */

static uint64_t fake_available_bytes; /* 0: the machine's own; put in the way by the linker */
uint64_t __real_memory_available_bytes(uint64_t held_bytes);
uint64_t __wrap_memory_available_bytes(uint64_t held_bytes);

uint64_t __wrap_memory_available_bytes(uint64_t held_bytes)
{
    return fake_available_bytes ? fake_available_bytes : __real_memory_available_bytes(held_bytes);
}

enum { CONTEXT = 512, SLOTS = 2 };

static void check_failed(const Qwe__Start *start, enum status_code code, const char *text)
{
    struct peer *peer = peer_new();

    peer_put(peer, 0, MSG_E_START, &start->base, -1);
    assert_int_equal(peer_turn(peer), ENGINE_E_ENDS);
    assert_non_null(peer->failed);
    assert_int_equal(peer->failed->code, code);
    if (!strstr(peer->failed->text, text))
        fail_msg("\"%s\" does not have \"%s\"", peer->failed->text, text);
    peer_free(peer);
}

static void write_file(const char *path, const void *bytes, size_t n)
{
    FILE *out = fopen(path, "wb");

    assert_non_null(out);
    assert_int_equal(fwrite(bytes, 1, n, out), n);
    assert_int_equal(fclose(out), 0);
}

/* Reasons of every number: those of gguf.h, kernels.h and uplink.h all begin at 1. */
static void test_engine_start_fails_with_the_reason(void **state)
{
    static const uint8_t gguf_99[24] = "GGUF\x63";
    char readme[4200];
    Qwe__Start good = QWE__START__INIT, q;

    snprintf(readme, sizeof(readme), "%s/README.md", test_golden);
    write_file("version-99.gguf", gguf_99, sizeof(gguf_99));
    write_file("short.gguf", "GGUF\3\0\0", 8);
    good.model_path = test_model;
    good.backend = "cpu";
    q = good, q.model_path = NULL, check_failed(&q, STATUS_INTERNAL, "no model was named");
    q = good, q.model_path = "/nowhere/model.gguf", check_failed(&q, STATUS_INTERNAL, "/nowhere/model.gguf");
    q = good, q.model_path = readme, check_failed(&q, STATUS_INTERNAL, "README.md: not a GGUF file");
    q = good, q.backend = "abacus", check_failed(&q, STATUS_INTERNAL, "abacus");
    q = good, q.model_path = "version-99.gguf", check_failed(&q, STATUS_INTERNAL, "GGUF version 99");
    q = good, q.model_path = "short.gguf", check_failed(&q, STATUS_INTERNAL, "the number of tensors takes 8");
    q = good, q.isa = "abacus", check_failed(&q, STATUS_INTERNAL, "instruction set \"abacus\"");
    q = good, q.has_threads = 1, q.threads = 65, check_failed(&q, STATUS_INTERNAL, "65 threads");
    q = good, q.kv_type = "f8", check_failed(&q, STATUS_INTERNAL, "kv type 'f8', should be f16, f32 or q8_0");
    q = good, q.has_slots = 1, q.slots = 65,
    check_failed(&q, STATUS_INTERNAL, "65 slots were asked for, at most 64");
    q = good, q.has_slots = 1, q.slots = UINT32_MAX,
    check_failed(&q, STATUS_INTERNAL, "4294967295 slots were asked for, at most 64");
    q = good, q.has_context = 1, q.context = 262145;
    check_failed(&q, STATUS_INTERNAL, "context 262145 was asked for, the model was trained for 262144");
    unlink("version-99.gguf");
    unlink("short.gguf");
}

static struct peer *check(const Qwe__Start *start)
{
    struct peer *peer = peer_new();
    Qwe__Check check = QWE__CHECK__INIT;

    check.start = (Qwe__Start *)start;
    check.has_held_bytes = 1;
    check.held_bytes = 1 << 20;
    peer_put(peer, 0, MSG_E_CHECK, &check.base, -1);
    assert_int_equal(peer_turn(peer), ENGINE_E_ENDS);
    assert_null(peer->ready);
    return peer;
}

static void check_unfit(const Qwe__Start *start, const char *text)
{
    struct peer *peer = check(start);

    assert_non_null(peer->failed);
    assert_null(peer->checked);
    assert_int_equal(peer->failed->code, STATUS_INVALID);
    if (!strstr(peer->failed->text, text))
        fail_msg("\"%s\" does not have \"%s\"", peer->failed->text, text);
    peer_free(peer);
}

/* What Start would fail with, for a look at the file alone. */
static void test_engine_check_fails_with_the_reason(void **state)
{
    char path[4200];
    Qwe__Start good = QWE__START__INIT, q;

    good.model_path = test_model;
    q = good, q.model_path = NULL, check_unfit(&q, "no model was named");
    q = good, q.model_path = "/nowhere/model.gguf", check_unfit(&q, "No such file");
    snprintf(path, sizeof(path), "%s/README.md", test_golden);
    q = good, q.model_path = path, check_unfit(&q, "not a GGUF file");
    write_file("short.gguf", "GGUF\3\0\0", 8);
    q = good, q.model_path = "short.gguf", check_unfit(&q, "the number of tensors takes 8");
    unlink("short.gguf");
    q = good, q.has_context = 1, q.context = 262145;
    check_unfit(&q, "context 262145 is configured, the model was trained for 262144");
}

static void put_u32(FILE *out, uint32_t value)
{
    assert_int_equal(fwrite(&value, sizeof(value), 1, out), 1);
}

/* A whole file of another kind of model. */
static void test_engine_check_names_another_architecture(void **state)
{
    static const char key[] = "general.architecture", other[] = "mamba";
    FILE *out = fopen("mamba.gguf", "wb");
    Qwe__Start start = QWE__START__INIT;

    assert_non_null(out);
    fwrite("GGUF", 1, 4, out);
    put_u32(out, 3);
    put_u32(out, 0), put_u32(out, 0); /* tensors */
    put_u32(out, 1), put_u32(out, 0); /* metadata */
    put_u32(out, sizeof(key) - 1), put_u32(out, 0);
    fwrite(key, 1, sizeof(key) - 1, out);
    put_u32(out, 8); /* a string */
    put_u32(out, sizeof(other) - 1), put_u32(out, 0);
    fwrite(other, 1, sizeof(other) - 1, out);
    fwrite("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 1, 31, out);
    assert_int_equal(fclose(out), 0);
    start.model_path = "mamba.gguf";
    check_unfit(&start, "mamba");
    unlink("mamba.gguf");
}

/* A file that was cut off has its header still. */
static void test_engine_check_finds_what_is_missing_at_the_end(void **state)
{
    _cleanup_(freep) uint8_t *bytes = malloc(4 << 20);
    FILE *in = fopen(test_model, "rb");
    Qwe__Start start = QWE__START__INIT;
    size_t n;

    assert_non_null(in);
    n = fread(bytes, 1, 4 << 20, in);
    fclose(in);
    write_file("cut.gguf", bytes, n - 4096);
    start.model_path = "cut.gguf";
    check_unfit(&start, "but the file has only");
    unlink("cut.gguf");
}

static void test_engine_check_says_what_memory_it_takes(void **state)
{
    Qwe__Start start = QWE__START__INIT;
    struct peer *peer, *loaded = peer_start(test_model, "cpu", CONTEXT, SLOTS);

    start.model_path = test_model;
    start.backend = "cuda"; /* whatever it is: this takes none of it */
    fake_available_bytes = 77 << 20;
    peer = check(&start);
    fake_available_bytes = 0;
    assert_non_null(peer->checked);
    assert_int_equal(peer->checked->weights_bytes, loaded->ready->weights_bytes);
    assert_int_equal(peer->checked->free_bytes, 77 << 20);
    assert_true(peer->checked->limit_bytes > 1 << 20);
    peer_free(peer);
    peer_free(loaded);
}

static void test_engine_start_chooses_context_and_slots(void **state)
{
    struct peer *peer = peer_start(test_model, "cpu", 0, 0);

    assert_in_range(peer->ready->context, 256, 32768);
    assert_int_equal(peer->ready->slots, 4);
    peer_free(peer);
}

static void test_engine_ready_warns_of_more_than_memory_holds(void **state)
{
    Qwe__Start start = QWE__START__INIT;
    struct peer *peer = peer_new();

    start.model_path = test_model;
    start.backend = "cpu";
    start.has_context = start.has_slots = 1;
    start.context = 262144;
    start.slots = 8; /* 8 x 256 Ki tokens x 256 values of f16: 1 GiB */
    fake_available_bytes = 256 << 20;
    peer_put(peer, 0, MSG_E_START, &start.base, -1);
    assert_int_equal(peer_turn(peer), 0);
    fake_available_bytes = 0;
    assert_non_null(peer->ready);
    assert_non_null(strstr(peer->ready->warnings[peer->ready->n_warnings - 1],
                           "8 requests of 262144 tokens and a cache of 0 MiB may need"));
    assert_non_null(strstr(peer->ready->warnings[peer->ready->n_warnings - 1], "256 MiB are available"));
    peer_free(peer);
}

static struct peer *start_with(uint64_t available_bytes, uint32_t context, uint32_t slots)
{
    struct peer *peer;

    fake_available_bytes = available_bytes;
    peer = peer_start(test_model, "cpu", context, slots);
    fake_available_bytes = 0;
    return peer;
}

static void test_engine_cache_is_a_share_of_what_is_free(void **state)
{
    struct peer *peer = start_with(16 << 20, 0, 0); /* nothing was asked: what fits */

    assert_in_range(peer->ready->context, 256, 16384);
    assert_in_range(peer->ready->state_bytes, 1, 12 << 20);
    assert_in_range(peer->ready->cache_bytes, 1, 4 << 20);
    peer_free(peer);
    peer = start_with(16ull << 30, 262144, 2); /* of plenty: four times what two requests can use */
    assert_in_range(peer->ready->cache_bytes, 3ull * 2 << 28,
                    4 * 2 * ((1ull << 28) + state_slot_bytes(peer->e.model)));
    peer_free(peer);
    peer = start_with(16ull << 30, 1024, 2); /* or as much as many small requests can use */
    assert_in_range(peer->ready->cache_bytes, 256 << 20, 512 << 20);
    peer_free(peer);
}

/* The name is cut to fit; a broker refuses a Ready that is not UTF-8, and would start the engine again and
 * again. */
static void test_engine_ready_names_a_file_of_a_long_name(void **state)
{
    char name[200];
    struct peer *peer;

    memset(name, 'a', 126);
    strcpy(name + 126, "\xc3\xa9-the-end.gguf"); /* the cut falls inside the character */
    unlink(name);
    assert_int_equal(symlink(test_model, name), 0);
    peer = peer_start(name, "cpu", CONTEXT, SLOTS);
    unlink(name);
    assert_int_equal(strlen(peer->ready->model->file), 126);
    peer_free(peer);
}

/* the program */

static pid_t spawn(int fd)
{
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid)
        return pid;
    if (fd >= 0)
        dup2(fd, 3); /* clears CLOEXEC */
    else
        close(3);
    execl(test_program, test_program, (char *)NULL);
    _exit(127);
}

static int wait_for(pid_t pid)
{
    int status;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void test_program_ends_with_its_broker(void **state)
{
    Qwe__Start start = QWE__START__INIT;
    struct sock sock;
    struct frame frame = {0};
    int fds[2];
    pid_t pid;

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    pid = spawn(fds[1]);
    close(fds[1]);
    sock_init(&sock, fds[0], 1 << 20, 1 << 20);
    start.model_path = "/nowhere";
    {
        uint8_t body[64];

        assert_int_equal(frame_put(&sock.out, 0, MSG_E_START, 0, body, qwe__start__pack(&start, body)), 0);
    }
    sock_appended(&sock);
    assert_int_equal(sock_flush(&sock), SOCK_OK);
    while (frame_next(&sock.in, 1 << 20, &frame) ==
           FRAME_E_AGAIN) { /* blocks: the fd is blocking, one byte is enough */
        char byte;

        assert_int_equal(recv(sock.fd, &byte, 1, 0), 1);
        assert_int_equal(buf_append(&sock.in, &byte, 1), 0);
    }
    assert_int_equal(frame.type, MSG_E_FAILED);
    assert_int_equal(wait_for(pid), 0); /* without waiting for us to close */
    sock_deinit(&sock);

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    pid = spawn(fds[1]);
    close(fds[1]);
    close(fds[0]);
    assert_int_equal(wait_for(pid), 0);
}

static void test_program_is_not_for_use_by_hand(void **state)
{
    assert_int_equal(wait_for(spawn(-1)), 2);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_engine_start_fails_with_the_reason),
        cmocka_unit_test(test_engine_check_fails_with_the_reason),
        cmocka_unit_test(test_engine_check_names_another_architecture),
        cmocka_unit_test(test_engine_check_finds_what_is_missing_at_the_end),
        cmocka_unit_test(test_engine_check_says_what_memory_it_takes),
        cmocka_unit_test(test_engine_start_chooses_context_and_slots),
        cmocka_unit_test(test_engine_ready_warns_of_more_than_memory_holds),
        cmocka_unit_test(test_engine_cache_is_a_share_of_what_is_free),
        cmocka_unit_test(test_engine_ready_names_a_file_of_a_long_name),
        cmocka_unit_test(test_program_ends_with_its_broker),
        cmocka_unit_test(test_program_is_not_for_use_by_hand),
    };

    if (argc != 3)
        return 2;
    snprintf(test_golden, sizeof(test_golden), "%s", argv[1]);
    snprintf(test_model, sizeof(test_model), "%s/models/d1-k256/d1-k256-Q4_K_M.gguf", argv[1]);
    test_program = argv[2];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
