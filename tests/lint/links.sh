#!/bin/sh
# links.sh BROKER [FILE...] - the broker links neither CUDA nor any of the model; nothing else given may link CUDA.
#
# Static libraries leave no name in ldd, so the broker's symbols are asked for the model's functions too.
set -eu
broker=${1:?usage: links.sh BROKER [FILE...]}
failed=0
for file; do
    if ldd "$file" | grep -Ei 'cuda|cublas|nvidia|nvrtc|libnv'; then
        echo "$file: links CUDA"
        failed=1
    fi
done
if nm "$broker" | grep -E ' [TtDdBbRr] (gguf|model|kern|quant|ref|tokenizer|chat|detok|sampler)_[a-z]'; then
    echo "$broker: holds code of the model or the kernels"
    failed=1
fi
nm "$broker" | grep -q ' T main$' || { echo "$broker: has no symbols to look at"; exit 77; }
exit $failed
