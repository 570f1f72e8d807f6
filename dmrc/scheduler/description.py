"""Runners as JSON."""

from __future__ import annotations

import math

from dmrc.engines.engine import Counts
from dmrc.scheduler.runner import ManagedRunner, RunnerState


def describe_runner(runner: ManagedRunner, counts: Counts | None = None) -> dict[str, object]:
    """Return a runner as `dmrc ps --json` and the web page show it; sizes in bytes, times in Unix seconds.

    `counts` is what its engine says of its prompts; None is unknown.

    `model_name`, `backend_name`, `loading` and `keep_alive` are Docker Model Runner's words.
    """
    need, process, target = runner.need, runner.process, runner.target
    keep_alive = runner.keep_alive_seconds
    return {
        "id": target.key,
        "model": runner.name,
        "model_name": runner.name,
        "backend_name": target.engine,
        "digest": target.digest,
        "engine": target.engine,
        "upstream": target.options.upstream.url if target.options.upstream else None,
        "mode": target.mode,
        "state": runner.state.value,
        "loading": runner.state in (RunnerState.WAITING, RunnerState.STARTING),
        "context_size": target.context_size,
        "runtime_flags": list(target.options.runtime_flags or ()),
        "parallel": need.parallel if need else None,
        "in_use": runner.in_use,
        "waiting": runner.waiting,
        "memory_estimated_bytes": need.memory.total_bytes if need else None,
        "memory_resident_bytes": process.resident_bytes() if process else None,
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
