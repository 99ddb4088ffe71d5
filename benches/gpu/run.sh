#!/usr/bin/env bash
# Parity and speed on an NVIDIA GPU, with nothing from the network:
#
#     benches/gpu/run.sh MODEL_DIR ONNXRUNTIME_LIBRARY [RESULTS_DIR]
#
# The library is a GPU build (libonnxruntime.so.1.31.1 of PyPI's onnxruntime-gpu wheel) with its providers beside it. CUDA 13, cuDNN 9
# and, for TensorRT, libnvinfer 10 must be on the loader's path; those inside PyTorch's or nvidia-* wheels are found by themselves.
# A configuration that fails is told in the table and does not stop the others.
set -euo pipefail
cd "$(dirname "$0")/../.."
[ $# -ge 2 ] || { sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 2; }
model=$1 library=$2 results=${3:-out/gpu}
alike=${ALIKE:-target/release/alike}
triplets=${TRIPLETS:-35000}
mkdir -p "$results"
rm -f "$results/runs.jsonl"

libraries=$(python3 - <<'EOF'
import glob, sysconfig
site = sysconfig.get_paths()["purelib"]
print(":".join(sorted({path.rsplit("/", 1)[0] for path in glob.glob(site + "/nvidia/**/lib*.so*", recursive=True)}
                      | {path.rsplit("/", 1)[0] for path in glob.glob(site + "/tensorrt_libs/lib*.so*")})))
EOF
)
export LD_LIBRARY_PATH="$(dirname "$library"):$libraries:${LD_LIBRARY_PATH:-}"

nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader | tee "$results/gpu.txt"
"$alike" sample --concepts data/concepts/things128.csv --n "$triplets" --seed 7 --out "$results/triplets.parquet" --force

echo; echo "== parity: the GPU against the CPU, and sharing against whole prompts =="
for provider in cuda tensorrt; do
    "$alike" check --model "$model" --ort "$library" --concepts data/concepts/things128.csv --self-test 200 \
        --provider "$provider" --engine-cache "$results/engines" 2>&1 | tee "$results/check-$provider.txt" \
        | grep -E "provider|strategy|parity|error" || true
done

run() { # NAME flags...
    local name=$1 summary; shift
    if summary=$("$alike" judge --model "$model" --ort "$library" --triplets "$results/triplets.parquet" \
            --concepts data/concepts/things128.csv --style chat --out "$results/judgments" --label "$name" --force \
            --part-rows 131072 --self-test 8 --json --quiet "$@" 2>"$results/$name.log"); then
        echo "$summary" >>"$results/runs.jsonl"
        tail -c 200 <<<"$name done" >&2
    else
        echo "{\"respondent\": \"$name\", \"error\": $(tail -n 3 "$results/$name.log" | python3 -c 'import json, sys; print(json.dumps(sys.stdin.read().strip()))')}" \
            >>"$results/runs.jsonl"
    fi
}

echo; echo "== speed =="
for batch in 1024 4096 16384 65536; do
    run "cuda-trie-$batch" --provider cuda --batch-tokens "$batch"
done
run cuda-question-16384 --provider cuda --batch-tokens 16384 --reuse question
run cuda-off-16384 --provider cuda --batch-tokens 16384 --reuse off
run cuda-tf32-16384 --provider cuda --batch-tokens 16384 --tf32
for precision in fp32 fp16 bf16; do
    mkdir -p "$results/engines"
    run "tensorrt-$precision-16384" --provider tensorrt --precision "$precision" --engine-cache "$results/engines" --batch-tokens 16384
done
[ -n "${WITH_CPU:-}" ] && run cpu-trie-1024 --provider cpu --limit 2000

python3 - "$results/runs.jsonl" <<'EOF'
import json, sys
print(f"{'run':<28}{'triplets/s':>12}{'tokens/s':>12}{'session/wall':>14}{'load s':>9}{'parity, nat':>13}")
for line in open(sys.argv[1]):
    run = json.loads(line)
    if "error" in run:
        print(f"{run['respondent']:<28}failed: {run['error'].splitlines()[0][:90]}")
        continue
    seconds = run["judge_seconds"]
    parity = (run.get("self_test") or {}).get("max_nats")
    print(f"{run['respondent']:<28}{run['triplets_per_second']:>12.0f}{run['tokens_computed'] / seconds:>12.0f}"
          f"{run['session_seconds'] / seconds:>14.2f}{run['load_seconds']:>9.1f}" + (f"{parity:>13.1e}" if parity is not None else ""))
EOF
