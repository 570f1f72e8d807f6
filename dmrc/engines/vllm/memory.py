"""How much memory a vLLM for processors takes: its weights, and room for keys and values that it is told to take.

By itself it takes most of what the machine has, whatever the model needs. A vLLM for graphics cards takes a share of
the card, and how much that is, is its own to say.
"""

from __future__ import annotations

from dmrc.engines.engine import MemoryEstimate
from dmrc.engines.local_model import LocalModel, local
from dmrc.engines.vllm.architecture import architecture
from dmrc.engines.vllm.flags import parse
from dmrc.project import DEFAULT_CONTEXT_SIZE, ServingOptions

_MIB = 1 << 20
_GIB = 1 << 30

KV_FLAG = "--kv-cache-memory-bytes"
"""How it is told."""

# Measured with vLLM 0.32 on two cores, a model of 1 MB: its three processes have 1.8 GB of their own.
_BASE_BYTES = 1800 * _MIB
_BLOCK_TOKENS = 128  # what it keeps together on a processor. Source: vllm/platforms/cpu.py
_SPARE_BLOCKS = 2
_UNKNOWN_KV_BYTES = 4 * _GIB  # where the model's configuration does not tell; vLLM's own number for a long time
_VALUE_BYTES = {"fp8": 1, "fp8_e4m3": 1, "fp8_e5m2": 1}
_LARGEST_CONTEXT = 1 << 20


def kv_bytes(model: LocalModel, options: ServingOptions, parallel: int) -> int:
    """Return the bytes for keys and values: what a flag says, else what so many full contexts take."""
    for one in reversed(parse(options.runtime_flags or ())):
        if one.flag.names[-1] == KV_FLAG and one.value:
            return int(one.value)
    a_token = architecture(model.path).kv_bytes_per_token
    if a_token is None:
        return _UNKNOWN_KV_BYTES
    blocks = -(-(options.context_size or DEFAULT_CONTEXT_SIZE) // _BLOCK_TOKENS) * parallel + _SPARE_BLOCKS
    return blocks * _BLOCK_TOKENS * a_token


def estimate(model: LocalModel | None, options: ServingOptions, parallel: int) -> MemoryEstimate:
    """Return what a runner with `parallel` requests at the same time takes."""
    found = local(model)
    beside = [*found.companions.loras, *([found.companions.draft] if found.companions.draft else [])]
    return MemoryEstimate(
        weights_bytes=architecture(found.path).weights_bytes,
        companion_bytes=sum(architecture(one.path).weights_bytes for one in beside),
        kv_bytes=kv_bytes(found, options, parallel),
        compute_bytes=0,
        prompt_cache_bytes=0,
        base_bytes=_BASE_BYTES,
    )


def largest_context(
    model: LocalModel | None, options: ServingOptions, parallel: int, available_bytes: int
) -> int | None:
    """Return the most tokens per request that fit; None where none do, or it is not known."""
    found = local(model)
    config = architecture(found.path)
    if config.kv_bytes_per_token is None:
        return None
    rest = available_bytes - estimate(found, options, parallel).bare_bytes + kv_bytes(found, options, parallel)
    blocks = (rest // (_BLOCK_TOKENS * config.kv_bytes_per_token) - _SPARE_BLOCKS) // parallel
    tokens = min(blocks * _BLOCK_TOKENS, config.trained_context or _LARGEST_CONTEXT)
    return tokens if tokens > 0 else None
