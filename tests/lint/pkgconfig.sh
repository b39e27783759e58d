#!/bin/sh
# pkgconfig.sh BUILD_DIR ROOT - what is installed of libqwend is enough: the examples and the programs of docs/LIBQWEND.md compile
# with what pkg-config says, in C and, the header, in C++, and say in one line that there is no daemon.
set -eu
build=${1:?usage: pkgconfig.sh BUILD_DIR ROOT}
root=${2:?}
command -v pkg-config >/dev/null || exit 77
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT

meson install -C "$build" --no-rebuild --destdir "$stage" >"$stage/log" 2>&1 || { cat "$stage/log"; exit 1; }
pc=$(find "$stage" -name qwend.pc)
lib=$(dirname "$(find "$stage" -name libqwend.so)")
PKG_CONFIG_PATH=$(dirname "$pc")
PKG_CONFIG_SYSROOT_DIR=$stage
export PKG_CONFIG_PATH PKG_CONFIG_SYSROOT_DIR
# shellcheck disable=SC2034
flags=$(pkg-config --cflags --libs qwend)

mkdir "$stage/src"
awk -v out="$stage/src/doc" '/^```c$/ { n++; on = 1; next } /^```$/ { on = 0 } on { print > (out n ".c") }' "$root/docs/LIBQWEND.md"
cp "$root"/client/lib/examples/hello.c "$root"/client/lib/examples/loop.c "$stage/src"
n=0
for source in "$stage"/src/*.c; do
    # shellcheck disable=SC2086
    cc -Wall -Wextra -Wno-unused-parameter -Werror -o "$stage/a.out" "$source" $flags -Wl,-rpath,"$lib"
    status=0
    QWEND_SOCKET=$stage/none ASAN_OPTIONS=detect_leaks=0 "$stage/a.out" >"$stage/said" 2>&1 || status=$?
    [ $status = 1 ] || { echo "$source: exit status $status without a daemon"; cat "$stage/said"; exit 1; }
    n=$((n + 1))
done
[ $n = 4 ] || { echo "$n programs instead of 4"; exit 1; }
if command -v c++ >/dev/null; then
    for header in "$stage"/"$(pkg-config --variable=includedir qwend | sed "s|^$stage||")"/qwend*.h; do
        case $header in
        *glib*) more=$(PKG_CONFIG_SYSROOT_DIR='' pkg-config --cflags glib-2.0 2>/dev/null) || continue ;;
        *sd-event*) PKG_CONFIG_SYSROOT_DIR='' pkg-config --exists libsystemd || continue && more= ;;
        *) more= ;;
        esac
        # shellcheck disable=SC2086
        printf '#include <%s>\nint main() { return 0; }\n' "$(basename "$header")" | c++ -Wall -Werror -Wno-unused-function -xc++ -fsyntax-only $flags $more -
    done
fi
[ "$(pkg-config --modversion qwend)" = "$(meson introspect --projectinfo "$build" | sed 's/.*"version": "\([^"]*\)".*/\1/')" ]
