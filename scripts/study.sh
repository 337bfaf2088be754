#!/usr/bin/env bash
# A study from its grid's YAML: every run, the rivals of its cuts, the report. Start it again after
# anything; what is done is not done again. Returns 1 where a run or a rival failed.
set -euo pipefail
usage="usage: scripts/study.sh GRID.yaml DATA OUT REPORT"
grid=${1:?$usage} data=${2:?$usage} out=${3:?$usage} report=${4:?$usage}
python=${PYTHON:-python} failed=0

# Runs that failed (1) leave the others to go on with; mistakes (2) and a stop (128 and more) do not.
step() {
  local code=0
  "$python" -m "$@" || code=$?
  ((code <= 1)) || exit "$code"
  ((code == 0)) || failed=1
}
step slimcls.grid "$grid" --data-dir "$data" --out "$out"
step slimcls.baseline --grid "$grid" --data-dir "$data" --out "$out"
step slimcls.report "$out" --out "$report"
exit "$failed"
