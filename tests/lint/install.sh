#!/bin/sh
# install.sh BUILD_DIR CONF FILE... - `meson install` puts each FILE into place, and a second one leaves the administrator's
# configuration CONF alone.  Into a temporary DESTDIR.
set -eu
build=${1:?usage: install.sh BUILD_DIR CONF FILE...}
conf=${2:?}
shift 2
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT

meson install -C "$build" --no-rebuild --destdir "$stage" >"$stage/log" 2>&1 || { cat "$stage/log"; exit 1; }
failed=0
for file in "$conf" "$@"; do
    [ -s "$stage$file" ] || { echo "not installed: $file"; failed=1; }
done
service=$(find "$stage" -name qwend.service)
if [ -n "$service" ]; then
    for file in $(sed -n 's/^ExecStart=\([^ ]*\) --config \(.*\)/\1 \2/p' "$service"); do
        [ -e "$stage$file" ] || { echo "qwend.service names $file, which is not installed"; failed=1; }
    done
fi
echo '; mine' >>"$stage$conf"
meson install -C "$build" --no-rebuild --destdir "$stage" >"$stage/log" 2>&1 || { cat "$stage/log"; exit 1; }
tail -1 "$stage$conf" | grep -qx '; mine' || { echo "$conf was overwritten"; failed=1; }
exit $failed
