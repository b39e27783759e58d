/* doc_main.c - qwend-doc, a tool of the build: a manual page with the keys of qwend.conf in it. */
#include "daemon/util/conf_page.h"
#include "options.h"
#include "policy_read.h"
#include "publish.h"

int main(int argc, char **argv)
{
    struct options options;
    struct policy_class class;
    struct publish_item item;
    struct conf_table tables[3];
    int r = options_table(&options, &tables[0]);

    policy_table(&class, &tables[1]);
    publish_table(&item, &tables[2]);
    r = r ? 1 : conf_page_run(argc, argv, tables, ARRAY_SIZE(tables));
    options_deinit(&options);
    return r;
}
