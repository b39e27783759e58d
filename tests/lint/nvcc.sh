#!/bin/sh
# nvcc.sh ROOT [ARCH...] - the CUDA sources compile for every architecture they are meant for, and no kernel spills.
#
# Prints registers and shared memory of each kernel.  Exit 77 (skipped) where there is no nvcc; NVCC names another one.
# `nvcc.sh --self-test` proves that a spill and a wrong compiler are refused.  A GPU is not needed.
set -eu
nvcc=${NVCC:-nvcc}
bounds= # none but by the self-test: --maxrregcount of a kernel that then must spill

# CUDA 13.2 miscompiles kernels that unpack low-bit values: no build of ours may come from it.
check_release() {
    release=$("$nvcc" --version | sed -n 's/.*release \([0-9.]*\),.*/\1/p')
    case $release in
    13.2) echo "nvcc 13.2 miscompiles low-bit kernels: use 13.0, 13.1 or a later one" && return 1 ;;
    1[1-9].* | [2-9][0-9].*) return 0 ;;
    *) echo "nvcc says it is release '$release': 11.8 or later is needed" && return 1 ;;
    esac
}

# Lines of -Xptxas -v to "kernel registers shared"; exit 1 if one spills.
report() { # SOURCE ARCH
    awk -v source="$1" -v arch="$2" '
        /Compiling entry function/ { split($0, part, "\047"); name = part[2] }
        /bytes spill stores/ && ($0 !~ / 0 bytes spill stores/ || $0 !~ / 0 bytes spill loads/) {
            printf "%s: sm_%s: %s spills:%s\n", source, arch, name, $0
            bad++
        }
        /Used [0-9]+ registers/ {
            match($0, /[0-9]+ registers/); registers = substr($0, RSTART, RLENGTH)
            shared = match($0, /[0-9]+ bytes smem/) ? substr($0, RSTART, RLENGTH) : "no smem"
            printf "  sm_%-4s %-60s %s, %s\n", arch, substr(name, 1, 60), registers, shared
            n++
        }
        END { exit bad > 0 }'
}

compile() { # SOURCE ARCH
    # shellcheck disable=SC2086
    if ! log=$("$nvcc" -std=c++17 -O3 -fmad=false --Werror all-warnings $bounds "-arch=sm_$2" -Xptxas -v -I. -c -o /dev/null "$1" 2>&1); then
        printf '%s: sm_%s: does not compile\n%s\n' "$1" "$2" "$log"
        return 1
    fi
    printf '%s\n' "$log" | report "$1" "$2"
}

check() { # ROOT ARCH...
    cd "$1"
    shift
    [ $# -gt 0 ] || set -- 80 86 89 90 120
    check_release || return 1
    known=$("$nvcc" --list-gpu-arch)
    logs=$(mktemp -d)
    for source in $(find kernels tests -name '*.cu' | sort); do
        grep -q 'int main' "$source" && continue # faults on purpose, for the host only
        echo "nvcc $release: $source"
        for arch; do # at once: nvcc uses one core, and there are a hundred to compile
            case $known in
            *compute_"$arch"*) { compile "$source" "$arch" || : >"$logs/failed"; } >"$logs/$arch" & ;;
            *) echo "  sm_$arch: not known to this nvcc" >"$logs/$arch" ;;
            esac
        done
        wait
        for arch; do cat "$logs/$arch"; done
    done
    failed=0
    [ ! -e "$logs/failed" ] || failed=1
    rm -rf "$logs"
    return $failed
}

expect() { # EXPECTED WHAT COMMAND...
    wanted=$1
    what=$2
    shift 2
    r=0
    out=$("$@" 2>&1) || r=1
    [ $r = "$wanted" ] && return
    echo "nvcc.sh: $what gave $r, expected $wanted: $out"
    exit 1
}

self_test() {
    root=$(mktemp -d)
    trap 'rm -rf "$root"' EXIT
    mkdir "$root/kernels" "$root/tests"
    # shellcheck disable=SC2016
    printf '#!/bin/sh\necho "Cuda compilation tools, release $RELEASE, V$RELEASE.0"\n' >"$root/nvcc"
    chmod +x "$root/nvcc"
    nvcc=$root/nvcc
    for release in 13.2 10.2 ''; do
        RELEASE=$release expect 1 "release '$release'" check_release
    done
    for release in 11.8 13.0 13.3; do
        RELEASE=$release expect 0 "release '$release'" check_release
    done
    nvcc=${NVCC:-nvcc}
    command -v "$nvcc" >/dev/null || { echo "nvcc.sh: releases are told apart; no nvcc to see a spill with"; return 0; }
    cat >"$root/kernels/x.cu" <<'CU'
extern "C" __global__ void x(float *p)
{
    float v[48];
#pragma unroll
    for (int i = 0; i < 48; i++)
        v[i] = p[i * 32 + threadIdx.x];
    __syncthreads();
#pragma unroll
    for (int i = 0; i < 48; i++)
        p[(i * 7 % 48) * 32 + threadIdx.x] = v[i] * v[(i + 1) % 48];
}
CU
    expect 0 "a kernel with enough registers" check "$root" 80
    bounds=--maxrregcount=24
    expect 1 "a kernel with too few registers" check "$root" 80
    bounds=
    echo 'x' >"$root/kernels/x.cu"
    expect 1 "a kernel that does not compile" check "$root" 80
    echo "nvcc.sh: all that must be refused is refused"
}

if [ "${1:?usage: nvcc.sh ROOT [ARCH...] | --self-test}" = --self-test ]; then
    self_test
else
    command -v "$nvcc" >/dev/null || { echo "no nvcc: nothing compiled"; exit 77; }
    check "$@"
fi
