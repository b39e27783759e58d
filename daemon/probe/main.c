/* main.c - qwend-probe's verb table; help is made from it.  See probe.h. */
#include "probe.h"

#include <string.h>

static const struct probe_verb *const probe_verbs[] = {
    &probe_inspect, &probe_tokenize, &probe_detokenize, &probe_render, &probe_logits, &probe_greedy,
    &probe_sample,  &probe_dequant,  &probe_bench,      &probe_eval,   &probe_fit,
};

static int probe_help(FILE *to)
{
    fprintf(to, "qwend-probe " QWEND_VERSION
                ": the model library from the shell\n\nusage: qwend-probe VERB ...\n\n");
    for (size_t i = 0; i < ARRAY_SIZE(probe_verbs); i++)
        fprintf(to, "  %s %s\n        %s\n", probe_verbs[i]->name, probe_verbs[i]->args,
                probe_verbs[i]->help);
    return to == stdout ? 0 : 2;
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return probe_help(stderr);
    if (!strcmp(argv[1], "help") || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))
        return probe_help(stdout);
    if (!strcmp(argv[1], "--version"))
        return puts("qwend-probe " QWEND_VERSION) < 0;
    for (size_t i = 0; i < ARRAY_SIZE(probe_verbs); i++) {
        if (strcmp(argv[1], probe_verbs[i]->name))
            continue;
        int status = probe_verbs[i]->run(probe_verbs[i], argc - 1, argv + 1);
        if (!status && (fflush(stdout) || ferror(stdout)))
            return probe_error("standard output: %s", strerror(errno));
        return status;
    }
    fprintf(stderr, "qwend-probe: no verb \"%s\"\n\n", argv[1]);
    return probe_help(stderr);
}
