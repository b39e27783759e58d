/* llama_greedy.c - greedy continuations by llama.cpp, for check_hf.py.
 *
 * usage: llama_greedy MODEL < lines of "COUNT ID ID ..."; prints the COUNT most likely next ids, one line
 * each. Not built with the project: cc -I LLAMA/include -I LLAMA/ggml/include llama_greedy.c -L
 * LLAMA/build/bin -lllama -lggml -lggml-base.  Keys and values are kept in float32, so that only the weights'
 * type makes a difference. */
#include <llama.h>
#include <stdio.h>
#include <stdlib.h>

enum { CONTEXT = 4096 };

static void quiet(enum ggml_log_level level, const char *text, void *user)
{
    (void)user;
    if (level == GGML_LOG_LEVEL_ERROR)
        fputs(text, stderr);
}

/* Reads COUNT and the prompt from a line; the number of ids, or -1 if the line is none. */
static int line_parse(char *line, llama_token *ids, long *ret_count)
{
    char *end;
    int n = 0;

    *ret_count = strtol(line, &end, 10);
    if (end == line || *ret_count < 1)
        return -1;
    for (line = end; n < CONTEXT; line = end) {
        ids[n] = (llama_token)strtol(line, &end, 10);
        if (end == line)
            return n > 0 && n + *ret_count <= CONTEXT ? n : -1;
        n++;
    }
    return -1;
}

static llama_token best_token(struct llama_context *context, int n_vocab)
{
    const float *logits = llama_get_logits_ith(context, -1);
    int best = 0;

    for (int i = 1; i < n_vocab; i++)
        if (logits[i] > logits[best])
            best = i;
    return best;
}

static int continue_line(struct llama_context *context, int n_vocab, llama_token *ids, int n, long count)
{
    llama_memory_clear(llama_get_memory(context), true);
    for (long i = 0; i < count; i++) {
        if (llama_decode(context, llama_batch_get_one(ids, i ? 1 : n)) != 0)
            return -1;
        ids[0] = best_token(context, n_vocab);
        printf("%d%c", ids[0], i + 1 < count ? ' ' : '\n');
    }
    return 0;
}

int main(int argc, char **argv)
{
    static char line[CONTEXT * 8];
    static llama_token ids[CONTEXT];
    struct llama_context_params params = llama_context_default_params();
    struct llama_model *model;
    struct llama_context *context;
    long count;

    llama_log_set(quiet, NULL);
    model = argc == 2 ? llama_model_load_from_file(argv[1], llama_model_default_params()) : NULL;
    params.n_ctx = params.n_batch = CONTEXT;
    params.n_threads = params.n_threads_batch = 1;
    params.type_k = params.type_v = GGML_TYPE_F32;
    params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    context = model ? llama_init_from_model(model, params) : NULL;
    if (!context) {
        fprintf(stderr, "llama_greedy: usage: llama_greedy MODEL, and the model must load\n");
        return EXIT_FAILURE;
    }
    while (fgets(line, sizeof(line), stdin)) {
        const int n = line_parse(line, ids, &count);
        if (n < 0 ||
            continue_line(context, llama_vocab_n_tokens(llama_model_get_vocab(model)), ids, n, count) < 0) {
            fprintf(stderr, "llama_greedy: a line is not \"COUNT ID ...\" or too long, or decoding failed\n");
            return EXIT_FAILURE;
        }
    }
    llama_free(context);
    llama_model_free(model);
    return EXIT_SUCCESS;
}
