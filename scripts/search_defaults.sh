#!/usr/bin/env bash
# The search behind the default learning rates (docs/defaults.md): validation accuracy at a shallow and
# at the full depth, everything else at its default. Finished runs are answered at once,
# so it can be stopped and started. Needs DATA, a folder as --data-dir takes it.
set -euo pipefail
data=${1:?usage: scripts/search_defaults.sh DATA [OUT]}
out=${2:-results/smollm2}
run() { python -m slimcls.train --model smollm2-135m --data-dir "$data" --out "$out" --save-model none "$@"; }

for lr in 1e-4 3e-4 1e-3 3e-3; do
  run --keep 2 --dataset trec --mode cls --lr "$lr"
done
for mode in p-cls lm; do
  for lr in 3e-4 1e-3; do
    run --keep 2 --dataset trec --mode "$mode" --lr "$lr"
  done
done
for lr in 3e-5 1e-4 3e-4; do
  run --keep all --dataset sst2 --mode cls --lr "$lr"
done
