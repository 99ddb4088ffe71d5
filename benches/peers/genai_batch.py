"""onnxruntime-genai through its own API: the two options of each request, on CPU in fp32.

    python genai_batch.py --requests requests.jsonl --model GENAI_DIR --log-probs out.jsonl [--at-a-time 8]

GENAI_DIR is made by onnxruntime_genai.models.builder (`weights.py genai`). Its API offers two ways to work less than one
whole sequence after the other, and not both together: several sequences of one length at a time; or one at a time, in the
order of their tokens, going back (`rewind_to`) to where the next one parts from the one before. `--at-a-time 1` is the
latter.
"""

import json
import time
from importlib.metadata import version

from common import fastest, finish, peer_parser, read_requests

AT_A_TIME = [1, 4, 8, 16, 32]
N_SAMPLE = 32  # requests that each is tried on


class Model:
    """Weights, tokenizer, and a way to sum log-probabilities."""

    def __init__(self, path, threads: int):
        import onnxruntime_genai as og

        self.api = og
        config = og.Config(str(path))
        config.clear_providers()
        config.overlay(json.dumps({"model": {"decoder": {"session_options": {"intra_op_num_threads": threads}}}}))
        self.model = og.Model(config)
        self.tokenizer = og.Tokenizer(self.model)

    def tokens(self, request) -> tuple[list[int], list[list[int]]]:
        """The prompt and each option; tokenised together and split where the prompt ends, as alike does."""
        prompt = self.tokenizer.encode(request.prompt).tolist()
        whole = [self.tokenizer.encode(request.prompt + choice).tolist() for choice in request.choices]
        if any(ids[:len(prompt)] != prompt for ids in whole):
            raise SystemExit(f"request {request.id}: an option does not join cleanly to its prompt")
        return prompt, [ids[len(prompt):] for ids in whole]

    def generator(self, n_sequences: int, longest: int):
        params = self.api.GeneratorParams(self.model)
        params.set_search_options(batch_size=n_sequences, max_length=longest + 1, do_sample=False)
        return self.api.Generator(self.model, params)


def main():
    parser = peer_parser(__doc__.splitlines()[0])
    parser.add_argument("--at-a-time", default="auto-best", metavar="N",
                        help=f"sequences; auto-best (default): the fastest of {AT_A_TIME} on a sample")
    options = parser.parse_args()
