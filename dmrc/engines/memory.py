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
_LARGEST_CONTEXT = 1 << 20

# Without Flash Attention the scores of every head, as floats and once more as halves, are kept for a batch.
_SCORE_BYTES = 6

# Of so many blocks one looks back at everything and the others at their sliding window, unless the header says more.
# Source: load_swa_pattern in https://github.com/ggml-org/llama.cpp/tree/master/src/models
_WINDOW_PERIODS = {"cohere2": 4, "gemma-embedding": 6, "gemma2": 2, "gemma3": 6, "gemma3n": 5, "gpt-oss": 2, "olmo2": 4}


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
    """Return what a runner with `parallel` slots of `context_size` tokens each would take.

    Measured against xllamacpp 2026.10 on a CPU: within 7 % of the resident size (tests/engines/test_memory.py).

    Raises:
        RuntimeFlagError: A flag is unknown, forbidden or has a bad value.
    """
    settings = parse(flags)
    values = {setting.flag.names[-1]: setting.value for setting in settings if setting.value is not None}
    ubatch = min(int(values.get("--ubatch-size", _DEFAULT_UBATCH)), context_size * parallel)
    has_full_window = any(setting.flag.names[-1] == "--swa-full" for setting in settings)
    width = 3 * (facts.feed_forward_length or 4 * facts.embedding_length) + 6 * facts.embedding_length
    scores = facts.head_count * context_size * _SCORE_BYTES if values.get("--flash-attn") == "off" else 0
    cells = sum(
        heads * _padded(context_size if window is None or has_full_window else min(context_size, window + ubatch))
        for heads, window in zip(facts.head_counts_kv, _windows(facts), strict=True)
    )
    keys = facts.key_length * _CACHE_BYTES[values.get("--cache-type-k", "f16")]
    cached_values = facts.value_length * _CACHE_BYTES[values.get("--cache-type-v", "f16")]
    return MemoryEstimate(
        weights_bytes=facts.tensor_bytes,
        kv_bytes=int(cells * parallel * (keys + cached_values)),
        compute_bytes=ubatch * (4 * width + scores),
        prompt_cache_bytes=int(values.get("--cache-ram", 0)) * _MIB,
        base_bytes=_BASE_BYTES + facts.vocabulary_size * _VOCABULARY_ENTRY_BYTES,
    )


def largest_context(facts: GgufFacts, available_bytes: int, parallel: int, flags: Sequence[str] = ()) -> int | None:
    """Return the largest context, in steps of 256 tokens, that fits with that many slots; None when none does."""
    fitting, too_large = 0, (facts.context_length or _LARGEST_CONTEXT) // _SMALLEST_CONTEXT + 1
    while too_large - fitting > 1:
        middle = (fitting + too_large) // 2
        if estimate(facts, middle * _SMALLEST_CONTEXT, parallel, flags).total_bytes <= available_bytes:
            fitting = middle
        else:
            too_large = middle
    return fitting * _SMALLEST_CONTEXT or None


def _windows(facts: GgufFacts) -> list[int | None]:
    """Return how far each block looks back; None is everything.

    A header says which blocks have the window (`true, false, …`), or of how many one has none; else the architecture
    does. Where nobody says, all count as looking back at everything: too much is refused more honestly than too little.
    """
    blocks = len(facts.head_counts_kv)
    said = facts.metadata.get(f"{facts.architecture}.attention.sliding_window_pattern", "")
    if facts.sliding_window is None:
        return [None] * blocks
    if "," in said:
        windowed = [word == "true" for word in said.split(", ")]
    else:
        period = int(said) if said.isdecimal() else _WINDOW_PERIODS.get(facts.architecture, 1)
        windowed = [period == 0 or block % period < period - 1 for block in range(blocks)]
    windowed += [False] * (blocks - len(windowed))
    return [facts.sliding_window if has_window else None for has_window in windowed[:blocks]]


def _padded(cells: int) -> int:
    # Source: `size_swa` in https://github.com/ggml-org/llama.cpp/blob/master/src/llama-kv-cache-iswa.cpp
    return -(-cells // 256) * 256
