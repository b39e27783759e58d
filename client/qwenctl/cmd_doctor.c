/* cmd_doctor.c - `qwenctl doctor`: what can be wrong, looked at one by one, with what helps.
 *
 * fail: it does not work; warn: it works worse than it could; skip: it could not be looked at.  Exit 1 if
 * anything failed.  Without --fix nothing is changed anywhere. */
#include <stdarg.h>
#include <string.h>

#include "doctor.h"

enum { DOCTOR_TEXT = 1300 };

static const char *const doctor_states[] = {"ok", "warn", "fail", "skip"};

static void doctor_say_json(struct doctor *doctor, const struct doctor_check *check, const char *finding)
{
    struct json *json = &doctor->json;

    json_open(json, NULL, '{');
    json_text(json, "id", check->id, (size_t)-1);
    json_text(json, "state", doctor_states[check->state], (size_t)-1);
    json_text(json, "finding", finding, (size_t)-1);
    if (check->remedy)
        json_text(json, "remedy", check->remedy, (size_t)-1);
    if (check->command)
        json_text(json, "command", check->command, (size_t)-1);
    if (doctor->did.n)
        json_open(json, "did", '[');
    for (size_t i = 0; i < doctor->did.n; i++) {
        char text[DOCTOR_TEXT];

        doctor_fix_text(&doctor->did.items[i], text, sizeof(text));
        json_text(json, NULL, text, (size_t)-1);
    }
    if (doctor->did.n)
        json_close(json, ']');
    json_close(json, '}');
}

static void doctor_say_text(struct doctor *doctor, const struct doctor_check *check, const char *finding)
{
    fprintf(doctor->out, "%-4s  %-18s %s\n", doctor_states[check->state], check->id, finding);
    for (size_t i = 0; i < doctor->did.n; i++) {
        char text[DOCTOR_TEXT];

        doctor_fix_text(&doctor->did.items[i], text, sizeof(text));
        fprintf(doctor->out, "      %-18s did: %s\n", "", text);
    }
    if (check->remedy)
        fprintf(doctor->out, "      %-18s do: %s\n", "", check->remedy);
    if (check->command)
        fprintf(doctor->out, "      %-18s administrator: %s\n", "", check->command);
}

void doctor_say(struct doctor *doctor, const struct doctor_check *check, const char *fmt, ...)
{
    struct doctor_check said = *check;
    char finding[DOCTOR_TEXT];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(finding, sizeof(finding), fmt, ap);
    va_end(ap);
    doctor->failed |= said.state == DOCTOR_FAIL;
    if (said.state == DOCTOR_OK || said.state == DOCTOR_SKIP)
        said.remedy = said.command = NULL;
    if (doctor->args->values->json)
        doctor_say_json(doctor, &said, finding);
    else
        doctor_say_text(doctor, &said, finding);
    doctor_fixes_deinit(&doctor->did);
}

enum code cmd_doctor(const struct cmd_args *args)
{
    struct doctor doctor = {.args = args, .root = ""};
    struct cmd_page page;
    enum code code = cmd_page_open(args, &page);

    if (code)
        return code;
    doctor.out = doctor.json.file = page.file;
    if (args->values->json) {
        json_open(&doctor.json, NULL, '{');
        json_open(&doctor.json, "checks", '[');
    }
    doctor_connect(&doctor);
    doctor_look_at_client(&doctor);
    doctor_look_at_machine(&doctor);
    doctor_look_at_service(&doctor);
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
