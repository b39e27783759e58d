#!/bin/sh
# run.sh - everything that only a GPU can show, in one command on a bare machine: nvcc, a C and C++ compiler, Python.
#
#   sh tests/gpu/run.sh [--out DIR] [--rehearse] [--use DRIVER RANDOM_GGUF] [--arch sm_90] [--limit S]
#          [--llama LLAMA_CPP_SOURCE | --llama-bench PROGRAM] [--serve QWEND ENGINE] [--ncu PROGRAM]
#
# Builds kernels, model and driver itself, then runs one step after another.  Each call ends within nine minutes; a call that says
# "call again" (status 3) is to be repeated and goes on where it stopped.  Each writes DIR/report.md, failures included; status 1 of
# the last: there are some.  --rehearse does the same in the emulation with small shapes; --use, --llama-bench and --serve (tests/gpu/serve.py)
# take programs that are built already.
set -u
from=$PWD
cd "$(dirname "$0")/../.." || exit 2
out=build-gpu
mode=gpu
driver=
random=
llama=
llama_bench=
ncu=
qwend=
engine=
arch=native
limit=540 # seconds of a call, with what its last step may take
began=$(date +%s)

absolute() { # PATH, as the caller sees it
    case $1 in /*) echo "$1" ;; *) echo "$from/$1" ;; esac
}

usage() { sed -n '4,5s/^#  *//p' "$0" >&2; exit 2; }
while [ $# -gt 0 ]; do
    case $1 in
    --out) [ $# -ge 2 ] || usage; out=$(absolute "$2"); shift 2 ;;
    --arch) [ $# -ge 2 ] || usage; arch=$2; shift 2 ;;
    --limit) [ $# -ge 2 ] || usage; limit=$2; shift 2 ;;
    --llama) [ $# -ge 2 ] || usage; llama=$(absolute "$2"); shift 2 ;;
    --llama-bench) [ $# -ge 2 ] || usage; llama_bench=$(absolute "$2"); shift 2 ;;
    --ncu) [ $# -ge 2 ] || usage; ncu=$(absolute "$2"); shift 2 ;;
    --serve) [ $# -ge 3 ] || usage; qwend=$(absolute "$2"); engine=$(absolute "$3"); shift 3 ;;
    --use) [ $# -ge 3 ] || usage; driver=$(absolute "$2"); random=$(absolute "$3"); shift 3 ;;
    --rehearse) mode=emu; shift ;;
    *) usage ;;
    esac
done
mkdir -p "$out/obj" || exit 2
if [ $mode = emu ]; then backend=emu; else backend=cuda; fi
driver=${driver:-$out/driver}
random=${random:-$out/random_gguf}
jobs=$(getconf _NPROCESSORS_ONLN)
PATH=$PATH:/usr/local/cuda/bin # where its installer leaves it, in nobody's PATH
[ $mode = emu ] || ncu=${ncu:-$(command -v ncu)}

# step NAME SECONDS COMMAND...: once, then it stands in DIR/steps; its output is DIR/NAME.log, a failure of it stands in DIR/failed.
step() {
    name=$1
    seconds=$2
    shift 2
    ! grep -qxF "$name" "$out/steps" 2>/dev/null || return 0
    step_began=$(date +%s)
    if [ $((step_began - began + seconds)) -gt "$limit" ]; then
        echo "$name: no time left in this call: call again"
        python3 tests/gpu/report.py "$out" $mode >/dev/null
        exit 3
    fi
    echo "$name ..."
    "$@" >"$out/$name.log" 2>&1
    status=$?
    took=$(($(date +%s) - step_began))
    case $status in
    0) echo "$name: done in $took s" ;;
    124) echo "$name: not ended after $seconds s" | tee -a "$out/failed" ;;
    *) echo "$name: status $status after $took s" | tee -a "$out/failed" ;;
    esac
    [ $status = 0 ] || tail -n 5 "$out/$name.log"
    echo "$name" >>"$out/steps"
}

run() { timeout "$seconds" "$@"; } # a program of a step; its time is up with the step's

# ---- building: one command a line into a list, several at a time

isa_lines() { # NAME VEC FLAGS SOURCES [ISA, if it is not NAME]
    for source in $4; do
        echo "gcc $c_flags -O3 $3 -DKERN_ISA=${5:-$1} -DKERN_VEC=$2 -c kernels/cpu/$source.c -o $out/obj/$1_$source.o"
    done
}

