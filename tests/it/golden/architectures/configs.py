"""One tiny model for each architecture of the suite, with those options on that a family is known for.

Prompts are longer than each sliding window, heads share keys and values, head sizes differ from hidden size / heads
where a family allows it, experts are more than are used for a token.
"""

import transformers
from transformers import AutoModelForCausalLM

from originals import Instella, Qwen

COMMON = dict(vocab_size=400, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
              num_key_value_heads=2, max_position_embeddings=256, initializer_range=0.2,
              bos_token_id=1, eos_token_id=2, pad_token_id=2)
WINDOW = 16
LONG_ROPE = {"rope_type": "longrope", "rope_theta": 10000.0, "short_factor": [1.0, 1.1, 1.3, 1.6],
             "long_factor": [2.0, 3.0, 5.0, 8.0]}
MHA = {name: value for name, value in COMMON.items() if name != "num_key_value_heads"}
NO_MLP_SIZE = {name: value for name, value in MHA.items() if name != "intermediate_size"}


def of(config_class, **settings):
    return lambda: AutoModelForCausalLM.from_config(
        getattr(transformers, config_class)(**settings), attn_implementation="eager")


def gemma3():
    """Text and pictures, as published: what is asked of it here is text."""
    text = dict(COMMON, head_dim=16, query_pre_attn_scalar=16, sliding_window=WINDOW, num_hidden_layers=2,
                layer_types=["sliding_attention", "full_attention"])
    vision = dict(hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2, image_size=16,
                  patch_size=8, vision_use_head=False)
    config = transformers.Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=1,
                                       image_token_index=3, boi_token_index=4, eoi_token_index=5,
                                       bos_token_id=1, eos_token_id=2, pad_token_id=2)
    return transformers.Gemma3ForConditionalGeneration._from_config(config, attn_implementation="eager")


# Folder name: a model. The folder's name begins with its model_type, "_" written as "-".
MODELS = {
    "llama": of("LlamaConfig", **COMMON, head_dim=8, rope_parameters={
        "rope_type": "llama3", "rope_theta": 5000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32}),
    "qwen2": of("Qwen2Config", **COMMON, tie_word_embeddings=True),
    "qwen3": of("Qwen3Config", **COMMON, head_dim=16),
    "gemma2": of("Gemma2Config", **COMMON, head_dim=16, query_pre_attn_scalar=16, sliding_window=WINDOW,
                 attn_logit_softcapping=5.0, final_logit_softcapping=8.0),
    "gemma3": gemma3,
    "gemma3-text": of("Gemma3TextConfig", **dict(COMMON, num_hidden_layers=3), head_dim=16, query_pre_attn_scalar=16,
                      sliding_window=WINDOW, layer_types=["sliding_attention", "full_attention", "sliding_attention"]),
    "phi": of("PhiConfig", **MHA, rope_parameters={
        "rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}),
    "phi3": of("Phi3Config", **dict(COMMON, max_position_embeddings=1024), original_max_position_embeddings=512,
               rope_parameters={**LONG_ROPE, "original_max_position_embeddings": 512}, sliding_window=WINDOW),
    "phimoe": of("PhimoeConfig", **dict(COMMON, max_position_embeddings=1024, intermediate_size=32),
                 rope_parameters={**LONG_ROPE, "original_max_position_embeddings": 512, "short_mscale": 1.1,
                                  "long_mscale": 1.3},
                 num_local_experts=4, num_experts_per_tok=2, attention_bias=True, lm_head_bias=True),
    "olmo": of("OlmoConfig", **MHA, clip_qkv=0.5),
    "olmo2": of("Olmo2Config", **COMMON),
    # Of one key-value head and a parallel block (7B), of groups with two norms (11B), with ALiBi (RW).
    "falcon": of("FalconConfig", **NO_MLP_SIZE, new_decoder_architecture=False, multi_query=True, parallel_attn=True,
                 bias=False, ffn_hidden_size=64),
    "falcon-11b": of("FalconConfig", **NO_MLP_SIZE, new_decoder_architecture=True, num_kv_heads=2, bias=False,
                     ffn_hidden_size=64),
    "falcon-rw": of("FalconConfig", **NO_MLP_SIZE, new_decoder_architecture=False, multi_query=False,
                    parallel_attn=False, alibi=True, bias=True, ffn_hidden_size=64),
    "gptj": of("GPTJConfig", vocab_size=400, n_positions=256, n_embd=32, n_layer=2, n_head=4, rotary_dim=4, n_inner=64,
               initializer_range=0.2, bos_token_id=1, eos_token_id=2),
    "gpt-oss": of("GptOssConfig", **dict(COMMON, intermediate_size=16), head_dim=16, num_local_experts=4,
                  num_experts_per_tok=2, sliding_window=WINDOW),
    "qwen": lambda: Qwen(dict(
        model_type="qwen", architectures=["QWenLMHeadModel"], auto_map={"AutoConfig": "configuration_qwen.QWenConfig"},
        vocab_size=400, hidden_size=32, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, kv_channels=8,
        seq_length=256, max_position_embeddings=256, layer_norm_epsilon=1e-6, rotary_emb_base=10000, rotary_pct=1.0,
        no_bias=True, scale_attn_weights=True, use_dynamic_ntk=True, use_logn_attn=True, tie_word_embeddings=False,
        bos_token_id=1, eos_token_id=2, pad_token_id=2)),
    "phi3-v": of("Phi3Config", **dict(COMMON, max_position_embeddings=1024), original_max_position_embeddings=512,
                 rope_parameters={**LONG_ROPE, "original_max_position_embeddings": 512}),
    "instella": lambda: Instella(dict(
        model_type="instella", architectures=["InstellaForCausalLM"], hidden_act="silu",
        auto_map={"AutoConfig": "configuration_instella.InstellaConfig"}, attention_bias=False,
        **{name: value for name, value in COMMON.items() if name != "initializer_range"},
        rms_norm_eps=1e-5, rope_theta=10000.0, tie_word_embeddings=False)),
}
