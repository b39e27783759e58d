/* cmd_doctor.c - `qwenctl doctor`: what can be wrong, looked at one by one, with what helps.
 *
 * Ids of checks are stable.  fail: it does not work; warn: it works worse than it could; skip: it could not
 * be looked at.  Exit 1 if anything failed. */
#include <stdarg.h>
#include <string.h>
#include <sys/statvfs.h>

#include "cmd.h"
#include "conf.h"
#include "file.h"
#include "json.h"

enum doctor_state { DOCTOR_OK, DOCTOR_WARN, DOCTOR_FAIL, DOCTOR_SKIP };

struct doctor {
    const struct cmd_args *args;
    FILE *out;
    struct json json;
    qwend *q;               /* NULL: no connection */
    qwend_status_info info; /* strings borrowed from q until the next call */
    bool has_info, failed;
};

static void doctor_say(struct doctor *doctor, const char *id, enum doctor_state state, const char *remedy,
                       const char *fmt, ...) _printf_(5, 6);

static void doctor_say(struct doctor *doctor, const char *id, enum doctor_state state, const char *remedy,
                       const char *fmt, ...)
{
    static const char *const names[] = {"ok", "warn", "fail", "skip"};
    char finding[400];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(finding, sizeof(finding), fmt, ap);
    va_end(ap);
    doctor->failed |= state == DOCTOR_FAIL;
    if (state == DOCTOR_OK || state == DOCTOR_SKIP)
        remedy = NULL;
    if (!doctor->args->values->json) {
        fprintf(doctor->out, "%-4s  %-16s %s\n", names[state], id, finding);
        if (remedy)
            fprintf(doctor->out, "      %-16s do: %s\n", "", remedy);
        return;
    }
    json_open(&doctor->json, NULL, '{');
    json_text(&doctor->json, "id", id, (size_t)-1);
    json_text(&doctor->json, "state", names[state], (size_t)-1);
    json_text(&doctor->json, "finding", finding, (size_t)-1);
    if (remedy)
        json_text(&doctor->json, "remedy", remedy, (size_t)-1);
    json_close(&doctor->json, '}');
}

/* the client */

static void doctor_look_at_config(struct doctor *doctor)
{
    struct fault fault = {};
    struct conf conf = {};
    int r = conf_load_all(&conf, &fault);

    doctor_say(doctor, "client.config", r ? DOCTOR_FAIL : DOCTOR_OK, "mend that line, or qwenctl config set",
               "%s", r ? *fault.text ? fault.text : strerror(-r) : "no mistakes in the configuration");
    conf_deinit(&conf);
}

static void doctor_look_at_state(struct doctor *doctor)
{
    _cleanup_(freep) char *path = file_home("XDG_STATE_HOME", ".local/state", "sessions/x");

    if (!path)
        doctor_say(doctor, "client.state", DOCTOR_WARN, "set $HOME or $XDG_STATE_HOME",
                   "there is no home: no sessions, no history");
    else if (file_make_folders(path))
        doctor_say(doctor, "client.state", DOCTOR_WARN, "make the folder writable, or set $XDG_STATE_HOME",
                   "%s: %s", path, strerror(errno));
    else
        doctor_say(doctor, "client.state", DOCTOR_OK, NULL, "sessions and history can be kept");
}

/* the machine */

static bool doctor_cpu_has(const char *flag)
{
    _cleanup_(freep) char *text = NULL;
    char word[32];
    size_t n;

    snprintf(word, sizeof(word), " %s ", flag);
    if (file_read("/proc/cpuinfo", 64 << 20, &text, &n))
        return false;
    for (char *p = text; *p; p++) /* the last flag of a line has none of its own blanks behind it */
        *p = *p == '\n' ? ' ' : *p;
    return strstr(text, word);
}

