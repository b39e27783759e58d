/* test_log.c - lines on stderr and events in the journal, whose socket is stood in for; see
 * daemon/util/log.h. */
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
// clang-format on
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "daemon/util/log.h"

static const uint8_t request_id[JOURNAL_ID_BYTES] = {0, 1, 2, 3, 0xff};
static const struct journal_event event_full = {
    .kind = JOURNAL_QUOTA,
    .has_uid = true,
    .uid = UINT32_MAX,
    .request = request_id,
    .code = 302,
    .numbers = {{"QWEND_USED", UINT64_MAX}, {"QWEND_LIMIT", 7}, {"QWEND_MS", 0}},
};

/* A stand-in for the journal: its datagram socket, and a pipe that stderr is. */
struct stage {
    char folder[64], path[80];
    int socket, pipe, saved_stderr;
    char text[4096];
};

static void stage_open(struct stage *stage, bool stderr_is_journal)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char stream[64];
    struct stat st;
    int fds[2];

    snprintf(stage->folder, sizeof(stage->folder), "%s/qwend-log-XXXXXX", getenv("TMPDIR") ?: "/tmp");
    assert_non_null(mkdtemp(stage->folder));
    snprintf(stage->path, sizeof(stage->path), "%s/socket", stage->folder);
    strcpy(address.sun_path, stage->path);
    stage->socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(stage->socket, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(pipe2(fds, O_NONBLOCK), 0);
    stage->pipe = fds[0];
    stage->saved_stderr = dup(STDERR_FILENO);
    dup2(fds[1], STDERR_FILENO);
    close(fds[1]);
    assert_int_equal(fstat(STDERR_FILENO, &st), 0);
    snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)st.st_dev,
             (unsigned long long)st.st_ino + !stderr_is_journal);
    setenv("JOURNAL_STREAM", stream, 1);
    log_init("test", false);
    log_open_journal(stage->path);
}

static void stage_close(struct stage *stage)
{
    log_close();
    unsetenv("JOURNAL_STREAM");
    log_init("test", false);
    dup2(stage->saved_stderr, STDERR_FILENO);
    close(stage->saved_stderr);
    close(stage->pipe);
    closep(&stage->socket);
    unlink(stage->path);
    rmdir(stage->folder);
}

/* What has come, "" if nothing. */
static const char *stage_read(struct stage *stage, int fd)
{
    const ssize_t n = read(fd, stage->text, sizeof(stage->text) - 1);

    stage->text[n < 0 ? 0 : n] = '\0';
    return stage->text;
}

static void test_an_event_is_one_datagram_with_its_fields(void **state)
{
    struct stage stage;

    stage_open(&stage, true);
    log_event_warn(&event_full, "uid %u holds %d", 7, 9);
    assert_string_equal(stage_read(&stage, stage.socket),
                        "MESSAGE=uid 7 holds 9\nPRIORITY=4\nSYSLOG_IDENTIFIER=test\n"
                        "MESSAGE_ID=401688611aae4c61aa659d939759878f\nQWEND_UID=4294967295\n"
                        "QWEND_REQUEST=00010203ff0000000000000000000000\nQWEND_CODE=302\n"
                        "QWEND_USED=18446744073709551615\nQWEND_LIMIT=7\nQWEND_MS=0\n");
    assert_string_equal(stage_read(&stage, stage.socket), "");
    assert_string_equal(stage_read(&stage, stage.pipe), "");
    stage_close(&stage);
}

static void test_fields_that_are_not_given_are_not_there(void **state)
{
    const struct journal_event event = {.kind = JOURNAL_STOPPED};
    struct stage stage;

    stage_open(&stage, true);
    log_event_info(&event, "stopped");
    assert_string_equal(stage_read(&stage, stage.socket),
                        "MESSAGE=stopped\nPRIORITY=6\nSYSLOG_IDENTIFIER=test\n"
                        "MESSAGE_ID=b3930abda942487da1eba53bf65f62ff\n");
    stage_close(&stage);
}

static void test_each_kind_has_an_id_of_its_own(void **state)
{
    char seen[JOURNAL_KINDS][33];
    struct stage stage;

    stage_open(&stage, true);
    for (int i = 0; i < JOURNAL_KINDS; i++) {
        const char *at;

        log_event_err(&(struct journal_event){.kind = (enum journal_kind)i}, "x");
        at = strstr(stage_read(&stage, stage.socket), "MESSAGE_ID=");
        assert_non_null(at);
        assert_int_equal(strspn(at + 11, "0123456789abcdef"), 32);
        snprintf(seen[i], sizeof(seen[i]), "%.32s", at + 11);
        for (int k = 0; k < i; k++)
            assert_string_not_equal(seen[i], seen[k]);
    }
    stage_close(&stage);
}

static void test_a_line_cannot_forge_a_field(void **state)
{
    struct stage stage;

    stage_open(&stage, true);
    log_event_info(&event_full, "a%sb", "\nQWEND_UID=0\n\x1b[2J");
    assert_non_null(strstr(stage_read(&stage, stage.socket), "MESSAGE=a?QWEND_UID=0??[2Jb\nPRIORITY"));
    stage_close(&stage);
}

static void test_the_longest_event_keeps_all_its_fields(void **state)
{
    struct stage stage;
    char text[3000];

    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    stage_open(&stage, true);
    log_event_info(&event_full, "%s", text);
    assert_non_null(strstr(stage_read(&stage, stage.socket), "xxx\nPRIORITY=6\n"));
    assert_non_null(strstr(stage.text, "\nQWEND_MS=0\n"));
    stage_close(&stage);
}

static void test_without_a_journal_an_event_is_a_line(void **state)
{
    struct stage stage;

    stage_open(&stage, false); /* JOURNAL_STREAM is somebody else's stderr */
    log_event_warn(&event_full, "no room");
    assert_string_equal(stage_read(&stage, stage.pipe), "test: warning: no room\n");
    assert_string_equal(stage_read(&stage, stage.socket), "");
    stage_close(&stage);
}

static void test_an_event_that_the_journal_does_not_take_is_a_line(void **state)
{
    struct stage stage;

    stage_open(&stage, true);
    closep(&stage.socket);
    errno = ENODEV;
    log_event_warn(&event_full, "no room");
    assert_int_equal(errno, ENODEV);
    assert_string_equal(stage_read(&stage, stage.pipe), "<4>no room\n");
    stage_close(&stage);
}

static void test_a_plain_line_stays_on_stderr(void **state)
{
    struct stage stage;

    stage_open(&stage, true);
    log_info("plain");
    assert_string_equal(stage_read(&stage, stage.pipe), "<6>plain\n");
    assert_string_equal(stage_read(&stage, stage.socket), "");
    stage_close(&stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_event_is_one_datagram_with_its_fields),
        cmocka_unit_test(test_fields_that_are_not_given_are_not_there),
        cmocka_unit_test(test_each_kind_has_an_id_of_its_own),
        cmocka_unit_test(test_a_line_cannot_forge_a_field),
        cmocka_unit_test(test_the_longest_event_keeps_all_its_fields),
        cmocka_unit_test(test_without_a_journal_an_event_is_a_line),
        cmocka_unit_test(test_an_event_that_the_journal_does_not_take_is_a_line),
        cmocka_unit_test(test_a_plain_line_stays_on_stderr),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
