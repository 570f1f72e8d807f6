"""How much memory a runner takes, from what the GGUF header says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from dmrc.engines.engine import MemoryEstimate
from dmrc.engines.llama_cpp.flags import settings_of
from dmrc.engines.llama_cpp.offload import Movable, asked_layers, layers_of
from dmrc.engines.llama_cpp.repacking import repacked_bytes
from dmrc.engines.llama_cpp.speculation import uses_head
from dmrc.engines.local_model import Companions, LocalModel, facts_of, local
from dmrc.engines.placement import ALL
from dmrc.gguf import GgufFacts
from dmrc.project import DEFAULT_CONTEXT_SIZE, ServingOptions

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

# Measured with xllamacpp 2026.10: the process without a model has 33 MiB; each entry of a vocabulary takes about 300
# bytes; llama.cpp works on 512 tokens at a time.
_BASE_BYTES = 40 * _MIB
_VOCABULARY_ENTRY_BYTES = 300
_DEFAULT_UBATCH = 512
_CHECKPOINTS = 32  # llama.cpp's own number
_FEWEST_CHECKPOINTS = 4  # two for a prompt: the last turn of a conversation and the one before it
_SMALLEST_CONTEXT = 256
_LARGEST_CONTEXT = 1 << 20

# Without Flash Attention the scores of every head, as floats and once more as halves, are kept for a batch.
_SCORE_BYTES = 6

# Of so many blocks one looks back at everything and the others at their sliding window, unless the header says more.
# Source: load_swa_pattern in https://github.com/ggml-org/llama.cpp/tree/master/src/models
_WINDOW_PERIODS = {"cohere2": 4, "gemma-embedding": 6, "gemma2": 2, "gemma3": 6, "gemma3n": 5, "gpt-oss": 2, "olmo2": 4}


def estimate(model: LocalModel | None, options: ServingOptions, parallel: int, card_bytes: int = 0) -> MemoryEstimate:
    """Return what a runner with `parallel` slots would take, with as much of it on cards as `card_bytes` allow.

    Measured against xllamacpp 2026.10 on a CPU: within 15 % of the resident size (`make bench ARGS=memory`). On cards:
    see `offload`.

    Raises:
        RuntimeFlagError: A flag is unknown, forbidden or has a bad value.
    """
    facts, context_size = facts_of(model), options.context_size or DEFAULT_CONTEXT_SIZE
    set_to = settings_of(options.runtime_flags or ())
    ubatch = min(int(set_to.get("--ubatch-size", _DEFAULT_UBATCH)), context_size * parallel)
    scores = facts.head_count * context_size * _SCORE_BYTES if set_to.get("--flash-attn") == "off" else 0
    a_token = _bytes_in_work(facts, context_size) + scores + _unread_bytes(facts, options)
    caches = _caches(facts, context_size, parallel, set_to, ubatch)
    on_processor = MemoryEstimate(
        weights_bytes=facts.tensor_bytes + _copies(facts, set_to),
        companion_bytes=_beside(local(model).companions, context_size, parallel, set_to)
        + _of_guesses(facts, options.runtime_flags or (), context_size * parallel, ubatch, set_to),
        kv_bytes=sum(caches),
        compute_bytes=ubatch * a_token,
        prompt_cache_bytes=int(set_to.get("--cache-ram", 0)) * _MIB,
        base_bytes=_BASE_BYTES + facts.vocabulary_size * _VOCABULARY_ENTRY_BYTES,
    )
    if card_bytes <= 0:
        return on_processor
    draft = local(model).companions.draft
    beside = on_processor.companion_bytes - (0 if draft is None else _host_bytes(facts_of(draft)))
    movable = Movable(
        layers=layers_of(facts, set_to, caches),
        beside_bytes=beside,
        table_bytes=0 if "head" in facts.layer_bytes else facts.layer_bytes.get("input", 0),
        host_bytes=ubatch * (4 * facts.embedding_length + 2 * context_size),
        asked=asked_layers(set_to),
    )
    return movable.onto(replace(on_processor, weights_bytes=facts.tensor_bytes), card_bytes)


def _host_bytes(facts: GgufFacts) -> int:
    """Return what of a model is always in RAM: its vocabulary, and what tokens are looked up in."""
    return facts.vocabulary_size * _VOCABULARY_ENTRY_BYTES + facts.layer_bytes.get("input", 0)


def _bytes_in_work(facts: GgufFacts, context_size: int) -> int:
    """Return what llama.cpp holds of one token while it computes: floats of a block, and which others it sees.

    A block's feed-forward part, or its attention where the heads are wider than the model. Never less than the compute
    buffer that llama.cpp logs, and up to a third more: see tests/engines/test_memory.py.
    """
    feed_forward = 3 * (facts.feed_forward_length or 4 * facts.embedding_length)
    heads_kv = max(facts.head_counts_kv, default=0)
    attention = 2 * facts.head_count * facts.key_length + heads_kv * (facts.key_length + facts.value_length)
    return 4 * (max(feed_forward, attention) + 6 * facts.embedding_length) + 2 * context_size


def _unread_bytes(facts: GgufFacts, options: ServingOptions) -> int:
    """Return what llama.cpp keeps for each token of a text to embed, and nobody reads: what could come next.

    A model that writes computes how likely each word of its vocabulary is, once in the graph and once in the output.
    Measured with SmolLM2-135M, of 49,152 words: 411 KB a token.
    """
    return 2 * 4 * facts.vocabulary_size if options.mode == "embedding" and facts.is_causal else 0


def checkpoint_bytes(facts: GgufFacts, flags: Sequence[str] = ()) -> int:
    """Return what llama.cpp copies to go back to an earlier place of a prompt: 0 where it can cut its cache instead.

    It cannot where a block keeps a sliding window only.
    Source: `create_checkpoint` in https://github.com/ggml-org/llama.cpp/blob/master/tools/server/server-context.cpp
    """
    set_to = settings_of(flags)
    windows = _windows(facts)
    if not facts.is_causal or "--swa-full" in set_to or not any(windows):
        return 0
    cells = sum(
        heads * _padded(window + _DEFAULT_UBATCH)
        for heads, window in zip(facts.head_counts_kv, windows, strict=True)
        if window is not None
    )
    return int(cells * _value_bytes(facts, set_to))


def prompt_store(facts: GgufFacts, parallel: int, size_bytes: int, flags: Sequence[str] = ()) -> tuple[int, int]:
    """Return how `size_bytes` for earlier prompts are shared: MiB for whole prompts, and how many copies a slot keeps.

    The copies (`--ctx-checkpoints`) stay in the slots, where llama.cpp's own limit of the cache does not count them.
    """
    each = checkpoint_bytes(facts, flags) * parallel
    if not each:
        return size_bytes // _MIB, _CHECKPOINTS
    checkpoints = max(_FEWEST_CHECKPOINTS, min(_CHECKPOINTS, size_bytes // 2 // each))
    return max(0, size_bytes - checkpoints * each) // _MIB, checkpoints


def sets_prompt_cache(flags: Sequence[str]) -> bool:
    """Return whether the project's flags say how large the prompt cache is."""
    return "--cache-ram" in settings_of(flags)


