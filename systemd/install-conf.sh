#!/bin/sh
# install-conf.sh SOURCE TARGET - installs the configuration, and leaves one that is already there as it is.
set -eu
target=${DESTDIR:-}$2
[ -e "$target" ] && { echo "keeping $target"; exit 0; }
mkdir -p "$(dirname "$target")"
install -m 644 "$1" "$target"
