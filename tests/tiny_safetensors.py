"""Tiny models as directories of safetensors: a llama with random weights that vLLM can load, and a LoRA of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)

HIDDEN_SIZE, FEED_FORWARD_SIZE = 128, 256
_HEADS, _KV_HEADS = 2, 1  # of 64, a size that each kind of attention of vLLM knows
_SPECIAL = ("<unk>", "<s>", "</s>")
_SYLLABLES = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]
_STEADY = 10.0

Tensors = Sequence[tuple[str, np.ndarray]]


def write_tiny_llama_directory(
    directory: Path, *, context_length: int = 2048, block_count: int = 2, shard_count: int = 1, seed: int = 0
) -> Path:
    """Write a model into `directory` and return it; the same arguments write the same bytes.

    With a `shard_count` above 1 its weights are in so many files, and `model.safetensors.index.json` tells which has
    which. It answers with made-up words and never ends by itself, so an answer has exactly the tokens asked for.
    """
    directory.mkdir(parents=True, exist_ok=True)
    vocabulary = _vocabulary()
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": HIDDEN_SIZE,
        "intermediate_size": FEED_FORWARD_SIZE,
        "num_hidden_layers": block_count,
        "num_attention_heads": _HEADS,
        "num_key_value_heads": _KV_HEADS,
        "head_dim": HIDDEN_SIZE // _HEADS,
        "max_position_embeddings": context_length,
        "vocab_size": len(vocabulary),
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": False,
        "attention_bias": False,
        "mlp_bias": False,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "torch_dtype": "bfloat16",
    }
    _write_json(directory / "config.json", config)
    _write_json(directory / "generation_config.json", {"bos_token_id": 1, "eos_token_id": 2, "do_sample": True})
    (directory / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    _write_tokenizer(directory, vocabulary, context_length)
    tensors = list(_tensors(vocabulary, block_count, np.random.default_rng(seed)))
    if shard_count == 1:
        write_safetensors(directory / "model.safetensors", tensors)
    else:
        _write_shards(directory, tensors, shard_count)
    return directory


def write_tiny_lora_directory(directory: Path, *, rank: int = 8, block_count: int = 2, seed: int = 1) -> Path:
    """Write a LoRA of the tiny llama, in the form of the library peft, into `directory` and return it."""
    directory.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "tiny",
        "r": rank,
        "lora_alpha": 2 * rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": ["q_proj"],
        "inference_mode": True,
    }
    _write_json(directory / "adapter_config.json", config)
    tensors = []
    for number in range(block_count):
        prefix = f"base_model.model.model.layers.{number}.self_attn.q_proj"
        tensors.append((f"{prefix}.lora_A.weight", _matrix(random, rank, HIDDEN_SIZE)))
        tensors.append((f"{prefix}.lora_B.weight", _matrix(random, HIDDEN_SIZE, rank)))
    write_safetensors(directory / "adapter_model.safetensors", tensors)
    return directory


def write_least_directory(directory: Path) -> Path:
    """Write the least that is a model in this format into `directory`, for an engine that loads nothing; return it."""
    directory.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "tokenizer.json"):
        _write_json(directory / name, {})
    write_safetensors(directory / "model.safetensors", [("weight", np.zeros(1))])
    return directory


def write_safetensors(path: Path, tensors: Tensors) -> Path:
    """Write tensors as BF16 and return the path.

    The format is the length of the header in 8 bytes, the header in JSON, and the bytes of the tensors, see
    https://github.com/huggingface/safetensors#format
    """
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset, data = 0, []
    for name, tensor in tensors:
        encoded = _bfloat16(tensor)
        header[name] = {"dtype": "BF16", "shape": list(tensor.shape), "data_offsets": [offset, offset + len(encoded)]}
        offset += len(encoded)
        data.append(encoded)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(data))
    return path


def _bfloat16(tensor: np.ndarray) -> bytes:
    return (np.ascontiguousarray(tensor, dtype="<f4").view("<u4") >> 16).astype("<u2").tobytes()


def _write_shards(directory: Path, tensors: Tensors, count: int) -> None:
    places = {}
    for number in range(count):
        name = f"model-{number + 1:05d}-of-{count:05d}.safetensors"
        part = tensors[number * len(tensors) // count : (number + 1) * len(tensors) // count]
        write_safetensors(directory / name, part)
        places |= {tensor: name for tensor, _ in part}
    size_bytes = sum(2 * tensor.size for _, tensor in tensors)
    _write_json(
        directory / "model.safetensors.index.json", {"metadata": {"total_size": size_bytes}, "weight_map": places}
    )


def _write_json(path: Path, document: Mapping[str, object]) -> None:
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _letters() -> list[str]:
    """Return the letter that stands for each byte, as in GPT-2: itself where it can be printed."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = iter(range(0x100, 0x200))
    return [chr(byte if byte in shown else next(hidden)) for byte in range(256)]


