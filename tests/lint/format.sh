#!/bin/sh
# format.sh ROOT - every C, C++ and CUDA source is as clang-format 14 would set it.  Exit 77 (skipped) where there is no clang-format.
#
# Headers that are tables (one constant, option or operation a line, comments in a column) are set by hand.
set -eu
by_hand='^(proto/(base|frame|status)|client/lib/qwend|daemon/model/(chat|detok|tokenizer)|kernels/(kernels|quant)|.*unicode_data)\.[ch]$'

command -v clang-format >/dev/null || exit 77
case $(clang-format --version) in *"version 14."*) ;; *) echo "clang-format is not version 14: others differ"; exit 77 ;; esac
cd "${1:?usage: format.sh ROOT}"
find proto kernels daemon client tests -name '*.[ch]' -o -name '*.cu' -o -name '*.cuh' -o -name '*.cpp' | grep -Ev "$by_hand" | sort | xargs clang-format --dry-run -Werror
