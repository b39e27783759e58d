/* lsp_verb.c - verbs, questions, code in answers.  See lsp_verb.h. */
#include "lsp_verb.h"

#include <stdio.h>
#include <string.h>

enum { LSP_AROUND_BYTES = 4 << 10 }; /* of the document, on each side of what is asked about */

static const struct lsp_verb lsp_verb_table[] = {
    {"qwend.fix", "Fix", "quickfix", "Correct the mistakes in the marked part.", LSP_VERB_REPLACE, false},
    {"qwend.explain", "Explain", "source.qwend.explain", "Explain what the marked part does, briefly.",
     LSP_VERB_TELL, false},
    {"qwend.document", "Document", "refactor.rewrite",
     "Add the comments that the marked part lacks, and change nothing else.", LSP_VERB_REPLACE, false},
    {"qwend.test", "Write a test", "source.qwend.test", "Write a test for the marked part.", LSP_VERB_APPEND,
     false},
    {"qwend.rewrite", "Rewrite", "refactor.rewrite", "Rewrite the marked part as follows:", LSP_VERB_REPLACE,
     true},
};

const struct lsp_verb *lsp_verbs(size_t *ret_n)
{
    *ret_n = ARRAY_SIZE(lsp_verb_table);
    return lsp_verb_table;
}

const struct lsp_verb *lsp_verb_find(const char *command)
{
    for (size_t i = 0; i < ARRAY_SIZE(lsp_verb_table); i++)
        if (!strcmp(lsp_verb_table[i].command, command))
            return &lsp_verb_table[i];
    return NULL;
}

char *lsp_verb_question(const struct lsp_verb *verb, const struct lsp_doc *doc, size_t begin, size_t end,
                        const char *name, const char *words, const char *complaint)
{
    size_t from = lsp_line_start(doc->text, begin > LSP_AROUND_BYTES ? begin - LSP_AROUND_BYTES : 0);
    size_t to = lsp_line_end(doc->text, doc->n, MIN(end + LSP_AROUND_BYTES, doc->n));
    char *text = NULL;
    size_t n = 0;
    FILE *file = open_memstream(&text, &n);

    if (!file)
        return NULL;
    if (begin - from > 2 * LSP_AROUND_BYTES) /* one long line: it would say little */
        from = begin;
    if (to - end > 2 * LSP_AROUND_BYTES)
        to = end;
    fprintf(file, "This is a part of the %s file %s:\n\n", doc->language, name);
    fwrite(doc->text + from, 1, begin - from, file);
    fputs("\n<<<<<<<< marked\n", file);
    fwrite(doc->text + begin, 1, end - begin, file);
    fputs("\n>>>>>>>> marked\n", file);
    fwrite(doc->text + end, 1, to - end, file);
    fprintf(file, "\n\n%s%s%s\n", verb->ask, words ? " " : "", words ? words : "");
    if (complaint)
        fprintf(file, "It is said of it: %s\n", complaint);
    if (verb->does != LSP_VERB_TELL)
        fputs("Answer with the code alone, without what stands around the marked part.\n", file);
    if (fclose(file)) {
        free(text);
        return NULL;
    }
    return text;
}

/* The start of the line behind the one that text[at] is in. */
static size_t lsp_next_line(const char *text, size_t n, size_t at)
{
    const char *end = memchr(text + at, '\n', n - at);

    return end ? (size_t)(end - text) + 1 : n;
}

char *lsp_verb_code(char *text, size_t n, bool has_break, size_t *ret_n)
{
    const char *open = memmem(text, n, "```", 3), *close = NULL;
    size_t begin = 0, end = n;

    if (open && (open == text || open[-1] == '\n')) {
        begin = lsp_next_line(text, n, (size_t)(open - text));
        close = memmem(text + begin, n - begin, "```", 3);
        end = close ? (size_t)(close - text) : n;
    }
    while (!close && begin < end && text[begin] == '\n')
        begin++;
    while (end > begin && (text[end - 1] == '\n' || text[end - 1] == '\r'))
        end--;
    if (has_break && end > begin)
        text[end++] = '\n';
    *ret_n = end - begin;
    return text + begin;
}
