#!/bin/sh
# retrain.sh [FOLDER] - makes the demo model anew, from the options and documents as they are now: facts, suites, data,
# training, export, accuracies.  Everything lies in FOLDER (demo-run here); started again, it goes on where it stopped.
# Needs python3 with venv, a C++ compiler, a built qwend-probe (PROBE, ../../../build/daemon/probe/qwend-probe), and
# about two hours of two cores.  The committed files are replaced only by the last lines.
set -eu
cd "$(dirname "$0")"
run=${1:-demo-run}
probe=${PROBE:-../../../build/daemon/probe/qwend-probe}
[ -x "$probe" ] || {
    echo "retrain.sh: no $probe: ./dev build makes it" >&2
    exit 1
}
mkdir -p "$run"
if [ ! -e "$run/venv/ready" ]; then
    python3 -m venv "$run/venv"
    "$run/venv/bin/pip" install -r requirements.txt
    touch "$run/venv/ready"
fi
python=$run/venv/bin/python3

# A change of these makes other data, so they are left alone once the data are there.
if [ ! -e "$run/data-ready" ]; then
    "$python" facts.py
    "$python" suites.py
    # What the recipe takes of each phase, and a little more.
    "$python" data.py "$run/start" 7000000 --phase start
    "$python" data.py "$run/main" 33000000 --phase main
    "$python" data.py "$run/final" 17500000 --phase final
    touch "$run/data-ready"
fi
said=$("$python" train.py recipe.toml "$run" ${MINUTES:+--minutes "$MINUTES"})
echo "$said"
case $said in *'goes on') exit ;; esac # stopped by MINUTES or a signal
for type in BF16 Q8_0 Q4_K_M; do
    "$python" export.py "$run/checkpoint.pt" "$run/demo-$type.gguf" --type $type
done
"$python" plot.py "$run/metrics.jsonl" "$run/loss.svg"
"$python" evaluate.py --probe "$probe" --out "$run/results.json" "$run/demo-BF16.gguf" "$run/demo-Q8_0.gguf" \
    "$run/demo-Q4_K_M.gguf" | tee "$run/tables.md"
cp "$run/demo-Q8_0.gguf" ../demo.gguf
cp "$run/demo-Q4_K_M.gguf" ../demo-Q4_K_M.gguf
cp "$run/loss.svg" loss.svg
