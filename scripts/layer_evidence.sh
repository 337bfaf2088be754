#!/usr/bin/env bash
# Evidence on which layers of the packaged model matter, without fine-tuned cuts (those are the grid
# configs/grid/smollm2-layers.yaml). A step is skipped when its file is there, and one that was stopped
# goes on; seconds.csv says what each step took that ran from its beginning to its end here. DATA is a folder as --data-dir takes it, with agnews, sst2
# and trec; BBC News comes with the packaged corpus. What is no evidence (a healed model, a
# classifier) goes to WORK. notebooks/04_which_layers_matter.ipynb shows it all.
set -euo pipefail
data=${1:?usage: scripts/layer_evidence.sh DATA [OUT [WORK]]}
out=${2:-results/layers}
work=${3:-runs/layers}
# Another model, and how many of its layers stay where some are removed for good.
model=${MODEL:-smollm2-135m} keep=${KEEP:-25} most=${MOST:-10} heal=${HEAL:-40}
python=${PYTHON:-python}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} TOKENIZERS_PARALLELISM=false
mkdir -p "$out/scores" "$work"

# FILE COMMAND: does the command where the file is not there; the file is the last that it writes.
step() {
  local file=$1 start=$SECONDS
  shift
  if [ -e "$out/$file" ]; then
    echo "there: $out/$file"
    return
  fi
  echo "== $out/$file"
  "$@"
  echo "$file,$((SECONDS - start))" >> "$out/seconds.csv"
}
score() { "$python" -m slimcls.score "$model" --data-dir "$data" --overwrite "$@"; }
prune() { "$python" -m slimcls.prune --data-dir "$data" "$@"; }
removed() { prune --model "$model" --text bbcnews --evaluate --max-text-tokens 128 --held-out 16 "$@"; }

# Scores of the layers on four texts, with intervals.
for text in bbcnews agnews sst2 trec; do
  for criterion in bi bi-last; do
    step "scores/$criterion-$text.json" score --criterion "$criterion" --text "$text" \
      --samples 256 --max-text-tokens 128 --out "$out/scores/$criterion-$text.json"
  done
done

# Perplexity against removed layers by every criterion. Greedy removal is by far the slowest: 8 texts.
step removal/removal.csv removed --out "$out/removal" --most "$most" --samples 64 \
  --criteria bi,bi-last,relative-magnitude,angular,taylor,first,sequential,even,random
step removal-greedy/removal.csv removed --out "$out/removal-greedy" --most "$most" --samples 8 \
  --criteria greedy-loss

# Each block's attention alone, and its MLP alone.
step parts/parts.csv removed --out "$out/parts" --parts --held-out 8

# 8 and 4 bits beside removal: the language model, untrained accuracy by label word included, and a
# classifier that is trained here.
step bits/bits.csv removed --out "$out/bits" --quantise --keep "$keep" --select bi --samples 64 \
  --dataset sst2 --test-size 200
classifier() {
  "$python" -m slimcls.train --model "$model" --dataset trec --mode cls --keep all --shots 50 \
    --epochs 3 --batch-size 8 --validation-size 200 --data-dir "$data" --out "$work/classifier"
  local runs=("$work"/classifier/*/result.parquet)
  prune --classifier "$(dirname "${runs[0]}")" --text trec --evaluate --quantise --keep "$keep" \
    --select bi --samples 256 --out "$out/bits-classifier"
}
step bits-classifier/bits.csv classifier

# Removal, then low-rank training on plain text; its description is the evidence.
healing() {
  prune --model "$model" --text bbcnews --select bi --keep "$keep" --heal "$heal" --samples 64 \
    --held-out 16 --max-text-tokens 128 --overwrite --out "$work/healed"
  cp "$work/healed/pruned.json" "$out/healing.json"
}
step healing.json healing

# How much the profiles agree: quick, and made anew each time.
"$python" - "$out" <<'PYTHON'
import sys

from slimcls.reporting import layers

layers.agreement(layers.read_evidence(sys.argv[1]).scores).to_csv(f"{sys.argv[1]}/agreement.csv")
PYTHON