def _caches(facts: GgufFacts, context_size: int, parallel: int, set_to: Mapping[str, str], ubatch: int) -> list[int]:
    """Return the keys and values of all slots, block by block; a model whose tokens all see one another keeps none."""
    if not facts.is_causal:
        return [0] * len(facts.head_counts_kv)
    windows = [None] * len(facts.head_counts_kv) if "--swa-full" in set_to else _windows(facts)
    a_cell = parallel * _value_bytes(facts, set_to)
    sizes = [
        int(a_cell * heads * _padded(context_size if window is None else min(context_size, window + ubatch)))
        for heads, window in zip(facts.head_counts_kv, windows, strict=True)
    ]
    guessing = min(facts.next_token_heads, len(sizes))  # the context of these is counted by itself
    return sizes[: len(sizes) - guessing] + [0] * guessing


def _of_guesses(facts: GgufFacts, flags: Sequence[str], tokens: int, ubatch: int, set_to: Mapping[str, str]) -> int:
    """Return what a head that guesses ahead takes: a context of its own for all tokens, and what is computed in it."""
    if not uses_head(facts, flags):
        return 0
    heads = sum(facts.head_counts_kv[-facts.next_token_heads :])
    return int(heads * tokens * _value_bytes(facts, _of_draft(set_to))) + ubatch * _bytes_in_work(facts, tokens)


def _of_draft(set_to: Mapping[str, str]) -> dict[str, str]:
    """Return the settings of the context that guesses, by the names that they have for the model's own."""
    types = {f"--cache-type-{of}": set_to.get(f"--spec-draft-type-{of}") for of in "kv"}
    return {name: kind for name, kind in types.items() if kind is not None}


def _value_bytes(facts: GgufFacts, set_to: Mapping[str, str]) -> float:
    """Return the bytes that one head keeps of one token."""
    keys = facts.key_length * _CACHE_BYTES[set_to.get("--cache-type-k", "f16")]
    return keys + facts.value_length * _CACHE_BYTES[set_to.get("--cache-type-v", "f16")]


def _copies(facts: GgufFacts, set_to: Mapping[str, str]) -> int:
    """Return the copies of weights: the file stays mapped beside them, unless it is read instead."""
    is_read = set_to.get("--load-mode") in ("none", "dio")
    return 0 if is_read or "--no-repack" in set_to else repacked_bytes(facts.matrix_bytes)


def _beside(companions: Companions, context_size: int, parallel: int, set_to: Mapping[str, str]) -> int:
    total = sum(facts_of(lora).tensor_bytes for lora in companions.loras)
    if companions.mmproj is not None:
        total += facts_of(companions.mmproj).tensor_bytes
    if companions.draft is not None:
        draft = facts_of(companions.draft)
        total += draft.tensor_bytes + _copies(draft, set_to) + draft.vocabulary_size * _VOCABULARY_ENTRY_BYTES
        total += sum(_caches(draft, context_size, parallel, _of_draft(set_to), _DEFAULT_UBATCH))
        total += _DEFAULT_UBATCH * _bytes_in_work(draft, context_size)
    return total


def largest_context(
    model: LocalModel | None,
    options: ServingOptions,
    parallel: int,
    available_bytes: int,
    card_bytes: int | None = None,
) -> int | None:
    """Return the largest context, in steps of 256 tokens, that fits with that many slots; None when none does."""
    fitting, too_large = 0, (facts_of(model).context_length or _LARGEST_CONTEXT) // _SMALLEST_CONTEXT + 1
    while too_large - fitting > 1:
        middle = (fitting + too_large) // 2
        tried = replace(options, context_size=middle * _SMALLEST_CONTEXT)
        memory = estimate(model, tried, parallel, 0 if card_bytes is None else ALL)
        if memory.total_bytes <= available_bytes and memory.device_bytes <= (card_bytes or 0):
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
