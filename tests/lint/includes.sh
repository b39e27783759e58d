#!/bin/sh
# includes.sh ROOT - who may include whom, as the table below says.  `includes.sh --self-test` plants violations in a
# temporary tree and fails unless each is found.
#
# An include with a slash is taken from the root, one without from the file's own folder; system headers are free,
# except where a library could be let in that a layer must not know (see `foreign`).
set -eu

# folder: what files in it may include from elsewhere: a path, a folder with all below it (x/), or only the files in it
# (x/*).  The longest matching folder counts.  A file may always include its own folder's.
table='
proto:             proto/
kernels:           proto/base.h
kernels/cpu:       proto/base.h kernels/*
kernels/cuda:      proto/base.h kernels/* kernels/cpu/rope.h
daemon/util:       proto/base.h proto/buf.h proto/status.h
daemon/model:      kernels/* proto/base.h proto/sha256.h
daemon/engine:     daemon/model/ kernels/* proto/ daemon/util/
daemon/broker:     proto/ daemon/util/
daemon/probe:      daemon/model/ kernels/* daemon/engine/sample.h proto/base.h
client/lib:        proto/
client/lib/glue:
client/qwenctl:    client/lib/qwend.h proto/base.h proto/sha256.h proto/status.h
client/http:       client/lib/qwend.h client/lib/glue/ proto/base.h proto/buf.h proto/status.h daemon/util/
tests:             proto/ kernels/ daemon/ client/ tests/
'
# Sources that are a layer of their own: pure code that more than one layer links.
files='
daemon/engine/sample.c: proto/base.h
daemon/engine/sample_top.c: proto/base.h kernels/*
'
# system headers that only these folders may include: header-prefix folder...
foreign='
event2/:        client/lib/glue client/http daemon/broker daemon/engine daemon/util tests
protobuf-c/:    proto tests
cuda:           kernels/cuda
cublas:         nowhere
systemd/:       client/lib/glue tests
glib:           client/lib/glue tests
'

check() { # ROOT
    (cd "$1" && find proto kernels daemon client tests \( -name '*.[ch]' -o -name '*.cu' -o -name '*.cuh' -o -name '*.cpp' \) 2>/dev/null |
        sort | xargs awk -v table="$table" -v files="$files" -v foreign="$foreign" '
        function rules(text, into,    lines, n, i, at) {
            n = split(text, lines, "\n")
            for (i = 1; i <= n; i++)
                if ((at = index(lines[i], ":")) > 0)
                    into[substr(lines[i], 1, at - 1)] = substr(lines[i], at + 1)
        }
        function folder(path) { sub(/\/[^\/]*$/, "", path); return path }
        function layer(path,    dir) {
            for (dir = folder(path); !(dir in may); dir = folder(dir))
                if (dir !~ /\//)
                    return ""
            return dir
        }
        function allowed(target, list,    words, n, i) {
            n = split(list, words, " ")
            for (i = 1; i <= n; i++)
                if (words[i] ~ /\*$/ ? folder(target) "/*" == words[i] : index(target, words[i]) == 1)
                    return 1
            return 0
        }
        function refuse(why) { printf "%s:%d: %s includes %s: %s\n", FILENAME, FNR, where, name, why; bad++ }
        BEGIN { rules(table, may); rules(files, single); rules(foreign, owners) }
        FNR == 1 { where = layer(FILENAME); if (where == "") { print FILENAME ": its folder is not in the table"; bad++ } }
        /^[ \t]*#[ \t]*include[ \t]*"/ {
            name = $0; sub(/^[^"]*"/, "", name); sub(/".*/, "", name)
            target = name
            if (name ~ /\.\./)
                refuse("a path with .. in it")
            if (name ~ /\.pb-c\.h$/)
                target = "proto/" name
            else if (name !~ /\//)
                target = folder(FILENAME) "/" name
            if (FILENAME in single) {
                if (folder(target) != folder(FILENAME) && !allowed(target, single[FILENAME]))
                    refuse("this file may include only " single[FILENAME])
            } else if (folder(target) != folder(FILENAME) && !allowed(target, may[where]))
                refuse("this layer may include only" may[where])
        }
        /^[ \t]*#[ \t]*include[ \t]*</ {
            name = $0; sub(/^[^<]*</, "", name); sub(/>.*/, "", name)
            for (prefix in owners)
                if (index(name, prefix) == 1 && !allowed(folder(FILENAME) "/", owners[prefix]))
                    refuse("only" owners[prefix] " may")
        }
        END { exit bad > 0 }')
}

plant() { # FILE TEXT: a violation that must be found
    root=$(mktemp -d)
    mkdir -p "$root/$(dirname "$1")" "$root/proto"
    echo '#include "base.h"' >"$root/proto/buf.h"
    printf '%s\n' "$2" >"$root/$1"
    if check "$root" >"$root/out" 2>&1; then
        echo "includes.sh: not caught: $1 with $2"
        rm -rf "$root"
        exit 1
    fi
    rm -rf "$root"
}

if [ "${1:?usage: includes.sh ROOT | --self-test}" = --self-test ]; then
    plant daemon/broker/x.c '#include "daemon/model/model.h"'
    plant daemon/broker/x.c '#include "kernels/kernels.h"'
    plant daemon/broker/x.c '#include "daemon/engine/sched.h"'
    plant daemon/model/x.c '#include "proto/frame.h"'
    plant daemon/model/x.c '#include "qwend.pb-c.h"'
    plant daemon/model/x.c '#include "daemon/util/log.h"'
    plant kernels/cpu/x.c '#include "kernels/cuda/dev.cuh"'
    plant kernels/cuda/x.cu '#include "kernels/cpu/pool.h"'
    plant kernels/cuda/x.cu '#include "tests/emu/emu.h"'
    plant kernels/cuda/x.cuh '#include "daemon/model/config.h"'
    plant tests/emu/x.cpp '#include <cuda_runtime.h>'
    plant kernels/x.c '  #  include "daemon/model/config.h"'
    plant client/lib/x.c '#include "daemon/util/log.h"'
    plant client/qwenctl/x.c '#include "proto/wire.h"'
    plant proto/x.c '#include "daemon/util/log.h"'
    plant daemon/probe/x.c '#include "proto/frame.h"'
    plant daemon/engine/sample.c '#include "daemon/model/model.h"'
    plant daemon/engine/x.c '#include "tests/fuzz/gen.h"'
    plant daemon/util/x.c '#include "../broker/client.h"'
    plant daemon/broker/x.c '#include <cuda_runtime.h>'
    plant daemon/model/x.c '#include <protobuf-c/protobuf-c.h>'
    plant plugins/../daemon/x.c '#include "proto/base.h"'
    echo "includes.sh: all planted violations caught"
else
    check "$1"
fi
