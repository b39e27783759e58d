/* doc_main.c - qwenctl-doc, a tool of the build: prints the source of the manual page. */
#include "man.h"

int main(void)
{
    man_put(stdout);
    return fflush(stdout) ? 1 : 0;
}
