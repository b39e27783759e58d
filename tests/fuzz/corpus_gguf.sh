#!/bin/sh
# corpus_gguf.sh - writes the whole models of corpus/gguf, which fuzz_gguf plans and its mutator starts from.
#
#     tests/fuzz/corpus_gguf.sh build/tests/bench/random_gguf
#
# Two layers, one of each kind, as narrow as blocks of 32 allow; the vocabulary is fuzz_tokenizer's.  The same program
# gives the same bytes, so that a run without a change in git tells that they are what this says.
set -eu
random_gguf=$(realpath "${1:?usage: corpus_gguf.sh RANDOM_GGUF}")
cd "$(dirname "$0")/corpus/gguf"
vocab=$(mktemp)
trap 'rm -f "$vocab"' EXIT
tail -c +2 ../tokenizer/vocab >"$vocab" # its first byte tells fuzz_tokenizer that the rest is a file

model() { # NAME [OPTION]...
    name=$1
    shift
    "$random_gguf" --vocab-file "$vocab" --vocab 264 --layers 2 --interval 2 --dim 32 --ff 32 --heads 2 --kv-heads 1 \
        --head-dim 16 --rot 8 --delta-k 1 --delta-v 2 --delta-dim 16 --context 4096 "$@" "$name"
}

model tied --type Q4_0 --tied 1
model untied --type Q4_0
model draft --type Q4_0 --tied 1 --mtp 1
model q8 --type Q8_0 --tied 1
model wide --type Q4_0 --tied 1 --layers 3 --interval 3 --heads 4 --kv-heads 2 --delta-k 2 --delta-v 4
model version-2 --type Q4_0 --tied 1 --seed 2
printf '\002' | dd of=version-2 bs=1 seek=4 conv=notrunc status=none
