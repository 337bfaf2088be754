#!/usr/bin/env bash
# The reference figures of docs/defaults.md: defaults throughout, three of the protocol's seeds. Finished
# runs are answered at once, so it can be stopped and started. Needs DATA, a folder as --data-dir takes it.
set -euo pipefail
data=${1:?usage: scripts/reference_figures.sh DATA [OUT]}
out=${2:-results/smollm2}
run() { python -m slimcls.train --model smollm2-135m --data-dir "$data" --out "$out" --save-model none "$@"; }

for seed in 0 42 421; do
  for mode in cls p-cls lm; do
    run --keep 2 --dataset trec --mode "$mode" --seed "$seed"
    run --keep 2 --dataset agnews --mode "$mode" --seed "$seed"
    run --keep all --dataset sst2 --mode "$mode" --seed "$seed"
  done
done
