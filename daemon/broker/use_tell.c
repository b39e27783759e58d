/* use_tell.c - what is heard of a Use: its progress, and what came of it.  See use.h. */
#include <stdio.h>
#include <string.h>

#include "broker.h"
#include "client.h"
#include "daemon/util/clock.h"
#include "daemon/util/log.h"
#include "proto/frame.h"

enum {
    USE_TELL_MS = 100,  /* between two words of one stage */
    USE_PATH_MAX = 160, /* that is worth copying from one line of text */
};

void use_fill_progress(const struct use *use, Qwp__UseProgress *progress)
{
    static const Qwp__UseProgress__Stage stages[] = {
        [USE_CHECKING] = QWP__USE_PROGRESS__STAGE__CHECKING,
        [USE_DRAINING] = QWP__USE_PROGRESS__STAGE__DRAINING,
        [USE_LOADING] = QWP__USE_PROGRESS__STAGE__LOADING,
        [USE_RETURNING] = QWP__USE_PROGRESS__STAGE__RETURNING,
    };

    qwp__use_progress__init(progress);
    progress->has_stage = true;
    progress->stage = stages[use->stage];
    progress->has_left = use->stage == USE_DRAINING;
    progress->left = progress->has_left ? use_n_left(use) : 0;
    progress->has_load_permille = use->stage >= USE_LOADING;
    progress->load_permille = progress->has_load_permille ? use->broker->supervise.load_permille : 0;
}

static bool use_has_moved(const Qwp__UseProgress *a, const Qwp__UseProgress *b)
{
    return a->stage != b->stage || a->left != b->left || a->load_permille != b->load_permille;
}

void use_tell(struct use *use, bool now)
{
    const uint64_t now_ns = clock_now_ns();
    Qwp__UseProgress progress;

    if (!use->client)
        return;
    use_fill_progress(use, &progress);
    if (use->told_ns &&
        (!use_has_moved(&progress, &use->told) || (!now && now_ns - use->told_ns < USE_TELL_MS * 1000000ull)))
        return;
    if (client_offer(use->client, use->stream, MSG_USE_PROGRESS, 0, &progress.base))
        return; /* no room: the next one */
    use->told = progress;
    use->told_ns = now_ns;
}

static void use_close_stream(struct use *use)
{
    if (use->client)
        client_stream_close(use->client, use->stream);
    use->client = NULL;
}

/* What it takes to have it after the next start of the service, too. */
static void use_advise(const struct use *use, char *text, size_t n)
{
    const struct options *options = use->broker->options;
    const char *model = strlen(use->model) <= USE_PATH_MAX ? use->model : "its path";
    char where[200];

    *text = '\0';
    if (!strcmp(use->model, options->model))
        return;
    if (options_place_model(options, where, sizeof(where)))
        snprintf(text, n, ", until qwend is stopped; to keep it, write model = %s in %s", model, where);
    else
        snprintf(text, n, ", until qwend is stopped; to keep it, start qwend with --model %s", model);
}

void use_answer(struct use *use, bool already)
{
    const Qwe__Ready *ready = use->broker->supervise.ready;
    const char *file = ready->model && ready->model->file ? ready->model->file : use->model;
    Qwp__Used used = QWP__USED__INIT;
    char text[sizeof(((struct fault *)0)->text)], advice[400];

    if (already) {
        snprintf(text, sizeof(text), "%.*s is served already", USE_FIT(use->model, 400));
    } else {
        use_advise(use, advice, sizeof(advice));
        snprintf(text, sizeof(text), "%.*s is served, after %.1f s%s", USE_FIT(file, 60),
                 clock_ms(clock_now_ns() - use->began_ns) / 1e3, advice);
        log_info("use: %s", text);
    }
    if (!use->client)
        return;
    used.model = ready->model;
    used.has_already = true;
    used.already = already;
    used.text = text;
    client_put(use->client, use->stream, MSG_USED, FRAME_END_STREAM, &used.base);
    use_close_stream(use);
}

void use_refuse(struct use *use, const struct fault *fault)
{
    log_warn("use of %s: %d %s", use->model ? use->model : "nothing", fault->code, fault->text);
    if (!use->client)
        return;
    client_refuse(use->client, use->stream, fault);
    use_close_stream(use);
}
