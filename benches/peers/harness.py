"""What lm-evaluation-harness needs around its models: instances, and a join that leaves the prompt as it is."""

import logging
import os
import time

# Before transformers is imported: nothing is downloaded, and nothing is warned about.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from lm_eval.api.instance import Instance  # noqa: E402

logging.getLogger("lm_eval").setLevel(logging.ERROR)


class PromptAsWritten:
    """Mixin: the option begins where the prompt ends, also after a newline.

    lm-eval moves white space at the end of a prompt to the front of the option. After a chat template that is the
    newline behind `assistant`, so its sums carry the log-probability of that newline as well. It is the same number in
    both options, and the model sees the same tokens: choices and speed stay, only the sums could not be compared.
    """

    def _encode_pair(self, context, continuation):
        prompt = self.tok_encode(context)
        whole = self.tok_encode(context + continuation)
        if whole[:len(prompt)] != prompt:
            raise ValueError(f"{continuation!r} does not join cleanly to its prompt")
        return prompt, whole[len(prompt):]


def instances(requests) -> list[Instance]:
    """Two a request, one per option."""
    return [Instance(request_type="loglikelihood", doc={}, arguments=(r.prompt, choice), idx=i)
            for r in requests for i, choice in enumerate(r.choices)]


def timed_scores(model, requests) -> tuple[list[tuple[float, float]], float]:
    """(first, second) a request, and the seconds it took; tokenisation is part of it, as it is for alike."""
    start = time.perf_counter()
    answers = model.loglikelihood(instances(requests), disable_tqdm=True)
    seconds = time.perf_counter() - start
    sums = [log_prob for log_prob, _is_greedy in answers]
    return list(zip(sums[::2], sums[1::2], strict=True)), seconds