build_lines() {
    c_flags="-std=gnu17 -D_GNU_SOURCE -DQWEND_VERSION='\"gpu\"' -fno-strict-aliasing -fno-math-errno -ffp-contract=off -w -I."
    for source in proto/base proto/sha256 daemon/model/*.c kernels/quant kernels/blocks kernels/hostmem kernels/kernels kernels/cpu/*.c \
        tests/gpu/*.c; do
        case $source in kernels/cpu/isa_table.c | kernels/cpu/norm.c | kernels/cpu/delta.c | kernels/cpu/attn.c | kernels/cpu/mm_*.c)
            continue ;; # isa_lines' own
        esac
        source=${source%.c}
        [ -e "$source.c" ] || continue
        echo "gcc $c_flags -O2 -DKERN_CUDA -c $source.c -o $out/obj/$(echo "$source" | tr / _).o"
    done
    all='isa_table norm delta attn mm_k mm_b mm_f'
    isa_lines scalar 0 '' 'isa_table norm delta attn'
    if [ "$(uname -m)" = x86_64 ]; then
        half='isa_table norm delta attn mm_k_half mm_b_half mm_f'
        isa_lines avx2 256 '-mavx2 -mfma -mf16c' "$half"
        isa_lines avxvnni 256 '-mavx2 -mfma -mf16c -mavxvnni' "$half"
        avx512='-mavx2 -mfma -mf16c -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni'
        isa_lines avx512 512 "$avx512" "$all"
        isa_lines amx 512 "$avx512 -DKERN_TILES" 'isa_table mm_tile' avx512
    elif [ "$(uname -m)" = aarch64 ]; then
        isa_lines neon 128 '-march=armv8.2-a+dotprod -fno-schedule-insns' "$all"
        isa_lines i8mm 128 '-march=armv8.2-a+dotprod+i8mm -fno-schedule-insns' "$all"
    fi
    for source in kernels/cuda/*.cu; do
        object=$out/obj/cu_$(basename "$source").o
        if [ $mode = emu ]; then
            echo "g++ -std=c++17 -O2 -ffp-contract=off -fno-strict-aliasing -w -I. -include tests/emu/emu.h -x c++ -c $source -o $object"
        else
            echo "nvcc -std=c++17 -O3 -fmad=false -lineinfo -arch=$arch -I. -c $source -o $object"
        fi
    done
    [ $mode = gpu ] || for source in tests/emu/emu_*.cpp; do
        echo "g++ -std=c++17 -O2 -ffp-contract=off -fno-strict-aliasing -w -I. -c $source -o $out/obj/$(basename "$source").o"
    done
    for source in tests/bench/random_gguf tests/bench/random_blocks tests/fixture/gguf_put; do
        echo "gcc $c_flags -O2 -c $source.c -o $out/obj/random-$(basename $source).o"
    done
}

# random_gguf reads a vocabulary with the model's GGUF reader.
link_random() {
    gcc -o "$out/random_gguf" "$out"/obj/random-*.o "$out"/obj/daemon_model_gguf*.o "$out"/obj/proto_base.o \
        "$out"/obj/kernels_quant.o "$out"/obj/kernels_blocks.o -lm
}

build() {
    if [ $mode = gpu ]; then
        release=$(nvcc --version | sed -n 's/.*release \([0-9.]*\),.*/\1/p')
        [ "$release" != 13.2 ] || { echo "nvcc 13.2 miscompiles low-bit kernels: use another"; return 1; }
    fi
    build_lines >"$out/commands"
    run xargs -P "$jobs" -d '\n' -I{} sh -c '{}' <"$out/commands" || return 1
    programs=$(find "$out/obj" -name '*.o' ! -name 'random-*' | sort)
    if [ $mode = gpu ]; then link=nvcc; else link=g++; fi
    # shellcheck disable=SC2086
    $link -o "$out/driver" $programs -lm -lpthread && link_random
}

# ---- models

# JSON to what the driver reads; in a rehearsal only prompts of up to five ids.
cases() { # MODEL-PATH-WITHOUT-SUFFIX LONGEST
    python3 - "$1.json" "$2" <<'PY'
import json, sys
j = json.load(open(sys.argv[1]))
longest = int(sys.argv[2])
prompts = [p for p in j["prompts"] if len(p["ids"]) <= longest]
a = j["agreement"]
print(j["n_vocab"], len(prompts), a["llama_vs_hf_rms"], a["kl_mean"], int(len(j["tensor_types"]) == 1))
for p in prompts:
    print(p["row"], len(p["ids"]), len(p["positions"]))
    print(*p["ids"])
    print(*p["positions"])
PY
}

model() { # NAME LONGEST [host]
    base=tests/golden/models/$1
    cases "$base" "$2" >"$out/cases" &&
        run "$driver" $backend model "$base.gguf" "$out/cases" "$base.logits.f32" ${3:+"$3"}
}

random_model() { # OPTIONS
    run "$random" --vocab-file tests/golden/tokenizer/vocab-tiny.gguf "$@" "$out/random.gguf"
}

# ---- a GPU's own

machine() {
    date -u +'%Y-%m-%d %H:%M UTC'
    nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.memory,power.limit --format=csv,noheader
    ! command -v nvcc || nvcc --version | tail -n 2 | head -n 1
}

