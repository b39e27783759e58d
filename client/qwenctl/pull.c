/* pull.c - fetching a model.  See pull.h.
 *
 * The hash is taken of the finished file, so it does not matter in how many tries, or from which servers, its
 * bytes came: what does not fit is thrown away, with both hashes said. */
#include "pull.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "file.h"
#include "sig.h"
#include "store.h"

enum { PULL_CONNECT_S = 30, PULL_STALL_S = 60, PULL_SHOW_MS = 500 };

struct pull {
    const struct cmd_args *args;
    const char *url;
    char *folder, *to, *part;
    int fd;
    CURL *curl;
    uint64_t had, got; /* bytes of the part file at the start; from the server since then */
    bool checked;      /* the answer's head was looked at */
    struct fault fault;
    char error[CURL_ERROR_SIZE];
};

static enum code pull_fail(struct pull *pull, enum code code, const char *what)
{
    return (enum code)fault_set(&pull->fault, code, "%s: %s", what, strerror(errno));
}

/* names */

static bool pull_is_hash(const char *hex)
{
    return strlen(hex) == STORE_HASH_BYTES && strspn(hex, "0123456789abcdefABCDEF") == STORE_HASH_BYTES;
}

/* The last piece of the URL's path, which must be a plain name: it becomes one on our disk. */
static enum code pull_name(struct pull *pull, char ret_name[100])
{
    const char *path = pull->url + strcspn(pull->url, ":"), *name;
    size_t n;