static void doctor_look_at_cpu(struct doctor *doctor)
{
#if defined(__x86_64__)
    const bool wide = doctor_cpu_has("avx512f"), good = doctor_cpu_has("avx2");

    doctor_say(doctor, "machine.cpu", good ? DOCTOR_OK : DOCTOR_WARN, "use a machine of the last ten years",
               "%s",
               wide   ? "AVX-512"
               : good ? "AVX2"
                      : "no AVX2: answers will be slow");
#else
    doctor_say(doctor, "machine.cpu", DOCTOR_SKIP, NULL, "nothing is known of this kind of CPU");
#endif
}

static void doctor_look_at_cgroup(struct doctor *doctor)
{
    const bool v2 = !access("/sys/fs/cgroup/cgroup.controllers", F_OK);

    doctor_say(doctor, "machine.cgroup", v2 ? DOCTOR_OK : DOCTOR_WARN,
               "boot with systemd.unified_cgroup_hierarchy=1", "cgroup version %d", v2 ? 2 : 1);
}

static void doctor_look_at_disk(struct doctor *doctor)
{
    const char *folder = access(QWENCTL_STATE, F_OK) ? "/" : QWENCTL_STATE;
    const double gib = 1 << 30;
    struct statvfs fs;
    double room;

    if (statvfs(folder, &fs) < 0) {
        doctor_say(doctor, "machine.disk", DOCTOR_SKIP, NULL, "%s: %s", folder, strerror(errno));
        return;
    }
    room = (double)fs.f_bavail * (double)fs.f_frsize / gib;
    doctor_say(doctor, "machine.disk", room < 2 ? DOCTOR_WARN : DOCTOR_OK, "remove models that nobody serves",
               "%.1f GiB free for models on the disk of %s", room, folder);
}

/* the service */

static void doctor_connect(struct doctor *doctor)
{
    const struct opt_int timeout = doctor->args->values->timeout_ms;
    int r = qwend_open_as(&doctor->q, doctor->args->values->socket, 0, "qwenctl " QWEND_VERSION);

    if (r) {
        doctor->q = NULL;
        doctor_say(doctor, "service.connect", DOCTOR_FAIL,
                   r == -EACCES ? "ask the administrator: ls -l /run/qwend"
                                : "systemctl start qwend.socket; or qwend --socket PATH --model FILE.gguf",
                   "%s", qwend_error(NULL));
        return;
    }
    qwend_set_timeout(doctor->q, timeout.given ? (int)timeout.value : 10000);
    r = qwend_status(doctor->q, &doctor->info);
    doctor->has_info = !r;
    doctor_say(doctor, "service.connect", r ? DOCTOR_FAIL : DOCTOR_OK, "journalctl -u qwend", "%s on %s",
               r ? qwend_error(doctor->q) : doctor->info.server, qwend_socket_path(doctor->q));
}

static void doctor_look_at_service(struct doctor *doctor)
{
    const qwend_status_info *info = &doctor->info;
    const bool serves = info->state == 3 || info->state == 4;

    doctor_say(doctor, "service.version", strstr(info->server, QWEND_VERSION) ? DOCTOR_OK : DOCTOR_WARN,
               "install the same version of both, then qwenctl upgrade", "qwenctl %s, %s", QWEND_VERSION,
               info->server);
    doctor_say(doctor, "service.state",
               info->state == 6 ? DOCTOR_FAIL
               : serves         ? DOCTOR_OK
                                : DOCTOR_WARN,
               info->state == 6   ? "the finding names what is wrong; journalctl -u qwend"
               : info->state == 5 ? "qwenctl resume, by an administrator"
                                  : "wait: qwenctl status",
               "%s%s%s", info->state_name, *info->note ? ": " : "", info->note);
    doctor_say(doctor, "service.backend", info->state == 4 ? DOCTOR_WARN : DOCTOR_OK,
               "the note of qwenctl status says why; backend = cpu says that it is meant",
               "%s%s%s, %u threads", *info->backend ? info->backend : "no engine", *info->isa ? " " : "",
               info->isa, info->threads);
    doctor_say(doctor, "service.engine", info->engine_restarts ? DOCTOR_WARN : DOCTOR_OK,
               "journalctl -u qwend; a request that crashes engines is a bug, please report it",
               "started again %u times", info->engine_restarts);
    doctor_say(doctor, "service.memory",
               info->weights_locked || !info->weights_bytes ? DOCTOR_OK : DOCTOR_WARN,
               "LimitMEMLOCK=infinity in a drop-in of qwend.service", "weights of %.0f MiB %s in memory",
               (double)info->weights_bytes / (1 << 20), info->weights_locked ? "locked" : "not locked");
}

