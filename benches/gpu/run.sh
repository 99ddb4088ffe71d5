#!/usr/bin/env bash
# Parity and speed on an NVIDIA GPU, with nothing from the network:
#
#     benches/gpu/run.sh WEIGHTS.gguf ONNXRUNTIME_LIBRARY [measure.py's flags]
#
# The library is a GPU build (libonnxruntime.so.1.31.1 of PyPI's onnxruntime-gpu wheel) with its providers beside it. CUDA 13, cuDNN 9
# and, for TensorRT, libnvinfer 10 must be on the loader's path; those inside PyTorch's or nvidia-* wheels are found by themselves.
# python3 needs what export/requirements.txt lists; with torch and transformers it also measures them.
set -euo pipefail
cd "$(dirname "$0")/../.."
[ $# -ge 2 ] || { sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 2; }
libraries=$(python3 - <<'EOP'
import glob, sysconfig
site = sysconfig.get_paths()["purelib"]
print(":".join(sorted({path.rsplit("/", 1)[0] for path in glob.glob(site + "/nvidia/**/lib*.so*", recursive=True)}
                      | {path.rsplit("/", 1)[0] for path in glob.glob(site + "/tensorrt_libs/lib*.so*")})))
EOP
)
export LD_LIBRARY_PATH="$(dirname "$2"):$libraries:${LD_LIBRARY_PATH:-}"
exec python3 benches/gpu/measure.py "$@"
