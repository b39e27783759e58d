#!/bin/sh
# units.sh SERVICE SOURCE_DIR PROGRAM - the units as systemd reads them, and how exposed the service is.
#
# Nothing is installed: ExecStart= is pointed at the program of the build tree, in a temporary folder.  NAME.socket, NAME.sysusers and
# NAME.tmpfiles of SOURCE_DIR belong to NAME.service where they exist.
# Exit 77 (skipped) where there is no systemd-analyze.
set -eu
service=${1:?usage: units.sh SERVICE SOURCE_DIR PROGRAM}
source=${2:?}
program=${3:?}
name=$(basename "$service" .service)
command -v systemd-analyze >/dev/null || exit 77

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
sed "s|^ExecStart=[^ ]*|ExecStart=$program|" "$service" >"$stage/$name.service"
grep -q "^ExecStart=$program " "$stage/$name.service"
set -- "$stage/$name.service"
if [ -e "$source/$name.socket" ]; then
    cp "$source/$name.socket" "$stage"
    set -- "$@" "$stage/$name.socket"
fi

# verify says what it does not understand on stderr and may still exit 0
said=$(systemd-analyze verify --man=no "$@" 2>&1) || { echo "$said"; exit 1; }
if printf '%s\n' "$said" | grep "$stage"; then exit 1; fi

# threshold: ten times the score.  0.6 is what we promise on the CPU; Ollama's own unit scores 9.2.
systemd-analyze security --offline=yes --threshold=6 "$service"

# users and folders, into a root of their own; as root only, since they are given to other users
[ "$(id -u)" = 0 ] || exit 0
root=$stage/root
mkdir -p "$root/etc" "$root/usr/lib/sysusers.d" "$root/usr/lib/tmpfiles.d"
cp "$source/$name.sysusers" "$root/usr/lib/sysusers.d/$name.conf"
systemd-sysusers --root="$root"
uid=$(sed -n "s/^$name:[^:]*:\([0-9]*\):.*/\1/p" "$root/etc/passwd")
[ -n "$uid" ]
[ -e "$source/$name.tmpfiles" ] || exit 0
cp "$source/$name.tmpfiles" "$root/usr/lib/tmpfiles.d/$name.conf"
grep -q '^qwend-admin:' "$root/etc/group"
systemd-tmpfiles --create --root="$root"
is() { [ "$(stat -c '%a %u' "$root$1")" = "$2" ] || { echo "$1: $(stat -c '%a %u' "$root$1"), not $2"; exit 1; }; }
is /run/qwend "755 $uid"
is /var/lib/qwend "750 $uid"
is /var/lib/qwend/models '755 0'
