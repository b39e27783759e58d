/* hello.c - the smallest use of libqwend: ask, print, done.
 *
 *     cc hello.c $(pkg-config --cflags --libs qwend) && ./a.out "Why is the sky blue?" */
#include <qwend.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    qwend *q = NULL;
    char *text = NULL;
    int r;

    r = qwend_open(&q, NULL, 0);
    if (r == 0)
        r = qwend_ask(q, argc > 1 ? argv[1] : "Say hello.", &text, NULL);
    if (r == 0)
        puts(text);
    else
        fprintf(stderr, "%s: %s\n", argv[0], qwend_error(q));
    free(text);
    qwend_close(q);
    return r != 0;
}