    if (strncmp(pull->url, "https://", 8) && strncmp(pull->url, "http://", 7))
        return (enum code)fault_set(&pull->fault, CODE_USAGE, "\"%.60s\" is no http:// or https:// URL",
                                    pull->url);
    n = strcspn(path, "?#");
    name = path + n;
    while (name > path && name[-1] != '/')
        name--;
    n -= (size_t)(name - path);
    if (n >= 6 && n < 100) {
        memcpy(ret_name, name, n);
        ret_name[n] = 0;
        if (*name != '.' && !strcmp(ret_name + n - 5, ".gguf") &&
            strspn(ret_name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-+") == n)
            return CODE_OK;
    }
    return (enum code)fault_set(
        &pull->fault, CODE_USAGE,
        "the URL's path must end in a name like model.gguf (letters, digits, . _ - +)");
}

static enum code pull_check(struct pull *pull)
{
    const struct opt_values *values = pull->args->values;

    if (!values->sha256 && !values->unpinned)
        return (enum code)fault_set(&pull->fault, CODE_USAGE,
                                    "--sha256 HEX says which bytes are meant; without one: --unpinned");
    if (values->sha256 && !pull_is_hash(values->sha256))
        return (enum code)fault_set(&pull->fault, CODE_USAGE, "--sha256 takes 64 hexadecimal digits");
    return CODE_OK;
}

static enum code pull_open(struct pull *pull)
{
    char name[100];
    struct stat st;
    enum code code = pull_check(pull);

    if (!code)
        code = pull_name(pull, name);
    if (!code)
        code = store_folder(pull->args->values->into, &pull->folder, &pull->fault);
    if (code)
        return code;
    if (asprintf(&pull->to, "%s/%s", pull->folder, name) < 0 ||
        asprintf(&pull->part, "%s.part", pull->to) < 0)
        return (enum code)fault_set(&pull->fault, CODE_FAILED, "out of memory");
    if (!access(pull->to, F_OK))
        return (enum code)fault_set(&pull->fault, CODE_USAGE, "%s is there already", pull->to);
    if (file_make_folders(pull->to))
        return pull_fail(pull, CODE_FAILED, pull->folder);
    pull->fd = open(pull->part, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (pull->fd < 0 || fstat(pull->fd, &st) < 0)
        return pull_fail(pull, CODE_FAILED, pull->part);
    if (flock(pull->fd, LOCK_EX | LOCK_NB) < 0)
        return (enum code)fault_set(&pull->fault, CODE_BUSY, "%s is being fetched by another qwenctl",
                                    pull->to);
    pull->had = (uint64_t)st.st_size;
    if (lseek(pull->fd, 0, SEEK_END) < 0)
        return pull_fail(pull, CODE_FAILED, pull->part);
    return CODE_OK;
}

/* the transfer */

/* The answer's head: a server that does not go on where we are begins anew; is there room for the rest? */
static enum code pull_on_head(struct pull *pull)
{
    curl_off_t length = -1;
    long status = 0;

    curl_easy_getinfo(pull->curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(pull->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    if (pull->had && status != 206) {
        if (ftruncate(pull->fd, 0) < 0 || lseek(pull->fd, 0, SEEK_SET) < 0)
            return pull_fail(pull, CODE_FAILED, pull->part);
        pull->had = 0;
    }
    return length > 0 ? store_check_room(pull->folder, (uint64_t)length, &pull->fault) : CODE_OK;
}

static size_t pull_on_data(char *data, size_t size, size_t n, void *arg)
{
    struct pull *pull = arg;
    size_t done = 0;

    if (!pull->checked && pull_on_head(pull))
        return 0;
    pull->checked = true;
    while (done < n) {
        ssize_t k = write(pull->fd, data + done, n - done);

        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0) {
            pull_fail(pull, CODE_FAILED, pull->part);
            return 0;
        }
        done += (size_t)k;
    }
    pull->got += n;
    return n;
}

static void pull_show(struct pull *pull)
{
    const double mib = 1 << 20, have = (double)(pull->had + pull->got) / mib;
    curl_off_t length = -1, speed = 0;

    curl_easy_getinfo(pull->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    curl_easy_getinfo(pull->curl, CURLINFO_SPEED_DOWNLOAD_T, &speed);
    if (length > 0)
        ui_progress(pull->args->ui, "%.0f of %.0f MiB, %.1f MiB/s", have,
                    ((double)pull->had + (double)length) / mib, (double)speed / mib);
    else
        ui_progress(pull->args->ui, "%.0f MiB, %.1f MiB/s", have, (double)speed / mib);
}

static CURLcode pull_loop(struct pull *pull, CURLM *multi)
{
    struct curl_waitfd signals = {.fd = sig_fd(), .events = CURL_WAIT_POLLIN};
    CURLMsg *message;
    int running = 1, left;

    while (running && !sig_pending()) {
        if (curl_multi_perform(multi, &running) ||
            (running && curl_multi_poll(multi, &signals, 1, PULL_SHOW_MS, NULL)))
            return CURLE_FAILED_INIT;
        pull_show(pull);
    }
    if (running)
        return CURLE_ABORTED_BY_CALLBACK;
    message = curl_multi_info_read(multi, &left);
    return message ? message->data.result : CURLE_FAILED_INIT;
}

static int pull_set(struct pull *pull)
{
    const struct opt_int rate = pull->args->values->limit_rate;
    CURL *curl = pull->curl;
    CURLcode r = CURLE_OK;
    char range[24];

    r |= curl_easy_setopt(curl, CURLOPT_URL, pull->url);
    r |= curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    r |= curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR,
                          strncmp(pull->url, "https", 5) ? "http,https" : "https");
    r |= curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
    r |= curl_easy_setopt(curl, CURLOPT_MAXREDIRS, 10L);
    r |= curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
    r |= curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    r |= curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)PULL_CONNECT_S);
    r |= curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    r |= curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)PULL_STALL_S);
    r |= curl_easy_setopt(curl, CURLOPT_USERAGENT, "qwenctl/" QWEND_VERSION);
    r |= curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, pull->error);
    r |= curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, pull_on_data);
    r |= curl_easy_setopt(curl, CURLOPT_WRITEDATA, pull);
    /* not CURLOPT_RESUME_FROM, which takes a server without ranges for a failure */
    snprintf(range, sizeof(range), "%llu-", (unsigned long long)pull->had);
    if (pull->had)
        r |= curl_easy_setopt(curl, CURLOPT_RANGE, range);
    if (rate.given)
        r |= curl_easy_setopt(curl, CURLOPT_MAX_RECV_SPEED_LARGE, (curl_off_t)rate.value);
    return (int)r;
}

