"""What `config.json` of a model in safetensors says: what it is for, and what its context takes.

Source: https://huggingface.co/docs/transformers/main_classes/configuration
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from dmrc.fields import JsonValue
from dmrc.json_values import LARGEST_PARSED_BYTES, parse_object
from dmrc.project import Mode

CONFIG = "config.json"
"""Its name in a model's directory."""

_CONTEXTS = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "model_max_length", "n_ctx")
_VALUE_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
_WEIGHTS = ("*.safetensors", "*.bin", "*.pt")
_SCORES = ("ForSequenceClassification", "ForTokenClassification", "RewardModel")
_WRITES = ("ForCausalLM", "ForConditionalGeneration", "LMHeadModel", "ForImageTextToText")


@dataclass(frozen=True, slots=True)
class Architecture:
    """What is known of a model before vLLM has read it; what the file does not say in words that we know is None."""

    purpose: Mode | None
    """What its architecture is for."""
    trained_context: int | None
    """Tokens that it was trained for."""
    kv_bytes_per_token: int | None
    """What the keys and values of one token take, in all layers."""
    weights_bytes: int
    """What its files of weights take on disk, and so in memory, where vLLM does not make other numbers of them."""


def architecture(directory: Path) -> Architecture:
    """Read what is known of the model in a directory; it is read once, for models in the store do not change."""
    return _read(directory)


@lru_cache(maxsize=64)
def _read(directory: Path) -> Architecture:
    whole = read_object(directory / CONFIG)
    inner = whole.get("text_config")
    text: Mapping[str, JsonValue] = {**whole, **inner} if isinstance(inner, dict) else whole
    return Architecture(
        purpose=_purpose(whole.get("architectures")),
        trained_context=next((number for name in _CONTEXTS if (number := _count(text, name))), None),
        kv_bytes_per_token=_kv_bytes(text),
        weights_bytes=_weights(directory),
    )


def read_object(path: Path) -> Mapping[str, JsonValue]:
    """Return the JSON object in a small file of a model; an empty one where there is none, or it is not to be read."""
    try:
        with path.open("rb") as file:
            return parse_object(file.read(LARGEST_PARSED_BYTES + 1))
    except OSError:
        return {}


def _purpose(architectures: JsonValue) -> Mode | None:
    names = [name for name in architectures if isinstance(name, str)] if isinstance(architectures, list) else []
    if any(name.endswith(_WRITES) for name in names):
        return "completion"
    if any(name.endswith(_SCORES) for name in names):
        return "rerank"
    return "embedding" if names else None


def _kv_bytes(text: Mapping[str, JsonValue]) -> int | None:
    """Return what a token's keys and values take; None for kinds of attention that keep something else."""
    if _count(text, "kv_lora_rank") or text.get("layer_types") or text.get("linear_attn_config"):
        return None
    layers, heads = _count(text, "num_hidden_layers"), _count(text, "num_attention_heads")
    hidden = _count(text, "hidden_size")
    kind = text.get("dtype", text.get("torch_dtype"))
    if not (layers and heads and hidden):
        return None
    head = _count(text, "head_dim") or hidden // heads
    value = _VALUE_BYTES.get(kind, 2) if isinstance(kind, str) else 2
    return 2 * layers * (_count(text, "num_key_value_heads") or heads) * head * value


def _count(document: Mapping[str, JsonValue], name: str) -> int | None:
    value = document.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _weights(directory: Path) -> int:
    """Return the size of the weights: those in safetensors where there are some, as vLLM chooses too."""
    for pattern in _WEIGHTS:
        if found := list(directory.glob(pattern)):
            return sum(path.stat().st_size for path in found if path.exists())
    return 0
