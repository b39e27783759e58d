#!/bin/sh
# words.sh ROOT - words that must not stand in the sources, each with its reason.  `words.sh --self-test` plants each.
#
# The scripts of this folder name what they look for, so they are not searched; comment lines only by rules for prose.
set -eu
code='*.c *.h *.cu *.cuh *.cpp'
all="$code *.py *.sh *.md *.build *.proto *.service *.socket *.conf *.lua *.vim *.el *.ts"
main='(^|/)main\.c$'     # files that a rule does not hold for
nothing='^$'
quotes='^docs/STYLE\.md$' # it quotes the words
edge='(^|[^_[:alnum:]])'
failed=0

rule() { # NAME 'FOLDERS' 'GLOBS' REGEX EXCEPT-FILES REASON
    set -f
    includes=
    for glob in $3; do includes="$includes --include=$glob"; done
    # shellcheck disable=SC2086
    hits=$(grep -rnE $includes -e "$4" $2 2>/dev/null | grep -v '^tests/lint/' | awk -F: -v except="$5" '$1 !~ except')
    set +f
    [ "$3" = "$all" ] || hits=$(printf '%s\n' "$hits" | grep -vE '^[^:]*:[0-9]*: *(/\*|\*|//)' || true)
    [ -n "$hits" ] || return 0
    printf '%s\n' "$hits" | sed "s/^/$1: /"
    echo "$1: $6"
    failed=1
}

check() { # ROOT
    cd "$1"
    libs='proto kernels daemon/model client/lib'
    rule exit 'proto kernels daemon client' "$code" "$edge(exit|quick_exit) *\(" "$main" 'only main() ends a process'
    rule abort 'proto kernels daemon client' "$code" "$edge""abort *\(" "$nothing" 'errors go up to the caller'
    rule _exit "$libs client" "$code" "$edge""_[eE]xit *\(" "$nothing" 'only a forked child of a daemon that could not exec may'
    rule print "$libs" "$code" "$edge((printf|puts|perror|vprintf|log_(debug|info|warn|err|errno)) *\(|fprintf *\( *std(out|err))" \
        '/examples/' 'libraries never log'
    rule getenv "$libs" "$code" 'getenv *\(' '^client/lib/' 'options live in qwend.conf or argv'
    rule tuning 'daemon client' "$code" 'getenv *\( *"(QWEND_([^S]|S[^O])|[A-Z_]*(DEBUG|TUNE|THREADS|KERNEL|BACKEND))' \
        "$nothing" 'options live in qwend.conf or argv'
    rule todo 'proto kernels daemon client tests systemd docs' "$all" \
        '(^|[^[:alnum:]_])(TODO|FIXME|XXX|HACK)([^[:alnum:]_]|$)' "$quotes" 'finish it, or file an issue'
    rule path 'proto kernels daemon client tests systemd docs' "$all" \
        '(^|[^[:alnum:]_.>)}])/(work|root|home/[a-z]+)/' "$quotes" 'paths of one machine'
    rule tmp 'proto kernels daemon client systemd' "$code" '"/tmp/' "$nothing" 'a fixed name in a folder that everybody may write'
    rule sleep tests "$code" "$edge(sleep|usleep|nanosleep) *\(" "$nothing" 'a test waits for the event'
    return $failed
}

try() { # EXPECTED FILE TEXT
    root=$(mktemp -d)
    mkdir -p "$root/$(dirname "$2")"
    printf '%s\n' "$3" >"$root/$2"
    r=0
    out=$( (check "$root") 2>&1) || r=1
    rm -rf "$root"
    [ $r = "$1" ] && return
    echo "words.sh: $2 with '$3' gave $r, expected $1: $out"
    exit 1
}

if [ "${1:?usage: words.sh ROOT | --self-test}" = --self-test ]; then
    try 1 daemon/model/x.c '    exit(1);'
    try 1 daemon/broker/client.c '    exit(EXIT_FAILURE);'
    try 1 proto/x.c '    abort();'
    try 1 client/lib/x.c '    _exit(127);'
    try 1 kernels/x.c '    printf("%d", n);'
    try 1 kernels/x.c '    fprintf(stderr, "%d", n);'
    try 1 daemon/model/x.c '    log_warn("odd");'
    try 1 kernels/x.c '    if (getenv(name))'
    try 1 daemon/engine/x.c '    if (getenv("QWEND_TILE"))'
    try 1 daemon/x.h '/* TODO: later */'
    try 1 docs/x.md 'FIXME'
    try 1 tests/x.py 'open("/work/main/x")'
    try 1 daemon/x.c '    mkdir("/tmp/qwend", 0700);'
    try 1 tests/unit/x.c '    usleep(1000);'
    try 0 daemon/broker/main.c '    exit(EXIT_FAILURE);'
    try 0 daemon/broker/x.c '    _exit(127);'
    try 0 proto/x.c ' * No exit() below main, no abort() either. */'
    try 0 client/lib/x.c '    getenv("QWEND_SOCKET");'
    try 0 client/lib/x.c '    snprintf(text, sizeof(text), "x");'
    try 0 daemon/broker/x.c '    rb_exit(x); on_exit_event(y); atexit(z);'
    try 0 tests/unit/x.py 'path = "%s/work/file"'
    echo "words.sh: all planted words caught"
else
    check "$1"
fi
