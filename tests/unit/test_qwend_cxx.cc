// test_qwend_cxx.cc - qwend.h is C++ too: it compiles on its own and its functions link without name
// mangling.
#include "client/lib/qwend.h"

int main()
{
    qwend *q = nullptr;

    return qwend_version() && qwend_open(&q, "/nonexistent/qwend.sock", QWEND_NONBLOCK) < 0 ? 0 : 1;
}
