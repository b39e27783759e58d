/* doc_main.c - qwend-http-doc, a tool of the build: a manual page with the keys of qwend-http.conf in it. */
#include "daemon/util/conf_page.h"
#include "options.h"

int main(int argc, char **argv)
{
    struct options options;
    struct conf_table table;
    int r;

    options_table(&options, &table);
    r = conf_page_run(argc, argv, &table, 1);
    options_deinit(&options);
    return r;
}
