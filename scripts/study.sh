#!/usr/bin/env bash
# A study from its grid's YAML, which chooses settings: every run, the rivals of its cuts, the report.
# Start it again after anything; what is done is not done again. Random blocks are trained once a cut and
# mode, as long as the cut itself; the other rivals, quick ones, with every seed.
set -euo pipefail
usage="usage: scripts/study.sh GRID.yaml DATA OUT REPORT"
grid=${1:?$usage} data=${2:?$usage} out=${3:?$usage} report=${4:?$usage}
python=${PYTHON:-python}

"$python" -m slimcls.grid --config "$grid" --data-dir "$data" --out "$out"

# A line a rival: its method, its seed, and the run that won a choice, whose settings it takes.
rivals=$(
  "$python" - "$grid" "$out" <<'PYTHON'
import json
import sys
from pathlib import Path

import yaml

grid, out = map(Path, sys.argv[1:])
seeds = yaml.safe_load(grid.read_text())["seed"]
found = {}
for choice in json.loads((out / "choices" / f"{grid.stem}.json").read_text()):
    path = out / choice["run"] / "config.yaml"
    run = yaml.safe_load(path.read_text())
    found["random-blocks", choice["run"]] = "random-blocks", run["seed"], path
    task, model = (run["dataset"], run["shots"]), (run["model"], run["revision"])
    for seed in seeds:
        for key in (("majority", task), ("tfidf", task), ("embeddings", task, model)):
            found.setdefault((*key, seed), (key[0], seed, path))
        if run["mode"] == "lm":
            key = ("untrained", task, model, tuple(run["layers"]), seed)
            found.setdefault(key, (key[0], seed, path))
for line in found.values():
    print(*line)
PYTHON
)
while read -r method seed run; do
  "$python" -m slimcls.baseline --config "$run" --method "$method" --seed "$seed" \
    --data-dir "$data" --out "$out" < /dev/null
done <<< "$rivals"

"$python" -m slimcls.report "$out" --out "$report"
