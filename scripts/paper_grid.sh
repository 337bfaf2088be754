#!/usr/bin/env bash
# The whole protocol of "Why Lift so Heavy?" on a Ray cluster that runs already: both models with their
# equal-size rivals, 720 runs. Start it again after anything; what is done is not done again. Further
# words go to slimcls.grid, as in: scripts/paper_grid.sh DATA OUT --address auto --gpus 1 --cpus 4
# scripts/paper_grid.sh --smoke proves it on any machine: made weights of the real shapes, one and two
# layers, three steps a run, nothing from the network; some minutes, 4 GB of memory.
set -euo pipefail
if [ "${1:-}" = --smoke ]; then
  shift
  exec python -m benchmarks.paper --size full "$@"
fi
data=${1:?usage: scripts/paper_grid.sh DATA OUT [--address ADDRESS --gpus N --cpus N ...]}
out=${2:?usage: scripts/paper_grid.sh DATA OUT [--address ADDRESS --gpus N --cpus N ...]}
shift 2
words=(--engine ray --address auto --gpus 1 --data-dir "$data" --out "$out" "$@")

# What will it take? Cells that cannot fit are named here, before hours have gone by.
for model in gpt2-xl opt-1.3b; do
  python -m slimcls.grid "configs/grid/paper-$model.yaml" "${words[@]}" --dry-run | tail -n 1
done
status=0
for model in gpt2-xl opt-1.3b; do
  # One model's failed cells do not keep the other from being worked on.
  python -m slimcls.grid "configs/grid/paper-$model.yaml" "${words[@]}" || status=$?
  [ "$status" -lt 128 ] || exit "$status"
done
exit "$status"
