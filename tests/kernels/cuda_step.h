/* cuda_step.h - what tests of the CUDA mixers share: steps on the device, random rows, checks. */
#pragma once

#include <math.h>
#include <stdio.h>

#include <vector>

#include "kernels/cuda/act.h"
#include "kernels/cuda/dev.cuh"
#include "kernels/cuda/step.h"
extern "C" {
#include "kernels/kernels.h"
}
#include "tests/emu/emu_test.h"

/* A step on the device.  n_span of the batch may be more than the step has: blocks without work. */
struct cuda_step {
    struct kern_cuda_step step;
    int32_t *n, *row_span, *pages;
    struct kern_cuda_span *spans;
};

static inline struct cuda_step cuda_step_new(const struct kern_batch *batch, int max_ctx)
{
    std::vector<struct kern_cuda_span> spans;
    std::vector<int32_t> row_span, pages;
    const int32_t n[2] = {batch->n_tok, batch->n_span};
    struct cuda_step s = {};

    for (int i = 0; i < batch->n_span; i++) {
        const struct kern_span *const from = &batch->spans[i];
        const int n_page = CEIL_DIV(from->pos0 + from->n_tok, int(KERN_PAGE_TOK));
        assert_true(from->pos0 + from->n_tok <= max_ctx);
        spans.push_back({from->row0, from->n_tok, from->pos0, from->slot, int32_t(pages.size())});
        row_span.insert(row_span.end(), size_t(from->n_tok), i);
        if (from->pages)
            pages.insert(pages.end(), from->pages, from->pages + n_page);
    }
    s.n = emu_device(n, 2);
    s.spans = emu_device(spans.data(), spans.size());
    s.row_span = emu_device(row_span.data(), row_span.size());
    pages.push_back(-1); /* steps without any */
    s.pages = emu_device(pages.data(), pages.size());
    s.step = {s.n, s.spans, s.row_span, s.pages, NULL};
    return s;
}

static inline void cuda_step_free(struct cuda_step *s)
{
    cudaFree(s->n);
    cudaFree(s->spans);
    cudaFree(s->row_span);
    cudaFree(s->pages);
}

/* Several sequences of rows, and how steps cut them. */
struct cuda_seqs {
    int n_seq, len;
    int (*slot_of)(int seq);
    const int32_t *(*pages_of)(int seq); /* NULL: none */
    int jump_at, jump;                   /* row jump_at and those after it are jump positions further on */
};
struct cuda_cut {
    int seq, n_tok;
};
typedef std::vector<std::vector<struct cuda_cut>> cuda_steps;
typedef void cuda_run_step(void *data, const struct kern_batch *b, const std::vector<struct cuda_cut> &cuts,
                           void *ctx);

static inline void cuda_run(const struct cuda_seqs *seqs, const cuda_steps &plan, cuda_run_step *step,
                            void *data, void *ctx)
{
    std::vector<int> pos(size_t(seqs->n_seq), 0);

    for (const std::vector<struct cuda_cut> &cuts : plan) {
        std::vector<struct kern_span> spans;
        struct kern_batch b = {};
        for (const struct cuda_cut &c : cuts) {
            int *const at = &pos[size_t(c.seq)];
            const int pos0 = seqs->jump && *at >= seqs->jump_at ? *at + seqs->jump : *at;
            spans.push_back({b.n_tok, c.n_tok, pos0, seqs->slot_of(c.seq),
                             seqs->pages_of ? seqs->pages_of(c.seq) : NULL});
            b.n_tok += c.n_tok;
            *at += c.n_tok;
            assert_true(*at <= seqs->len);
        }
        b.n_span = int(spans.size());
        b.spans = spans.data();
        step(data, &b, cuts, ctx);
    }
}

/* Where a span's rows are among all of them. */
static inline size_t cuda_row_of(const struct cuda_seqs *seqs, const struct cuda_cut *cut,
                                 const struct kern_span *span)
{
    const int row = seqs->jump && span->pos0 >= seqs->jump_at ? span->pos0 - seqs->jump : span->pos0;

    return size_t(cut->seq * seqs->len + row);
}

