#!/bin/sh
# sysroot.sh DIR - Debian 12's arm64 libraries that a cross build links, unpacked into DIR/root; DIR/root.ini tells meson.
#
# Nothing is installed, and the system does not become one of two architectures: apt keeps lists and packages of its own
# in DIR while it fetches, from the system's sources, checked with the system's keys.  Does nothing when they are there.
set -eu

PACKAGES="libprotobuf-c-dev libprotobuf-c1 libevent-dev libevent-core-2.1-7 libinih-dev libinih1 libjansson-dev libjansson4
libedit-dev libedit2 libbsd0 libmd0 libtinfo6 libmd4c-dev libmd4c0 libcmocka-dev libcmocka0"

[ $# = 1 ] || {
    echo "usage: sysroot.sh DIR" >&2
    exit 2
}
mkdir -p "$1"
cd "$1"
dir=$PWD
[ "$(cat packages.txt 2>/dev/null)" != "$PACKAGES" ] || exit 0
rm -rf apt root root.ini
mkdir -p apt/lists/partial apt/cache/archives/partial root
apt() {
    apt-get -q -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o APT::Sandbox::User="$(id -un)" -o Acquire::Languages=none \
        -o Acquire::Retries=1 -o Dir::State::lists="$dir/apt/lists" -o Dir::Cache="$dir/apt/cache" "$@"
}
apt update
# shellcheck disable=SC2086
(cd apt && apt download $PACKAGES)
for package in apt/*.deb; do
    dpkg-deb -x "$package" root
done
rm -rf apt
printf "[constants]\nroot = '%s/root'\n" "$dir" >root.ini
printf '%s' "$PACKAGES" >packages.txt
