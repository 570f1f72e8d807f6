"""A runner whose replicas grow and shrink while it runs: its slots are theirs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from dmrc.background import begin
from dmrc.engines.replicas import Replicas
from dmrc.scheduler.runner import ManagedRunner, RunnerQueue

_PAUSE_SECONDS = 1.0


def follow(runner: ManagedRunner, serve: Callable[[RunnerQueue | None], None]) -> None:
    """Have the queue of a runner served at once when its replicas change, until it ends; without any, do nothing."""
    if runner.replicas is not None:
        runner.following = begin(_follow(runner, runner.replicas, serve), "the look after the replicas of a runner")


async def _follow(runner: ManagedRunner, replicas: Replicas, serve: Callable[[RunnerQueue | None], None]) -> None:
    while True:
        try:
            await replicas.changed()
        except ConnectionError:  # the end of its child is noticed elsewhere; one that lives may tell again
            await asyncio.sleep(_PAUSE_SECONDS)
        else:
            serve(runner.queue)
