/* base.c - where an error was raised, and faults.  See base.h. */
#include "base.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local struct {
    const char *file;
    int line;
    char text[64];
} base_place;

int err_origin_at(int r, const char *file, int line)
{
    const char *slash = strrchr(file, '/');

    assert(r < 0);
    base_place.file = slash ? slash + 1 : file;
    base_place.line = line;
    return r;
}

const char *err_place(void)
{
    if (!base_place.file)
        return "?";
    snprintf(base_place.text, sizeof(base_place.text), "%s:%d", base_place.file, base_place.line);
    return base_place.text;
}

int fault_set(struct fault *fault, int code, const char *fmt, ...)
{
    va_list ap;

    if (!fault)
        return code;
    fault->code = code;
    va_start(ap, fmt);
    vsnprintf(fault->text, sizeof(fault->text), fmt, ap);
    va_end(ap);
    return code;
}
