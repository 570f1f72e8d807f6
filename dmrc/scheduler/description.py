"""Runners as JSON."""

from __future__ import annotations

import math
from dataclasses import asdict

from dmrc.engines.engine import Counts
from dmrc.engines.placement import SPARE_BYTES
from dmrc.scheduler.fitting import MemoryNeed
from dmrc.scheduler.runner import ManagedRunner
from dmrc.scheduler.states import RunnerState


def describe_runner(runner: ManagedRunner, counts: Counts | None = None) -> dict[str, object]:
    """Return a runner as `dmrc ps --json` and the web page show it; sizes in bytes, times in Unix seconds.

    `counts` is what its engine says of its prompts; None is unknown.

    Of its memory `memory_estimated_bytes` and `memory_resident_bytes` are RAM; `memory_device_bytes` is on `devices`.
    `memory_parts` says what it is for, as far as that was planned. `processor` says as Ollama does what computes it.
    `notice` is what its users should know, or None.

    `model_name`, `backend_name`, `loading` and `keep_alive` are Docker Model Runner's words.
    """
    need, process, target = runner.need, runner.process, runner.target
    resident = process.resident_bytes() if process else None
    keep_alive = runner.keep_alive_seconds
    return {
        "id": target.key,
        "model": runner.name,
        "model_name": runner.name,
        "backend_name": target.engine,
        "digest": target.digest,
        "engine": target.engine,
        "upstream": str(target.options.upstream) if target.options.upstream else None,
        "host": target.options.host,
        "mode": target.mode,
        "state": runner.state.value,
        "loading": runner.state in (RunnerState.WAITING, RunnerState.STARTING),
        "context_size": target.context_size,
        "runtime_flags": list(target.options.runtime_flags or ()),
        "parallel": need.parallel if need else runner.replicas.slots if runner.replicas else None,
        "in_use": runner.in_use,
        "waiting": runner.waiting,
        "replicas": [asdict(replica) for replica in runner.replicas.now()] if runner.replicas else [],
        "memory_estimated_bytes": need.memory.total_bytes if need else None,
        "memory_resident_bytes": resident,
        "memory_parts": _parts(need, resident or 0),
        "processor": _processor(need),
        "devices": _devices(need),
        "memory_device_bytes": need.memory.device_bytes if need else 0,
        "notice": runner.notice,
        "prompt_cache_bytes": need.memory.prompt_cache_bytes if need else None,
        "prompt_tokens_computed": counts.computed if counts else None,
        "prompt_tokens_reused": counts.reused if counts else None,
        "began_at": runner.began_at,
        "load_seconds": runner.load_seconds,
        "last_used": runner.last_used,
        "keep_alive": go_duration(keep_alive),
        "keep_alive_seconds": -1 if math.isinf(keep_alive) else keep_alive,
        "expires_at": runner.expires_at,
    }


def _parts(need: MemoryNeed | None, resident_bytes: int) -> dict[str, int]:
    """Return what its memory is for, in RAM and on cards; of the prompt cache what is filled. Empty: nobody counts."""
    if need is None:
        return {}
    memory = need.memory
    return {
        "weights": memory.weights_bytes + memory.companion_bytes,
        "context": memory.kv_bytes,
        "buffers": memory.compute_bytes + memory.base_bytes,
        "prompt_cache": min(memory.prompt_cache_bytes, max(0, resident_bytes - memory.bare_bytes)),
    }


def _processor(need: MemoryNeed | None) -> str | None:
    """Return what computes a runner: `100% GPU`, `48%/52% CPU/GPU`; None where nobody here counts its memory."""
    if need is None:
        return None
    share = round(100 * need.card_share)
    if need.is_split and need.cards:
        share = min(max(share, 1), 99)
    return f"{100 - share}%/{share}% CPU/GPU" if 0 < share < 100 else "100% GPU" if share else "100% CPU"


def _devices(need: MemoryNeed | None) -> list[dict[str, object]]:
    """Return the cards that a runner is on, with what it takes of each."""
    shares = need.placement.shares if need is not None and need.placement is not None else ()
    return [
        {
            "name": share.device.name,
            "description": share.device.description,
            "memory_bytes": max(0, share.reserved_bytes - SPARE_BYTES),
        }
        for share in shares
    ]


def go_duration(seconds: float) -> str:
    """Return a time as Go writes it, `5m0s`; `-1` is for ever, as Docker Model Runner has it."""
    if math.isinf(seconds):
        return "-1"
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    text = f"{rest:g}s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text
