/* complete.h - completions for shells, made of the tables of verbs and options. */
#pragma once

#include <stdio.h>

void complete_put_bash(FILE *out);
void complete_put_zsh(FILE *out);
void complete_put_fish(FILE *out);
