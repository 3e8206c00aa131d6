#!/usr/bin/env bash
# The CUDA rows of docs/performance.md: the tracker beside the sam2 package's predictor, official sizes with random weights.
#   benchmarks/cuda_speed.sh FOLDER        writes one JSON file for each model; "uamp" must be on the path, or UAMP say how to call it
# Last, and only if LIMIT seconds are enough, the package's compiled predictor, by CUDA graphs without trying kernels, which takes
# many minutes (MODE=max-autotune has them tried as the package asks for, products by cuBLAS unless
# TORCHINDUCTOR_MAX_AUTOTUNE_GEMM_BACKENDS=ATEN,TRITON).
set -uo pipefail
out=${1:?a folder for the results}
uamp=${UAMP:-uamp}
if ! python3 -c 'import torch' 2>/dev/null; then
  echo "python3 has no torch here: call this by \"uv run benchmarks/cuda_speed.sh FOLDER\", or activate the environment." >&2
  exit 2
fi
if ! python3 -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
  echo "There is no CUDA device here: the CUDA rows are left out."
  exit 0
fi
mkdir -p "$out"
bench="$uamp bench tracker --frames ${FRAMES:-12} --size 1280x720"
for model in sam2.1-hiera-tiny sam2.1-hiera-large nano; do
  timeout -s INT 120 $bench --model "$model" --objects 1,4,16 --no-sam2-compiled --memory-frames 0 --json "$out/$model.json" \
    --plot "$out/$model.svg" || echo "$model: not measured"
done
timeout -s INT 120 $bench --model sam2.1-hiera-tiny --objects 1 --no-sam2-compiled --memory-frames 30,120 --json "$out/memory.json" ||
  echo "memory: not measured"
timeout -s INT 240 $bench --model sam2.1-hiera-tiny --objects 1,4 --no-sam2-compiled --memory-frames 0 --compile \
  --json "$out/own_compiled.json" || echo "ours compiled: not measured"
export TORCHINDUCTOR_MAX_AUTOTUNE_GEMM_BACKENDS=${TORCHINDUCTOR_MAX_AUTOTUNE_GEMM_BACKENDS:-ATEN}
timeout -s INT "${LIMIT:-900}" $bench --model sam2.1-hiera-tiny --objects 1 --memory-frames 0 --sam2-compile-mode "${MODE:-reduce-overhead}" \
  --json "$out/compiled.json" || echo "compiled: not measured"
