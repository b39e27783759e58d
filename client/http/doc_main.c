/* doc_main.c - qwend-http-doc, a tool of the build: a manual page with the keys of qwend-http.conf in it. */
#include "daemon/util/conf_page.h"
#include "options.h"

int main(int argc, char **argv)
{
    struct options options;
    struct server_conf server;
    struct conf_table tables[2];
    int r;

    options_table(&options, &tables[0]);
    servers_table(&server, &tables[1]);
    r = conf_page_run(argc, argv, tables, ARRAY_SIZE(tables));
    options_deinit(&options);
    return r;
}
