"""lm-evaluation-harness, HF backend (torch): the two options of each request, in fp32.

    python lm_eval_hf.py --requests requests.jsonl --model HF_DIR --log-probs out.jsonl --batch-size auto-best [--device cuda]
"""

import time
from importlib.metadata import version

from common import fastest, finish, read_requests, torch_options

BATCH_SIZES = {"cpu": [1, 8, 16, 32, 64], "cuda": [256, 512, 1024, 2048]}
N_SAMPLE = 32  # requests that each size is tried on, at least: two sequences each


def main():
    options = torch_options(__doc__.splitlines()[0], BATCH_SIZES)
    start = time.perf_counter()
    import torch
    from harness import PromptAsWritten, timed_scores
    from lm_eval.models.huggingface import HFLM

    class Model(PromptAsWritten, HFLM):
        pass

    torch.set_num_threads(options.threads)
    model = Model(pretrained=str(options.model), device=options.device, dtype="float32", batch_size=1)
    load_seconds = time.perf_counter() - start

    requests = read_requests(options.requests)
    timed_scores(model, requests[:1])  # the first call allocates

    def rate(size):
        n = max(N_SAMPLE, size // 2)
        sample = requests[::max(1, len(requests) // n)][:n]
        model.batch_size_per_gpu = size
        return len(sample) / timed_scores(model, sample)[1]

    model.batch_size_per_gpu, tried = fastest(options.batch_size, BATCH_SIZES[options.device], rate)
    log_probs, seconds = timed_scores(model, requests)
    finish(options, requests, log_probs, tool="lm-eval hf", version=version("lm_eval"), seconds=seconds,
           load_seconds=load_seconds, runtime=f"torch {torch.__version__}, transformers {version('transformers')}",
           weights="fp32", device=options.device, batch_size=model.batch_size_per_gpu, tried_triplets_per_second=tried)


if __name__ == "__main__":
    main()
