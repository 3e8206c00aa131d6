#!/usr/bin/env bash
# The CUDA rows of docs/performance.md: the tracker beside the sam2 package's predictor, official sizes with random weights.
#   benchmarks/cuda_speed.sh FOLDER        writes one JSON file for each model; "uamp" must be on the path, or UAMP say how to call it
set -uo pipefail
out=${1:?a folder for the results}
uamp=${UAMP:-uamp}
if ! python3 -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' 2>/dev/null; then
  echo "There is no CUDA device here: the CUDA rows are left out."
  exit 0
fi
mkdir -p "$out"
for model in nano sam2.1-hiera-tiny sam2.1-hiera-large; do
  timeout 120 $uamp bench tracker --model "$model" --objects 1,4,16 --frames "${FRAMES:-12}" --memory-frames 0 --size 1280x720 \
    --no-sam2-compiled --json "$out/$model.json" || echo "$model: not measured"
done
