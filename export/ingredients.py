"""What a transformers configuration says of a model, in one vocabulary for all families."""

# Ours, and theirs: the first that a configuration has. Some are names of one family only.
NAMES = {
    "layers": ("num_hidden_layers",),
    "hidden_size": ("hidden_size",),
    "attention_heads": ("num_attention_heads",),
    "intermediate_size": ("intermediate_size", "n_inner", "ffn_hidden_size"),
    "vocab_size": ("vocab_size",),
    "max_context": ("max_position_embeddings",),
    "activation": ("hidden_act", "hidden_activation", "activation_function", "activation"),
    "tied_embeddings": ("tie_word_embeddings",),
}
OPTIONAL = {
    "experts": ("num_local_experts",),
    "experts_per_token": ("num_experts_per_tok",),
    "sliding_window": ("sliding_window",),
}


def ingredients_of(config, parameters: int) -> dict:
    """Under the names of alike.json. `parameters`: tied ones once."""

    def of(names):
        return next((value for name in names if (value := getattr(config, name, None)) is not None), None)

    found = {ours: of(theirs) for ours, theirs in NAMES.items()}
    found["intermediate_size"] = found["intermediate_size"] or 4 * found["hidden_size"]  # GPT-J's default
    found["kv_heads"] = _kv_heads(config)
    found["head_dim"] = getattr(config, "head_dim", None) or found["hidden_size"] // found["attention_heads"]
    found["parameters"] = parameters
    return found | {ours: value for ours, theirs in OPTIONAL.items() if (value := of(theirs)) is not None}


def standard_config(config, own: dict) -> dict:
    """`own` (config.json) with the sizes that engines read by their usual names, where a family has others."""
    sizes = {name: getattr(config, name, None) for name in (
        "num_hidden_layers", "hidden_size", "num_attention_heads", "vocab_size", "max_position_embeddings",
        "bos_token_id", "eos_token_id", "pad_token_id")}
    sizes["num_key_value_heads"] = _kv_heads(config)
    sizes["head_dim"] = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return {**own, **{name: value for name, value in sizes.items() if value is not None and own.get(name) is None}}


def _kv_heads(config) -> int:
    if config.model_type == "falcon":  # its first architecture has one or all, and says so elsewhere
        if not config.new_decoder_architecture:
            return 1 if config.multi_query else config.num_attention_heads
        return config.num_kv_heads
    return getattr(config, "num_key_value_heads", None) or config.num_attention_heads
