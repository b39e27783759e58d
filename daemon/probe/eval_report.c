/* eval_report.c - counts by family.  See eval_report.h. */
#include "eval_report.h"

#include <math.h>
#include <string.h>
#include <time.h>

/* counting */

static struct eval_family *eval_find_family(const struct eval_report *report, const char *name)
{
    for (size_t i = 0; i < report->n_families; i++)
        if (!strcmp(report->families[i].name, name))
            return &report->families[i];
    return NULL;
}

int eval_report_init(struct eval_report *report, const struct eval_suite *suite)
{
    struct eval_family *families = calloc(suite->n, sizeof(*families)); /* at most as many */

    if (!families)
        return err_origin(-ENOMEM);
    *report = (struct eval_report){.families = families, .n_items = suite->n, .all.name = "all"};
    for (size_t i = 0; i < suite->n; i++)
        if (!eval_find_family(report, suite->items[i].family))
            families[report->n_families++].name = suite->items[i].family;
    return 0;
}

void eval_report_deinit(struct eval_report *report)
{
    free(report->families);
    *report = (struct eval_report){0};
}

static void eval_family_add(struct eval_family *f, const struct eval_done *done, bool right)
{
    f->n++;
    f->n_right += right;
    f->n_cut += done->cut;
    f->n_reasoning += done->n_reasoning;
    f->n_answer += done->n_answer;
    eval_kl_merge(&f->kl, &done->kl);
}

void eval_report_add(struct eval_report *report, const struct eval_item *item, const struct eval_done *done,
                     bool right)
{
    eval_family_add(eval_find_family(report, item->family), done, right);
    eval_family_add(&report->all, done, right);
}

void eval_wilson(int64_t n_right, int64_t n, double *ret_lo, double *ret_hi)
{
    const double z = 1.959963984540054; /* the normal distribution's 97.5 % point */
    const double k = (double)n, p = (double)n_right / k, z2 = z * z;
    const double middle = (p + z2 / (2 * k)) / (1 + z2 / k);
    const double half = z / (1 + z2 / k) * sqrt(p * (1 - p) / k + z2 / (4 * k * k));

    *ret_lo = MAX(middle - half, 0.0);
    *ret_hi = MIN(middle + half, 1.0);
}

/* table */

static int eval_name_width(const struct eval_report *report)
{
    size_t width = 6;

    for (size_t i = 0; i < report->n_families; i++)
        width = MAX(width, strlen(report->families[i].name));
    return (int)width;
}

static double eval_mean(double sum, int64_t n)
{
    return n ? sum / (double)n : 0;
}

static void eval_print_family(const struct eval_family *f, int width)
{
    double lo, hi;

    if (!f->n) {
        printf("%-*s %6d %6d          -                  -          -        -        -\n", width, f->name, 0,
               0);
        return;
    }
    eval_wilson(f->n_right, f->n, &lo, &hi);
    printf("%-*s %6lld %6lld %8.1f %%   %5.1f .. %5.1f %% %10.1f %8.1f %8lld\n", width, f->name,
           (long long)f->n, (long long)f->n_right, 100 * eval_mean((double)f->n_right, f->n), 100 * lo,
           100 * hi, eval_mean((double)f->n_reasoning, f->n), eval_mean((double)f->n_answer, f->n),
           (long long)f->n_cut);
}

static void eval_print_kl(const struct eval_family *f, int width)
{
    printf("%-*s %6lld %8lld %11.3g %11.3g %8.2f %%\n", width, f->name, (long long)f->n, (long long)f->kl.n,
           eval_mean(f->kl.sum, f->kl.n), f->kl.max, 100 * eval_mean((double)f->kl.n_same, f->kl.n));
}

void eval_report_print(const struct eval_report *report)
{
    void (*const print)(const struct eval_family *, int) =
        report->reference ? eval_print_kl : eval_print_family;
    const int width = eval_name_width(report);

    if (report->reference)
        printf("%-*s %6s %8s %11s %11s %10s\n", width, "family", "n", "tokens", "mean KL", "max KL",
               "same best");
    else
        printf("%-*s %6s %6s %10s %18s %10s %8s %8s\n", width, "family", "n", "right", "accuracy",
               "95 % interval", "thinking", "answer", "cut off");
    for (size_t i = 0; i < report->n_families; i++)
        print(&report->families[i], width);
    if (report->n_families != 1)
        print(&report->all, width);
    printf("\n%s%s%s on %s: thinking %s, ", report->model, report->reference ? " against " : "",
           report->reference ? report->reference : "", report->suite, report->thinking ? "on" : "off");
    if (report->by_score)
        printf("choices by score, ");
    else if (report->sampling->temperature > 0)
        printf("temperature %g, seed %llu, ", (double)report->sampling->temperature,
               (unsigned long long)report->sampling->seed);
    else
        printf("greedy, ");
    printf("at most %d tokens; %s %s, %d threads, %.1f s\n", report->max_tokens, report->pm->kern->ops->name,
           report->pm->kern->isa, report->pm->kern->n_threads, report->seconds);
    if (report->interrupted)
        printf("interrupted: %lld of %zu items\n", (long long)report->all.n, report->n_items);
}

