/* man.h - the manual page of qwenctl in scdoc's language, made of the tables that the help is made of. */
#pragma once

#include <stdio.h>

void man_put(FILE *out); /* qwenctl(1) */
