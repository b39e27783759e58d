#!/bin/sh
# hops.sh ROOT - docs/ARCHITECTURE.md names only files that exist and functions that are defined in them.
#
# A hop is a table row "| … | `folder/file.c` | `function()` … |"; every function in that cell must be defined in that
# file (a line in column 0 that has the name before a parenthesis).  `hops.sh --self-test` proves that it sees both faults.
set -eu

hops() { # DOCUMENT: "file function" lines
    # shellcheck disable=SC2016
    sed -n 's/^|[^|]*| *`\([^`]*\.[ch]\)` *| *\([^|]*\)|.*/\1 \2/p' "$1" |
        awk '{ file = $1; while (match($0, /`[a-z0-9_]+\(\)`/)) {
                   print file, substr($0, RSTART + 1, RLENGTH - 4); $0 = substr($0, RSTART + RLENGTH) } }'
}

check() { # ROOT
    failed=0
    found=$(hops "$1/docs/ARCHITECTURE.md")
    [ -n "$found" ] || {
        echo "docs/ARCHITECTURE.md: no hops found"
        return 1
    }
    while read -r file function; do
        if [ ! -e "$1/$file" ]; then
            echo "docs/ARCHITECTURE.md: $file does not exist"
            failed=1
        elif ! grep -Eq "^[a-z][^;]*[ *]$function\(|^$function\(" "$1/$file"; then
            echo "docs/ARCHITECTURE.md: $file does not define $function()"
            failed=1
        fi
    done <<LINES
$found
LINES
    return $failed
}

try() { # EXPECTED ROW
    root=$(mktemp -d)
    mkdir "$root/docs" "$root/daemon"
    printf 'static int x_run(int n)\n{\n    return y_other(n);\n}\n' >"$root/daemon/x.c"
    printf '%s\n' "$2" >"$root/docs/ARCHITECTURE.md"
    r=0
    (check "$root" >/dev/null) || r=1
    rm -rf "$root"
    [ $r = "$1" ] && return
    echo "hops.sh: '$2' gave $r, expected $1"
    exit 1
}

if [ "${1:?usage: hops.sh ROOT | --self-test}" = --self-test ]; then
    # shellcheck disable=SC2016
    {
        try 0 '| 1 | `daemon/x.c` | `x_run()` | runs |'
        try 1 '| 1 | `daemon/x.c` | `y_other()` | is only called there |'
        try 1 '| 1 | `daemon/x.c` | `x_run()`, `x_walk()` | one of two |'
        try 1 '| 1 | `daemon/y.c` | `x_run()` | no such file |'
        try 1 'no table'
    }
    echo "hops.sh: all planted faults seen"
else
    check "$1"
fi
