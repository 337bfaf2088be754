#!/usr/bin/env bash
# The quick grid in this process and on Ray; both must print the same table. About two minutes.
set -euo pipefail
out=${1:-runs/quick}
mkdir -p "$(dirname "$out")"
grid() { OMP_NUM_THREADS=1 python -m slimcls.grid configs/grid/quick.yaml "$@"; }

grid --out "$out/local" > "$out.local.txt"
grid --out "$out/ray" --engine ray > "$out.ray.txt"
cat "$out.local.txt"
diff "$out.local.txt" "$out.ray.txt" && echo "local and ray agree"
