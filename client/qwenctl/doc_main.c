/* doc_main.c - qwenctl-doc, a tool of the build: prints the source of a manual page.
 *
 * usage: qwenctl-doc               qwenctl(1)
 *        qwenctl-doc CHAPTERS VERB  qwenctl-VERB(1); CHAPTERS is verbs.scd */
#include <string.h>

#include "file.h"
#include "man.h"

enum { DOC_MAX = 1 << 20 };

static int doc_verb(const char *path, const char *verb)
{
    const struct cmd *cmd = cmd_find(verb);
    _cleanup_(freep) char *text = NULL;
    const char *more;
    size_t n;
    int r = cmd ? file_read(path, DOC_MAX, &text, &n) : 0;

    if (!cmd || r) {
        fprintf(stderr, "qwenctl-doc: %s: %s\n", cmd ? path : verb,
                cmd ? r > 0 ? "too large" : strerror(-r) : "no such verb");
        return 2;
    }
    more = man_find_chapter(text, verb, &n);
    if (!more) {
        fprintf(stderr, "qwenctl-doc: %s has no chapter \"# %s\"\n", path, verb);
        return 1;
    }
    man_put_verb(stdout, cmd, more, n);
    return 0;
}

int main(int argc, char **argv)
{
    int r = 0;

    if (argc != 1 && argc != 3) {
        fputs("usage: qwenctl-doc [CHAPTERS VERB]\n", stderr);
        return 2;
    }
    if (argc == 1)
        man_put(stdout);
    else
        r = doc_verb(argv[1], argv[2]);
    return r ? r : fflush(stdout) ? 1 : 0;
}
