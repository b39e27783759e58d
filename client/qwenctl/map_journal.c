/* map_journal.c - the output of map: a line a record, with its key and what it was made with, so that the
 * file says by itself what is still to be done.  See map.h.
 *
 * A line is one write(); after a crash the last one may be torn, and only that.  Two runs on one file are
 * kept apart by a lock. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "map.h"
#include "proto/sha256.h"

static void hash_put(struct sha256 *sha, const char *text)
{
    sha256_put(sha, text ? text : "", text ? strlen(text) + 1 : 1);
}

/* What an answer depends on; how many at a time, and of how many tries, is not of it. */
void map_journal_hash(struct map_journal *journal, const char *template, const struct opt_values *values,
                      const char *system, const qwend_status_info *status)
{
    struct sha256 sha;
    uint8_t digest[32];
    char numbers[600];

    sha256_init(&sha);
    hash_put(&sha, template);
    hash_put(&sha, system);
    for (size_t i = 0; i < values->stop.n; i++)
        hash_put(&sha, values->stop.items[i]);
#define HASH_INT(o)  o.given, (long long)o.value
#define HASH_REAL(o) o.given, o.value
    snprintf(numbers, sizeof(numbers),
             "%d %d:%lld %d:%lld %d:%lld %d:%lld %d:%a %d:%a %d:%a %d:%a %d:%a %d:%a", values->map_in,
             HASH_INT(values->thinking), HASH_INT(values->max_tokens), HASH_INT(values->top_k),
             HASH_INT(values->seed), HASH_REAL(values->temp), HASH_REAL(values->top_p),
             HASH_REAL(values->min_p), HASH_REAL(values->repeat_penalty), HASH_REAL(values->presence_penalty),
             HASH_REAL(values->frequency_penalty));
    hash_put(&sha, numbers);
    snprintf(numbers, sizeof(numbers), "%llu %llu", (unsigned long long)status->file_bytes,
             (unsigned long long)status->n_params);
    hash_put(&sha, numbers);
    hash_put(&sha, status->model);
    hash_put(&sha, status->file);
    hash_put(&sha, status->quantisation);
    sha256_end(&sha, digest);
    for (size_t i = 0; i < MAP_HASH_BYTES / 2; i++)
        snprintf(journal->hash + 2 * i, 3, "%02x", digest[i]);
}

static enum code journal_fault(const struct map_journal *journal, struct fault *fault)
{
    return (enum code)fault_set(fault, CODE_FAILED, "%.300s: %s", journal->path, strerror(errno));
}

static enum code journal_resume(struct map_journal *journal, const struct opt_values *values,
                                struct fault *fault)
{
    FILE *file = fdopen(dup(journal->fd), "r");
    enum code code;
    off_t end = 0;

    if (!file)
        return journal_fault(journal, fault);
    code = map_resume_read(journal, file, values->mixed, &end, fault);
    fclose(file);
    if (code)
        return code;
    if (ftruncate(journal->fd, end) < 0 || lseek(journal->fd, end, SEEK_SET) < 0)
        return journal_fault(journal, fault);
    return CODE_OK;
}

enum code map_journal_open(struct map_journal *journal, const struct opt_values *values, struct fault *fault)
{
    _cleanup_(closep) int fd = -1;
    struct stat st;

    journal->sync_every = values->sync_every.given ? (unsigned)values->sync_every.value : 50;
    journal->path = values->output ? values->output : "standard output";
    if (!values->output)
        return CODE_OK;
    fd = open(values->output, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0 || fstat(fd, &st) < 0)
        return (enum code)fault_set(fault, CODE_USAGE, "%.300s: %s", values->output, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return (enum code)fault_set(fault, CODE_USAGE,
                                    "%.300s is no file: -o keeps a journal, which a pipe cannot be",
                                    values->output);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return (enum code)fault_set(fault, CODE_USAGE, "%.300s is being written by another map",
                                    values->output);
    if (st.st_size && !values->resume)
        return (enum code)fault_set(fault, CODE_USAGE, "%.300s is there already: --resume goes on with it",
                                    values->output);
    journal->fd = steal_fd(&fd);
    return values->resume ? journal_resume(journal, values, fault) : CODE_OK;
}

enum code map_journal_write(struct map_journal *journal, struct ui *ui, const char *line, size_t n,
                            struct fault *fault)
{
    int r;

    if (journal->fd < 0) {
        r = ui_out(ui, line, n);
        if (r < 0)
            return (enum code)fault_set(fault, CODE_FAILED, "writing to standard output: %s", strerror(-r));
        return r == UI_E_GONE ? CODE_PIPE : r == UI_E_SIGNAL ? CODE_INT : CODE_OK;
    }
    while (n) {
        const ssize_t k = write(journal->fd, line, n);

        if (k < 0 && errno != EINTR)
            return journal_fault(journal, fault);
        line += MAX(k, 0);
        n -= (size_t)MAX(k, 0);
    }
    if (++journal->n_unsynced < journal->sync_every)
        return CODE_OK;
    journal->n_unsynced = 0;
    return fdatasync(journal->fd) < 0 ? journal_fault(journal, fault) : CODE_OK;
}

enum code map_journal_close(struct map_journal *journal, struct fault *fault)
{
    enum code code = CODE_OK;

    if (journal->fd >= 0 && fsync(journal->fd) < 0)
        code = journal_fault(journal, fault);
    closep(&journal->fd);
    map_keys_deinit(&journal->done);
    return code;
}