/* JSON */

static json_t *eval_json_family(const struct eval_family *f, bool kl)
{
    double lo = 0, hi = 1; /* of nothing nothing is known */

    if (kl)
        return json_pack("{s:s, s:I, s:I, s:f, s:f, s:f}", "family", f->name, "n", (json_int_t)f->n, "tokens",
                         (json_int_t)f->kl.n, "mean_kl", eval_mean(f->kl.sum, f->kl.n), "max_kl", f->kl.max,
                         "same_best", eval_mean((double)f->kl.n_same, f->kl.n));
    if (f->n)
        eval_wilson(f->n_right, f->n, &lo, &hi);
    return json_pack("{s:s, s:I, s:I, s:f, s:[f, f], s:f, s:f, s:I}", "family", f->name, "n",
                     (json_int_t)f->n, "right", (json_int_t)f->n_right, "accuracy",
                     eval_mean((double)f->n_right, f->n), "interval", lo, hi, "mean_reasoning_tokens",
                     eval_mean((double)f->n_reasoning, f->n), "mean_answer_tokens",
                     eval_mean((double)f->n_answer, f->n), "cut", (json_int_t)f->n_cut);
}

static json_t *eval_json_sampling(const struct sample_params *s)
{
    return json_pack("{s:f, s:f, s:i, s:f, s:f, s:I}", "temperature", (double)s->temperature, "top_p",
                     (double)s->top_p, "top_k", s->top_k, "min_p", (double)s->min_p, "presence_penalty",
                     (double)s->presence_penalty, "seed", (json_int_t)s->seed);
}

int eval_report_print_json(const struct eval_report *report)
{
    json_t *families = json_array(), *all;
    int failed;

    for (size_t i = 0; i < report->n_families; i++)
        json_array_append_new(families, eval_json_family(&report->families[i], report->reference));
    all = json_pack("{s:s, s:s*, s:s, s:s, s:b, s:i, s:o, s:s, s:s, s:i, s:I, s:b, s:f, s:o, s:o}", "model",
                    report->model, "reference", report->reference, "suite", report->suite, "choice_by",
                    report->by_score ? "score" : "text", "think", report->thinking, "max_tokens",
                    report->max_tokens, "sampling", eval_json_sampling(report->sampling), "backend",
                    report->pm->kern->ops->name, "isa", report->pm->kern->isa, "threads",
                    report->pm->kern->n_threads, "items", (json_int_t)report->n_items, "interrupted",
                    report->interrupted, "seconds", report->seconds, "families", families, "all",
                    eval_json_family(&report->all, report->reference));
    failed = !all || json_dumpf(all, stdout, JSON_COMPACT) || putchar('\n') < 0;
    json_decref(all);
    return failed ? probe_error("cannot write the report") : 0;
}

/* progress */

double eval_now_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

void eval_progress_start(struct eval_progress *p, size_t n_items)
{
    *p = (struct eval_progress){.on = isatty(STDERR_FILENO), .start_s = eval_now_s(), .n_items = n_items};
}

void eval_progress_show(struct eval_progress *p)
{
    enum { BAR = 24 };
    static const char full[] = "########################", empty[] = "........................";
    const double now = eval_now_s(), spent = now - p->start_s;
    const int filled = (int)(BAR * p->n_done / p->n_items);
    char left[32] = "";

    if (!p->on || (now - p->shown_s < 0.1 && p->n_done < p->n_items))
        return;
    p->shown_s = now;
    if (p->n_done) {
        const long s = lround(spent / (double)p->n_done * (double)(p->n_items - p->n_done));

        snprintf(left, sizeof(left), "%ld:%02ld:%02ld left", s / 3600, s / 60 % 60, s % 60);
    }
    fprintf(stderr, "\r[%.*s%.*s] %zu/%zu  %.0f tok/s  %s\033[K", filled, full, BAR - filled, empty,
            p->n_done, p->n_items, (double)p->n_tok / MAX(spent, 1e-3), left);
}

void eval_progress_clear(const struct eval_progress *p)
{
    if (p->on)
        fputs("\r\033[K", stderr);
}
