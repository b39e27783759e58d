#!/bin/sh
# run.sh - bounded fuzz runs of every target: fixed seed, fixed number of inputs, limits on time and memory of each input.
#
#     tests/fuzz/run.sh RUNS [TARGET[=RUNS]...]      e.g. run.sh 1000000 frame gguf=100000
#
# Builds build-fuzz/ with clang (Debian: clang libclang-rt-14-dev) if need be.  One line per target on stdout; libFuzzer's own
# output is in build-fuzz/fuzz-TARGET.log.  New inputs go to build-fuzz/corpus-TARGET/, a crashing input to build-fuzz/;
# an input that found a bug belongs into tests/fuzz/corpus/TARGET/ with the fix.
set -eu
cd "$(dirname "$0")/../.."
runs=${1:?usage: run.sh RUNS [TARGET[=RUNS]...]}
shift
build="build-fuzz"

# One target, its verdict on one line: called by ourselves, several at a time.
run_target() {
    target=$1
    n=$runs
    case $target in *=*) n=${target#*=}; target=${target%%=*} ;; esac
    log=$build/fuzz-$target.log
    rm -rf "$build/corpus-$target"
    mkdir -p "$build/corpus-$target"
    verdict=ok
    # -timeout: an honest input takes well under 10 ms; 10 s is a hang on any machine, ASan included.
    # -rss_limit_mb: the largest legitimate peak is one 8 MiB body times four, plus ASan's quarantine of 64 MiB.
    # -malloc_limit_mb: no single allocation follows from a length in an input.
    ASAN_OPTIONS=quarantine_size_mb=64:detect_leaks=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
        "$build/tests/fuzz/fuzz_$target" -seed=1 -runs="$n" -timeout=10 -rss_limit_mb=512 -malloc_limit_mb=256 \
        -max_len=65536 -len_control=0 -print_final_stats=1 -artifact_prefix="$build/$target-" \
        "$build/corpus-$target" "tests/fuzz/corpus/$target" >"$log" 2>&1 || verdict="FAILED, see $log"
    stat() { sed -n "s/^stat::$1: *//p" "$log"; }
    cov=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -1)
    echo "fuzz_$target: $verdict; $(stat number_of_executed_units) runs, $(stat average_exec_per_sec)/s," \
        "cov ${cov:-?}, peak $(stat peak_rss_mb) MiB$(sed -n "s/^fuzz_$target: /; /p" "$log")"
    [ "$verdict" = ok ]
}

if [ "${1:-}" = --target ]; then
    run_target "$2"
    exit
fi

[ -e $build/build.ninja ] || CC=clang meson setup $build -Dfuzz=true -Db_lundef=false -Dcuda=disabled -Dsystemd=disabled >/dev/null
nice ninja -C $build fuzz >$build/fuzz-build.log 2>&1 || { cat $build/fuzz-build.log; exit 1; }
if [ $# = 0 ]; then
    for target in tests/fuzz/fuzz_*.c; do
        target=${target##*/fuzz_}
        set -- "$@" "${target%.c}"
    done
fi
printf '%s\n' "$@" | xargs -P "$(getconf _NPROCESSORS_ONLN)" -n 1 sh tests/fuzz/run.sh "$runs" --target