/* One short answer.  Its words do not matter, and are not shown. */
static void doctor_ask(struct doctor *doctor)
{
    _cleanup_(qwend_req_freep) qwend_req *req = qwend_req_new();
    qwend_stream *stream;
    qwend_event event = {};
    int r = req ? qwend_req_message(req, QWEND_USER, "Say yes.", (size_t)-1) : -ENOMEM;

    if (!r)
        r = qwend_req_set_i(req, QWEND_OPT_MAX_TOKENS, 16);
    if (!r)
        r = qwend_req_set_i(req, QWEND_OPT_THINKING, 0);
    if (!r)
        r = qwend_generate(doctor->q, req, NULL, NULL, &stream);
    if (!r) {
        while ((r = qwend_next(stream, &event)) == 1 && event.type != QWEND_EV_END &&
               event.type != QWEND_EV_ERROR)
            ;
    }
    if (r < 0 || event.type != QWEND_EV_END)
        doctor_say(doctor, "service.answer", DOCTOR_FAIL, "qwenctl status; journalctl -u qwend", "%s",
                   event.type == QWEND_EV_ERROR ? event.text : qwend_error(doctor->q));
    else
        doctor_say(doctor, "service.answer", DOCTOR_OK, NULL, "%u tokens in %.0f ms behind a prompt of %u",
                   event.usage->answer_tokens, event.usage->decode_ms, event.usage->prompt_tokens);
    if (!r || r == 1)
        qwend_stream_free(stream);
}

static void doctor_look(struct doctor *doctor)
{
    static const char *const rest[] = {"service.version", "service.state",  "service.backend",
                                       "service.engine",  "service.memory", "service.answer"};

    doctor_look_at_config(doctor);
    doctor_look_at_state(doctor);
    doctor_look_at_cpu(doctor);
    doctor_look_at_cgroup(doctor);
    doctor_look_at_disk(doctor);
    doctor_connect(doctor);
    if (doctor->has_info) {
        const bool serves = doctor->info.state == 3 || doctor->info.state == 4;

        doctor_look_at_service(doctor);
        if (serves)
            doctor_ask(doctor);
        else
            doctor_say(doctor, "service.answer", DOCTOR_SKIP, NULL, "it does not serve");
        return;
    }
    for (size_t i = 0; i < ARRAY_SIZE(rest); i++)
        doctor_say(doctor, rest[i], DOCTOR_SKIP, NULL, "no daemon");
}

enum code cmd_doctor(const struct cmd_args *args)
{
    struct doctor doctor = {.args = args};
    struct cmd_page page;
    enum code code = cmd_page_open(args, &page);

    if (code)
        return code;
    doctor.out = doctor.json.file = page.file;
    if (args->values->json) {
        json_open(&doctor.json, NULL, '{');
        json_open(&doctor.json, "checks", '[');
    }
    doctor_look(&doctor);
    if (args->values->json) {
        json_close(&doctor.json, ']');
        json_bool(&doctor.json, "ok", !doctor.failed);
        json_close(&doctor.json, '}');
        fputc('\n', page.file);
    }
    qwend_close(doctor.q);
    code = cmd_page_close(args, &page);
    return code ? code : doctor.failed ? CODE_NO : CODE_OK;
}
