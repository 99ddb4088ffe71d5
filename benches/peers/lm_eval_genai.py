"""lm-evaluation-harness, its two ONNX backends: onnxruntime-genai, and a plain onnxruntime session on the same files.

    python lm_eval_genai.py --requests requests.jsonl --model GENAI_DIR --log-probs out.jsonl [--backend onnxruntime]

GENAI_DIR is made by onnxruntime_genai.models.builder (`weights.py genai`). Both run one sequence at a time: lm-eval
accepts no other batch size for them.
"""

import json
import time
from importlib.metadata import version

from common import finish, peer_parser, read_requests


def genai_model(threads: int):
    from harness import PromptAsWritten
    from lm_eval.models.onnxruntime_genai import ONNXRuntimeGenAILM

    class Model(PromptAsWritten, ONNXRuntimeGenAILM):
        def _select_ep(self, config):
            super()._select_ep(config)
            settings = {"model": {"decoder": {"session_options": {"intra_op_num_threads": threads}}}}
            config.overlay(json.dumps(settings))

    return Model


def onnxruntime_model(threads: int):
    import onnxruntime
    from harness import PromptAsWritten
    from lm_eval.models.onnxruntime_ort import ONNXRuntimeLM

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads

    class Model(PromptAsWritten, ONNXRuntimeLM):
        def _load(self):
            # The backend has no setting for threads: it asks the module for default options.
            defaults, onnxruntime.SessionOptions = onnxruntime.SessionOptions, lambda: options
            super()._load()
            onnxruntime.SessionOptions = defaults

        def _introspect_graph(self):
            # onnxruntime-genai 0.18 leaves the size of a head open; lm-eval 0.4.13 would take it for 1.
            super()._introspect_graph()
            head_size = self._genai_config["model"]["decoder"]["head_size"]
            self._input_specs = [(name, dtype, [head_size if dim == "kv_cache_dim" else dim for dim in shape])
                                 for name, dtype, shape in self._input_specs]

    return Model


def main():
    parser = peer_parser(__doc__.splitlines()[0])
    parser.add_argument("--backend", choices=["onnxruntime-genai", "onnxruntime"], default="onnxruntime-genai")
    options = parser.parse_args()

    start = time.perf_counter()
    from harness import timed_scores

    make = genai_model if options.backend == "onnxruntime-genai" else onnxruntime_model
    model = make(options.threads)(pretrained=str(options.model), execution_provider="cpu")
    load_seconds = time.perf_counter() - start

    requests = read_requests(options.requests)
    timed_scores(model, requests[:1])  # the first call allocates
    log_probs, seconds = timed_scores(model, requests)
    finish(options, requests, log_probs, tool=f"lm-eval {options.backend}", version=version("lm_eval"), seconds=seconds,
           load_seconds=load_seconds, runtime=f"{options.backend} {version(options.backend)}", weights="fp32",
           batch_size=1)


if __name__ == "__main__":
    main()
