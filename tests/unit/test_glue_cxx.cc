// test_glue_cxx.cc - the glue headers are C++ too, and none of their functions is unused by mistake.
#ifdef HAVE_SD_EVENT
#include "client/lib/glue/qwend-sd-event.h"
#endif
#ifdef HAVE_GLIB
#include "client/lib/glue/qwend-glib.h"
#endif
#include "client/lib/glue/qwend-libevent.h"

static void on_gone(qwend *, int, void *)
{
}

int main(int argc, char **)
{
    qwend *q = nullptr;
    qwend_libevent *libevent = nullptr;

    if (argc == 1) // there is nothing to connect to here: it must link
        return 0;
#ifdef HAVE_SD_EVENT
    qwend_sd_event *sd = nullptr;
    qwend_sd_event_remove(qwend_sd_event_add(nullptr, q, on_gone, nullptr, &sd) ? nullptr : sd);
#endif
#ifdef HAVE_GLIB
    g_source_unref(qwend_glib_source_new(q, on_gone, nullptr));
#endif
    qwend_libevent_remove(qwend_libevent_add(nullptr, q, on_gone, nullptr, &libevent) ? nullptr : libevent);
    return 0;
}