static enum code pull_ended(struct pull *pull, CURLcode r)
{
    long status = 0;

    ui_progress_end(pull->args->ui);
    curl_easy_getinfo(pull->curl, CURLINFO_RESPONSE_CODE, &status);
    if (sig_pending()) {
        ui_note(pull->args->ui, "the same command goes on where this one stopped");
        return sig_pending() == SIGTERM ? CODE_TERM : CODE_INT;
    }
    if (*pull->fault.text)
        return CODE_FAILED;
    if (status == 416 && pull->had) /* there is nothing behind what we have: the hash decides */
        return CODE_OK;
    if (r == CURLE_OK)
        return CODE_OK;
    return (enum code)fault_set(&pull->fault, CODE_FAILED,
                                "%s (%s is kept: the same command goes on with it)",
                                *pull->error ? pull->error : curl_easy_strerror(r), pull->part);
}

static enum code pull_fetch(struct pull *pull)
{
    CURLM *multi;
    enum code code = CODE_FAILED;

    if (curl_global_init(CURL_GLOBAL_DEFAULT))
        return (enum code)fault_set(&pull->fault, CODE_FAILED, "libcurl cannot start");
    multi = curl_multi_init();
    pull->curl = curl_easy_init();
    if (!multi || !pull->curl || pull_set(pull) || curl_multi_add_handle(multi, pull->curl)) {
        fault_set(&pull->fault, CODE_FAILED, "libcurl cannot do this");
    } else {
        code = pull_ended(pull, pull_loop(pull, multi));
        curl_multi_remove_handle(multi, pull->curl);
    }
    curl_easy_cleanup(pull->curl);
    curl_multi_cleanup(multi);
    curl_global_cleanup();
    return code;
}

/* afterwards */

static bool pull_is_stopped(void)
{
    return sig_pending() != 0;
}

static enum code pull_finish(struct pull *pull)
{
    const char *wanted = pull->args->values->sha256;
    char hex[STORE_HASH_BYTES + 1];
    int r;

    if (fsync(pull->fd) < 0)
        return pull_fail(pull, CODE_FAILED, pull->part);
    r = store_hash(pull->fd, pull_is_stopped, hex);
    if (r && pull_is_stopped())
        return sig_pending() == SIGTERM ? CODE_TERM : CODE_INT;
    if (r)
        return (enum code)fault_set(&pull->fault, CODE_FAILED, "%s: %s", pull->part, strerror(-r));
    if ((wanted && strcasecmp(wanted, hex)) || !store_is_gguf(pull->fd)) {
        unlink(pull->part);
        return (enum code)fault_set(&pull->fault, CODE_NO, "not what was asked for, and thrown away: %s %s",
                                    store_is_gguf(pull->fd) ? "its sha256 is" : "no GGUF file, sha256", hex);
    }
    r = store_write_hash(pull->to, hex);
    if (!r && rename(pull->part, pull->to) < 0)
        r = err_errno();
    if (r)
        return (enum code)fault_set(&pull->fault, CODE_FAILED, "%s: %s", pull->to, strerror(-r));
    if (!wanted)
        ui_note(pull->args->ui, "not compared with anything; its sha256 is %s", hex);
    return CODE_OK;
}

enum code pull_run(const struct cmd_args *args)
{
    struct pull pull = {.args = args, .url = args->args[0], .fd = -1};
    enum code code;

    code = sig_listen() ? pull_fail(&pull, CODE_FAILED, "cannot watch for signals") : pull_open(&pull);
    if (!code)
        code = pull_fetch(&pull);
    if (!code)
        code = pull_finish(&pull);
    if (!code && !args->ui->quiet)
        code = cmd_print(args, pull.to, strlen(pull.to)) ?: cmd_print(args, "\n", 1);
    if (*pull.fault.text)
        ui_error(args->ui, "%s", pull.fault.text);
    closep(&pull.fd);
    free(pull.folder);
    free(pull.to);
    free(pull.part);
    return code;
}
