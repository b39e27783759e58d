#!/bin/sh
# sizes.sh ROOT - no source file over 800 lines, no function over 80.  `sizes.sh --self-test` proves that it sees both.
#
# A function is what stands between a brace in column 0 and the closing one in column 0, which clang-format guarantees;
# initialisers and structs end in "};" and do not count.  Generated tables are exempt by name.
set -eu
exempt='unicode_data'

check() { # ROOT
    (cd "$1" && find proto kernels daemon client tests systemd -type f \
        \( -name '*.[ch]' -o -name '*.cu' -o -name '*.cuh' -o -name '*.cpp' -o -name '*.py' -o -name '*.sh' -o -name '*.lua' \) 2>/dev/null |
        grep -v "$exempt" | sort | xargs awk '
        function file_done() { if (last > 800) { printf "%s: %d lines, at most 800\n", file, last; bad++ } }
        FNR == 1 { if (NR > 1) file_done(); open = 0 }
        { file = FILENAME; last = FNR }
        FILENAME ~ /\.(c|cu|cuh|cpp|h)$/ && /^\{/ { open = FNR }
        FILENAME ~ /\.(c|cu|cuh|cpp|h)$/ && /^\}/ {
            if (open && $0 !~ /^\} *[A-Za-z_].*;|^\};/ && FNR - open - 1 > 80) {
                printf "%s:%d: function of %d lines, at most 80\n", FILENAME, open, FNR - open - 1
                bad++
            }
            open = 0
        }
        END { file_done(); exit bad > 0 }')
}

plant() { # LINES-BEFORE LINES-INSIDE EXPECTED
    root=$(mktemp -d)
    mkdir "$root/proto"
    {
        seq "$1" | sed 's|.*|/* & */|'
        printf 'int x(void)\n{\n'
        seq "$2" | sed 's|.*|    y(&);|'
        printf '}\n'
    } >"$root/proto/x.c"
    r=0
    check "$root" >/dev/null || r=1
    rm -rf "$root"
    if [ $r != "$3" ]; then
        echo "sizes.sh: a file of $1 lines before a function of $2 gave $r, expected $3"
        exit 1
    fi
}

if [ "${1:?usage: sizes.sh ROOT | --self-test}" = --self-test ]; then
    plant 10 80 0
    plant 10 81 1
    plant 717 80 0
    plant 718 80 1
    echo "sizes.sh: both limits are seen"
else
    check "$1"
fi
