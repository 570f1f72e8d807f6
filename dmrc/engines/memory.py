"""How much memory a runner takes, from what the GGUF header says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dmrc.engines.flags import parse
from dmrc.gguf import GgufFacts

_MIB = 1 << 20

# Bytes per value of the KV cache: block size and bytes per block.
# Source: https://github.com/ggml-org/llama.cpp/blob/master/ggml/src/ggml-common.h
_CACHE_BYTES = {
    "f32": 4.0,
    "f16": 2.0,
    "bf16": 2.0,
    "q8_0": 34 / 32,
    "q4_0": 18 / 32,
    "q4_1": 20 / 32,
    "iq4_nl": 18 / 32,
    "q5_0": 22 / 32,
    "q5_1": 24 / 32,
}

# Measured with xllamacpp 2026.10 on SmolLM2-135M: the process without a model has 33 MiB; each entry of a vocabulary
# takes about 300 bytes; llama.cpp works on 512 tokens at a time.
_BASE_BYTES = 48 * _MIB
_VOCABULARY_ENTRY_BYTES = 300
_DEFAULT_UBATCH = 512
_SMALLEST_CONTEXT = 256


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """What a runner takes, by part, in bytes."""

    weights_bytes: int
    """The tensors."""
    kv_bytes: int
    """Keys and values of all slots' contexts."""
    compute_bytes: int
    """Buffers for the tokens that are worked on at a time."""
    prompt_cache_bytes: int
    """Host memory for the prompts of former requests (`--cache-ram`)."""
    base_bytes: int
    """The process and the vocabulary."""

    @property
    def total_bytes(self) -> int:
        """Return the sum."""
        return self.weights_bytes + self.kv_bytes + self.compute_bytes + self.prompt_cache_bytes + self.base_bytes


def estimate(facts: GgufFacts, context_size: int, parallel: int, flags: Sequence[str] = ()) -> MemoryEstimate:
    """Return what a runner with `parallel` slots of `context_size` tokens each would take."""
    values = {setting.flag.names[-1]: setting.value for setting in parse(flags) if setting.value is not None}
    ubatch = int(values.get("--ubatch-size", _DEFAULT_UBATCH))
    per_token = _kv_bytes_per_token(facts, values.get("--cache-type-k", "f16"), values.get("--cache-type-v", "f16"))
    width = 3 * (facts.feed_forward_length or 4 * facts.embedding_length) + 6 * facts.embedding_length
    return MemoryEstimate(
        weights_bytes=facts.tensor_bytes,
        kv_bytes=int(per_token * context_size * parallel),
        compute_bytes=ubatch * 4 * width,
        prompt_cache_bytes=max(0, int(values.get("--cache-ram", 0))) * _MIB,
        base_bytes=_BASE_BYTES + facts.vocabulary_size * _VOCABULARY_ENTRY_BYTES,
    )


def largest_context(facts: GgufFacts, available_bytes: int, parallel: int, flags: Sequence[str] = ()) -> int | None:
    """Return the largest context, in steps of 256 tokens, that fits with that many slots; None when none does."""
    rest = available_bytes - estimate(facts, 0, parallel, flags).total_bytes
    per_token = estimate(facts, 1024, parallel, flags).kv_bytes / 1024
    if per_token <= 0:
        return None
    context = int(rest / per_token) // _SMALLEST_CONTEXT * _SMALLEST_CONTEXT
    if facts.context_length is not None:
        context = min(context, facts.context_length)
    return context if context >= _SMALLEST_CONTEXT else None


def _kv_bytes_per_token(facts: GgufFacts, key_type: str, value_type: str) -> float:
    """Return the bytes of one token in the cache: per layer its own number of heads, keys and values apart.

    Layers with a sliding window are counted whole: which ones have it is the architecture's secret, and too much is
    refused more honestly than too little.
    """
    heads = sum(facts.head_counts_kv)
    keys = facts.key_length * _CACHE_BYTES[key_type]
    values = facts.value_length * _CACHE_BYTES[value_type]
    return heads * (keys + values)
