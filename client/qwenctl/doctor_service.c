/* doctor_service.c - the daemon: is it there, does it serve, and on what?  See doctor.h. */
#include <string.h>

#include "doctor.h"

void doctor_connect(struct doctor *doctor)
{
    const struct opt_int timeout = doctor->args->values->timeout_ms;
    int r = qwend_open_as(&doctor->q, doctor->args->values->socket, 0, "qwenctl " QWEND_VERSION);

    doctor->connected = r;
    if (r) {
        doctor->q = NULL;
        snprintf(doctor->trouble, sizeof(doctor->trouble), "%s", qwend_error(NULL));
        return;
    }
    qwend_set_timeout(doctor->q, timeout.given ? (int)timeout.value : 10000);
    r = qwend_status(doctor->q, &doctor->info);
    doctor->has_info = !r;
    if (r)
        snprintf(doctor->trouble, sizeof(doctor->trouble), "%s", qwend_error(doctor->q));
}

static void service_look_at_connection(struct doctor *doctor)
{
    const bool denied = doctor->connected == -EACCES;

    if (doctor->connected)
        doctor_say(doctor,
                   &(struct doctor_check){
                       "service.connect", DOCTOR_FAIL,
                       denied ? "ask the administrator: ls -l /run/qwend"
                              : "systemctl start qwend.socket; or qwend --socket PATH --model FILE.gguf",
                       denied ? NULL : "sudo systemctl enable --now qwend.socket"},
                   "%s", doctor->trouble);
    else
        doctor_say(doctor,
                   &(struct doctor_check){"service.connect", doctor->has_info ? DOCTOR_OK : DOCTOR_FAIL,
                                          "journalctl -u qwend"},
                   "%s on %s", doctor->has_info ? doctor->info.server : doctor->trouble,
                   qwend_socket_path(doctor->q));
}

static void service_look_at_state(struct doctor *doctor)
{
    const qwend_status_info *info = &doctor->info;
    const bool serves = info->state == 3 || info->state == 4;

    doctor_say(doctor,
               &(struct doctor_check){"service.version",
                                      strstr(info->server, QWEND_VERSION) ? DOCTOR_OK : DOCTOR_WARN,
                                      "install the same version of both, then have the new one take over",
                                      "sudo qwenctl upgrade"},
               "qwenctl %s, %s", QWEND_VERSION, info->server);
    doctor_say(doctor,
               &(struct doctor_check){"service.state",
                                      info->state == 6 ? DOCTOR_FAIL
                                      : serves         ? DOCTOR_OK
                                                       : DOCTOR_WARN,
                                      info->state == 6
                                          ? "the finding names what is wrong; journalctl -u qwend"
                                      : info->state == 5 ? "qwenctl resume, by an administrator"
                                                         : "wait: qwenctl status",
                                      info->state == 5 ? "sudo qwenctl resume" : NULL},
               "%s%s%s", info->state_name, *info->note ? ": " : "", info->note);
}

/* backend = auto took the CPU: the daemon's note says why, and on a machine without a GPU that is how it is
 * meant. */
static void service_look_at_engine(struct doctor *doctor)
{
    const qwend_status_info *info = &doctor->info;
    const bool fell_back = !strncmp(info->note, "backend auto", strlen("backend auto"));
    const bool worse = info->state == 4 || (fell_back && doctor->has_gpu);

    doctor_say(doctor,
               &(struct doctor_check){
                   "service.backend", worse ? DOCTOR_WARN : DOCTOR_OK,
                   "mend what the finding names; backend = cpu in qwend.conf says that it is meant"},
               "%s%s%s, %u threads%s%s", *info->backend ? info->backend : "no engine", *info->isa ? " " : "",
               info->isa, info->threads, worse || fell_back ? "; " : "",
               worse || fell_back ? info->note : "");
    doctor_say(doctor,
               &(struct doctor_check){
                   "service.engine", info->engine_restarts ? DOCTOR_WARN : DOCTOR_OK,
                   "journalctl -u qwend; a request that crashes engines is a bug, please report it"},
               "started again %u times", info->engine_restarts);
}

static void service_look_at_memory(struct doctor *doctor)
{
    const qwend_status_info *info = &doctor->info;
    const bool is_system = !strncmp(qwend_socket_path(doctor->q), "/run/qwend/", strlen("/run/qwend/"));

    doctor_say(doctor,
               &(struct doctor_check){
                   "service.memory", info->weights_locked || !info->weights_bytes ? DOCTOR_OK : DOCTOR_WARN,
                   is_system ? "LimitMEMLOCK=infinity in a drop-in of qwend.service"
                             : "start qwend behind ulimit -l unlimited",
                   is_system ? "sudo mkdir -p /etc/systemd/system/qwend.service.d && printf "
                               "'[Service]\\nLimitMEMLOCK=infinity\\n' | sudo tee "
                               "/etc/systemd/system/qwend.service.d/memlock.conf && sudo systemctl "
                               "daemon-reload && sudo systemctl restart qwend"
                             : NULL},
               "weights of %.0f MiB %s in memory", (double)info->weights_bytes / (1 << 20),
               info->weights_locked ? "locked" : "not locked");
}

/* One short answer.  Its words do not matter, and are not shown. */
static void service_ask(struct doctor *doctor)
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
        doctor_say(
            doctor,
            &(struct doctor_check){"service.answer", DOCTOR_FAIL, "qwenctl status; journalctl -u qwend"},
            "%s", event.type == QWEND_EV_ERROR ? event.text : qwend_error(doctor->q));
    else
        doctor_say(doctor, &(struct doctor_check){"service.answer", DOCTOR_OK},
                   "%u tokens in %.0f ms behind a prompt of %u", event.usage->answer_tokens,
                   event.usage->decode_ms, event.usage->prompt_tokens);
    if (!r || r == 1)
        qwend_stream_free(stream);
}

void doctor_look_at_service(struct doctor *doctor)
{
    static const char *const rest[] = {"service.version", "service.state",  "service.backend",
                                       "service.engine",  "service.memory", "service.answer"};

    service_look_at_connection(doctor);
    for (size_t i = 0; !doctor->has_info && i < ARRAY_SIZE(rest); i++)
        doctor_say(doctor, &(struct doctor_check){rest[i], DOCTOR_SKIP}, "no daemon");
    if (!doctor->has_info)
        return;
    service_look_at_state(doctor);
    service_look_at_engine(doctor);
    service_look_at_memory(doctor);
    if (doctor->info.state == 3 || doctor->info.state == 4)
        service_ask(doctor);
    else
        doctor_say(doctor, &(struct doctor_check){"service.answer", DOCTOR_SKIP}, "it does not serve");
}
