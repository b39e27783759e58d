/* test_feed.c - feed.c: all pieces, in order, from any file system; and files that end early. */
#include "daemon/model/feed.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

enum { FILE_BYTES = 3 << 20 };

static uint8_t byte_at(size_t i)
{
    return (uint8_t)(i * 2654435761u >> 13);
}

static void fill(int fd)
{
    uint8_t *bytes = malloc(FILE_BYTES);

    assert_true(fd >= 0);
    assert_non_null(bytes);
    for (size_t i = 0; i < FILE_BYTES; i++)
        bytes[i] = byte_at(i);
    assert_int_equal(pwrite(fd, bytes, FILE_BYTES, 0), FILE_BYTES);
    free(bytes);
}

/* In the build folder, on a disk; and in memory, where there may be no way past the cache. */
static int file_on_disk(void)
{
    char path[] = "test_feed.XXXXXX";
    const int fd = mkstemp(path);

    fill(fd);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(fdatasync(fd), 0);
    return fd;
}

static int file_in_memory(void)
{
    const int fd = memfd_create("test_feed", MFD_CLOEXEC);

    fill(fd);
    return fd;
}

/* Pieces of all alignments and lengths, with gaps, backwards too; more than there are slots. */
static int cut(struct feed_piece *pieces, int n_max)
{
    static const size_t lengths[] = {1, 4096, 4095, 4097, 70001, 300000, 12, 8192};
    int n = 0;

    for (size_t at = 0; n < n_max - 1 && at + 400000 < FILE_BYTES; n++) {
        pieces[n] = (struct feed_piece){at, lengths[n % (int)ARRAY_SIZE(lengths)]};
        at += pieces[n].bytes + (n % 3 ? 0 : 511);
    }
    pieces[n++] = (struct feed_piece){FILE_BYTES - 5000,
                                      5000}; /* to the end, which is no multiple of a page from there */
    return n;
}

static void check_all(int fd)
{
    struct feed_piece pieces[64];
    const int n = cut(pieces, ARRAY_SIZE(pieces));
    _cleanup_(feed_freep) struct feed *feed = NULL;

    assert_true(n > 20);
    assert_int_equal(feed_new(fd, pieces, n, &feed), 0);
    for (int i = 0; i < n; i++) {
        const uint8_t *data = NULL;
        assert_int_equal(feed_next(feed, &data), 0);
        for (size_t j = 0; j < pieces[i].bytes; j++)
            if (data[j] != byte_at((size_t)pieces[i].offset + j))
                fail_msg("piece %d, byte %zu: %d", i, j, data[j]);
    }
}

static void test_every_piece_comes_in_order(void **state _unused_)
{
    _cleanup_(closep) int disk = file_on_disk(), memory = file_in_memory();

    check_all(disk); /* in the page cache, if nobody else wanted the memory */
    assert_int_equal(posix_fadvise(disk, 0, 0, POSIX_FADV_DONTNEED), 0);
    check_all(disk); /* from the disk */
    check_all(memory);
}

static void test_a_file_that_became_shorter_is_an_error_of_its_piece(void **state _unused_)
{
    const struct feed_piece pieces[] = {{0, 100000}, {100000, 100000}, {200000, 100000}};
    _cleanup_(closep) int fd = file_on_disk();
    _cleanup_(feed_freep) struct feed *feed = NULL;
    const uint8_t *data = NULL, *before;

    assert_int_equal(ftruncate(fd, 250000), 0);
    assert_int_equal(feed_new(fd, pieces, ARRAY_SIZE(pieces), &feed), 0);
    assert_int_equal(feed_next(feed, &data), 0);
    assert_int_equal(feed_next(feed, &data), 0);
    assert_int_equal(data[99999], byte_at(199999));
    before = data;
    assert_int_equal(feed_next(feed, &data), -ENODATA);
    assert_ptr_equal(data, before);
}

static void test_what_cannot_be_read_says_why(void **state _unused_)
{
    const struct feed_piece piece = {0, 100};
    _cleanup_(closep) int fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    _cleanup_(feed_freep) struct feed *feed = NULL;
    const uint8_t *data = NULL;

    assert_int_equal(feed_new(fd, &piece, 1, &feed), 0);
    assert_int_equal(feed_next(feed, &data), -EISDIR);
}

static void test_it_can_be_left_at_any_point(void **state _unused_)
{
    struct feed_piece pieces[64];
    const int n = cut(pieces, ARRAY_SIZE(pieces));
    _cleanup_(closep) int fd = file_on_disk();

    for (int leave = 0; leave < 12; leave++) {
        _cleanup_(feed_freep) struct feed *feed = NULL;
        const uint8_t *data = NULL;

        assert_int_equal(feed_new(fd, pieces, n, &feed), 0);
        for (int i = 0; i < leave; i++)
            assert_int_equal(feed_next(feed, &data), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_piece_comes_in_order),
        cmocka_unit_test(test_a_file_that_became_shorter_is_an_error_of_its_piece),
        cmocka_unit_test(test_what_cannot_be_read_says_why),
        cmocka_unit_test(test_it_can_be_left_at_any_point),
    };

    return cmocka_run_group_tests_name("feed", tests, NULL, NULL);
}
