"""How a runner gets its memory, and then its server."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path

from dmrc.engines.engine import Launch
from dmrc.engines.options_check import check_options
from dmrc.scheduler.fitting import needs
from dmrc.scheduler.kept_prompts import KeptPrompts
from dmrc.scheduler.reservations import Reservations
from dmrc.scheduler.runner import ManagedRunner
from dmrc.scheduler.states import RunnerState


class RunnerStarts:
    """Starts servers, each with a socket and a log of its own."""

    def __init__(self, run: Path, logs: Path, reservations: Reservations) -> None:
        """Put sockets into `run`, of which those go that a killed daemon left, and logs into `logs`."""
        self.kept = KeptPrompts(run / "prompts")
        """Prompts of runners that ended while they were idle."""
        for stale in run.glob("runner-*.sock"):
            stale.unlink(missing_ok=True)
        self.mask: Callable[[str], str] = str
        """Takes the secrets of projects out of a line that an engine prints."""
        self._run = run
        self._logs = logs
        self._reservations = reservations
        self._numbers = itertools.count(1)

    async def start(self, runner: ManagedRunner) -> float:
        """Have the server of a runner answer; return the seconds that it took, once it had its memory.

        Raises:
            EngineError: It does not fit, or does not answer.
        """
        engine, target = runner.engine, runner.target
        companions = target.model.companions.kinds if target.model else []
        check_options(engine, target.options, companions)  # before anyone gives way for it
        if needs(engine, target):
            await self._reservations.reserve(runner)
        runner.state = RunnerState.STARTING
        runner.began_at, began = time.time(), time.monotonic()
        # The number keeps it apart from a runner of the same key that still finishes what it does.
        socket = self._run / f"runner-{runner.key}-{next(self._numbers)}.sock"
        launch = _launch(runner, socket, self._logs / f"runner-{runner.key}.log", self.kept)
        await runner.launch(launch, self.mask)
        if not await self.kept.restore(runner):
            await runner.end_engine()
            await runner.launch(launch, self.mask)
        return time.monotonic() - began


def _launch(runner: ManagedRunner, socket: Path, log: Path, kept: KeptPrompts) -> Launch:
    """Return what is to be started, with the memory that is reserved."""
    target, need = runner.target, runner.need
    saves = runner.engine.saves_slots(target.model, target.options) is not None
    return Launch(
        name=target.reference,
        runner=target.key,
        digest=target.digest,
        model=target.model,
        options=target.options,
        parallel=runner.parallel,
        prompt_cache_bytes=need.memory.prompt_cache_bytes if need else 0,
        placement=need.placement if need else None,
        upstream_keys=target.upstream_keys,
        slot_files=kept.directory if saves else None,
        socket=socket,
        log=log,
    )