# "PREFILL CONTEXT DECODE DEEP" for gpu_driver speed: 16 sequences at CONTEXT take half a MiB a position.
speed_sizes() {
    mib=$(nvidia-smi --query-gpu=memory.total --format=csv,noheader,nounits | head -n 1)
    if [ "${mib:-0}" -ge 40000 ]; then echo 4096 32768 128 131072; else echo 4096 8192 128 0; fi
}

# ncu's lines for each kernel of one step of this many rows at this position.
profile() { # decode|prefill ROWS CONTEXT
    run "$ncu" --clock-control none --profile-from-start off --csv --metrics gpu__time_duration.sum \
        "$driver" $backend profile "$out/random.gguf" "$@"
}

sanitize() { run compute-sanitizer --tool "$1" --error-exitcode 9 "$driver" cuda ops; }

# The host's CPU, on fewer layers of the same shape: 0.5 GB, in memory twice.
cpu_model() { run "$random" --vocab-file tests/golden/tokenizer/vocab-tiny.gguf --layers 4 --vocab 4096 "$out/cpu.gguf"; }
cpu() {
    grep -m 1 '^model name' /proc/cpuinfo
    grep -m 1 -E '^(flags|Features)' /proc/cpuinfo
    run "$driver" cpu host "$1" 512
}

llama_build() {
    cmake -S "$llama" -B "$out/llama" -DGGML_CUDA=ON -DCMAKE_BUILD_TYPE=Release -DLLAMA_CURL=OFF -DCMAKE_CUDA_ARCHITECTURES=native &&
        run cmake --build "$out/llama" --target llama-bench -j "$jobs"
}

serve() { # OPTIONS
    run python3 tests/gpu/serve.py --qwend "$qwend" --engine "$engine" --limit "$seconds" --log "$out/qwend.log" "$@"
}

# ---- all of it

if [ "$driver" = "$out/driver" ]; then step build 480 build; fi
if [ ! -x "$driver" ]; then # nothing can be reported; the next call builds again
    echo "there is no driver: see $out/build.log"
    rm -f "$out/steps" "$out/failed"
    exit 1
fi
if [ $mode = emu ]; then
    step ops 200 run "$driver" emu ops
    step model-d1-k256-Q4_K_M 120 model d1-k256/d1-k256-Q4_K_M 5
    step model-d2-f32-F32-host 120 model d2-f32/d2-f32-F32 5 host
    step keep 60 run "$driver" emu keep
    step random-model 60 random_model --layers 2 --interval 2 --dim 256 --ff 256 --heads 4 --kv-heads 2 --head-dim 64 --rot 16 \
        --delta-k 2 --delta-v 4 --delta-dim 64 --vocab 1024
    step speed 120 run "$driver" emu speed "$out/random.gguf" 10 16 1 80
    [ -z "$ncu" ] || step profile-decode-1 60 profile decode 1 16
    step cpu 60 cpu "$out/random.gguf"
else # what needs least time and says most comes first
    step machine 30 machine
    step ops 60 run "$driver" cuda ops
    step keep 30 run "$driver" cuda keep
    for name in d1-k256/d1-k256-MIX d1-k256/d1-k256-Q4_K_M d1-k256/d1-k256-Q4_0 d1-k256/d1-k256-IQ4_XS d2-f32/d2-f32-F32 \
        d3-mtp/d3-mtp-Q4_K_M; do
        step "model-$(basename $name)" 30 model $name 100000
    done
    step model-d2-f32-F32-host 30 model d2-f32/d2-f32-F32 100000 host
    step random-model 120 random_model
    # shellcheck disable=SC2046
    step speed 120 run "$driver" cuda speed "$out/random.gguf" $(speed_sizes)
    if [ -n "$ncu" ]; then
        step profile-decode-1 60 profile decode 1 1024
        step profile-decode-16 60 profile decode 16 4096
        step profile-prefill-512 60 profile prefill 512 1024
    fi
    [ -z "$qwend" ] || step serve 90 serve "$out/random.gguf"
    if [ -n "$llama" ]; then
        step llama-build 480 llama_build
        llama_bench=$out/llama/bin/llama-bench
    fi
    [ -z "$llama_bench" ] || step llama 90 run "$llama_bench" -m "$out/random.gguf" -p 512,4096 -n 128 -fa 1
    step ops-large 60 run "$driver" cuda ops --large
    if command -v compute-sanitizer >/dev/null; then
        step sanitizer-memcheck 60 sanitize memcheck
        step sanitizer-racecheck 60 sanitize racecheck
        step sanitizer-synccheck 45 sanitize synccheck
    fi
    step cpu-model 60 cpu_model
    step cpu 90 cpu "$out/cpu.gguf"
fi
python3 tests/gpu/report.py "$out" $mode