/* all: rows by sequence and position; the step's of them, one after another. */
template <class T>
static inline std::vector<T> cuda_gather(const struct cuda_seqs *seqs, const std::vector<T> &all,
                                         const struct kern_batch *b, const std::vector<struct cuda_cut> &cuts)
{
    const size_t width = all.size() / size_t(seqs->n_seq * seqs->len);
    std::vector<T> step(size_t(b->n_tok) * width);

    for (int i = 0; i < b->n_span; i++)
        memcpy(&step[size_t(b->spans[i].row0) * width],
               &all[cuda_row_of(seqs, &cuts[size_t(i)], &b->spans[i]) * width],
               size_t(b->spans[i].n_tok) * width * sizeof(T));
    return step;
}

template <class T>
static inline void cuda_scatter(const struct cuda_seqs *seqs, std::vector<T> *all, const std::vector<T> &step,
                                const struct kern_batch *b, const std::vector<struct cuda_cut> &cuts)
{
    const size_t width = all->size() / size_t(seqs->n_seq * seqs->len);

    for (int i = 0; i < b->n_span; i++)
        memcpy(&(*all)[cuda_row_of(seqs, &cuts[size_t(i)], &b->spans[i]) * width],
               &step[size_t(b->spans[i].row0) * width], size_t(b->spans[i].n_tok) * width * sizeof(T));
}

static inline float cuda_uniform(uint64_t *seed, float lo, float hi)
{
    return lo + (hi - lo) * (float(emu_next(seed) >> 8) * 0x1p-24f);
}

static inline std::vector<float> cuda_floats(uint64_t *seed, size_t n, float lo, float hi)
{
    std::vector<float> v(n);

    for (float &x : v)
        x = cuda_uniform(seed, lo, hi);
    return v;
}

/* |got - want| <= tolerance (1 + |want|) */
static inline void cuda_check_near(const std::vector<float> &got, const std::vector<float> &want,
                                   double tolerance, const char *what)
{
    assert_int_equal(got.size(), want.size());
    for (size_t i = 0; i < got.size(); i++)
        if (!(fabs(double(got[i]) - double(want[i])) <= tolerance * (1 + fabs(double(want[i])))))
            fail_msg("%s [%zu]: %.9g, expected %.9g", what, i, double(got[i]), double(want[i]));
}

/* The groups are what act.h says of the f32 values beside them, bit for bit. */
static inline void cuda_check_groups(const std::vector<float> &x, const std::vector<int8_t> &q,
                                     const std::vector<struct kern_cuda_group> &group, const char *what)
{
    for (size_t g = 0; g < x.size() / KERN_CUDA_GROUP; g++) {
        const float *const v = &x[g * KERN_CUDA_GROUP];
        float most = 0.0f;
        int sum = 0;
        for (int i = 0; i < KERN_CUDA_GROUP; i++)
            most = isnan(v[i]) || isnan(most) ? NAN : fmaxf(most, fabsf(v[i]));
        const float d = most / 127.0f, per = d >= 0x1p-126f ? 1.0f / d : 0.0f;
        for (size_t i = 0; i < KERN_CUDA_GROUP; i++) {
            const int c = isnan(most) ? 0 : int(rintf(fminf(fmaxf(v[i] * per, -127.0f), 127.0f)));
            if (q[g * KERN_CUDA_GROUP + i] != c)
                fail_msg("%s group %zu [%zu]: %d, expected %d", what, g, i, q[g * KERN_CUDA_GROUP + i], c);
            sum += c;
        }
        if (isnan(d) ? !isnan(group[g].d) || !isnan(group[g].dsum)
                     : group[g].d != d || group[g].dsum != d * float(sum))
            fail_msg("%s group %zu: %g, %g, expected %g, %g", what, g, double(group[g].d),
                     double(group[g].dsum), double(d), double(d * float(sum)));
    }
}

/* The definition; planned, no weights. */
static inline struct kern *cuda_ref(const struct kern_shape *shape)
{
    const struct kern_options options = {"ref", NULL, 1};
    struct kern *kern;

    assert_int_equal(kern_open(&options, NULL, &kern), 0);
    assert_int_equal(kern->ops->plan(kern, shape), 0);
    return kern;
}