def _vocabulary() -> dict[str, int]:
    """Return each token with its number: the special ones, the bytes, and syllables, alone and after a space."""
    words = [*_SYLLABLES, *(f"Ġ{syllable}" for syllable in _SYLLABLES)]
    return {token: number for number, token in enumerate([*_SPECIAL, *_letters(), *words])}


def _write_tokenizer(directory: Path, vocabulary: Mapping[str, int], context_length: int) -> None:
    marks = {"lstrip": False, "rstrip": False, "normalized": False, "single_word": False, "special": True}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": vocabulary[token], "content": token, **marks} for token in _SPECIAL],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": vocabulary,
            "merges": [" ".join(each) for each in _SYLLABLES] + [f"Ġ {each}" for each in _SYLLABLES],
        },
    }
    names = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    _write_json(directory / "tokenizer.json", tokenizer)
    _write_json(directory / "special_tokens_map.json", names)
    more = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": context_length}
    _write_json(directory / "tokenizer_config.json", {**names, **more})


def _matrix(random: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    return (random.standard_normal((rows, columns)) / np.sqrt(columns)).astype(np.float32)


def _tensors(
    vocabulary: Mapping[str, int], block_count: int, random: np.random.Generator
) -> Iterator[tuple[str, np.ndarray]]:
    embedding, output = (_matrix(random, len(vocabulary), HIDDEN_SIZE) for _ in range(2))
    # Dimension 0 is steady through the network; the output matrix uses it to shut out bytes and the end of text.
    embedding[:, 0] = _STEADY
    output[:, 0] = [0 if number >= len(_SPECIAL) + 256 else -_STEADY for number in vocabulary.values()]
    yield "model.embed_tokens.weight", embedding
    for number in range(block_count):
        for name, tensor in _block(random):
            yield f"model.layers.{number}.{name}.weight", tensor
    yield "model.norm.weight", np.ones(HIDDEN_SIZE, dtype=np.float32)
    yield "lm_head.weight", output


def _block(random: np.random.Generator) -> Iterator[tuple[str, np.ndarray]]:
    width, inner, kv_width = HIDDEN_SIZE, FEED_FORWARD_SIZE, HIDDEN_SIZE // _HEADS * _KV_HEADS
    yield "input_layernorm", np.ones(width, dtype=np.float32)
    yield "self_attn.q_proj", _matrix(random, width, width)
    yield "self_attn.k_proj", _matrix(random, kv_width, width)
    yield "self_attn.v_proj", _matrix(random, kv_width, width)
    yield "self_attn.o_proj", _matrix(random, width, width)
    yield "post_attention_layernorm", np.ones(width, dtype=np.float32)
    yield "mlp.gate_proj", _matrix(random, inner, width)
    yield "mlp.up_proj", _matrix(random, inner, width)
    yield "mlp.down_proj", _matrix(random, width, inner)
