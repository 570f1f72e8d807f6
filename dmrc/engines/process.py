"""One engine child: started, watched until it answers, and ended. For one event loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import psutil

from dmrc.engines.child_log import ChildLog
from dmrc.engines.environment import child_environment
from dmrc.engines.failures import Cause, End, oom_kills, start_failure
from dmrc.engines.http_client.connectors import Connector
from dmrc.engines.http_client.session import HttpSession
from dmrc.engines.process_tree import ProcessTree
from dmrc.errors import EngineError, EngineStartError

POLL_SECONDS = 0.02
"""How often a starting child is asked for its health: on this machine that costs next to nothing."""

STALL_SECONDS = 120.0
"""How long a start may go on without a new line in the log, use of the processor, or more memory in use."""

STOP_SECONDS = 5.0
"""How long a child may take to end after SIGTERM, before SIGKILL."""

_LOG_END_SECONDS = 2.0
_LAST_LINES_SECONDS = 0.05

_Told = TypeVar("_Told")


class Outside(Protocol):
    """What serves in place of a child that only watches over it: a container."""

    def processes(self) -> Sequence[psutil.Process]:
        """Return its processes, whose memory and time count; none before it runs. It is asked often."""

    async def end(self) -> None:
        """Make sure that it is gone. Called when the child has ended, which may have been killed before it could."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """What is to be started."""

    command: Sequence[str]
    """Program and arguments."""
    program: str
    """What messages call the program."""
    model: str
    """What messages call the model."""
    socket: Path
    """Unix socket that is removed before and after it, whether it listens there or not."""
    connector: Connector
    """How it will be reached."""
    log: Path
    """File that gets what it prints."""
    causes: Sequence[Cause] = ()
    """Lines of its log that say why it did not start."""
    notes: re.Pattern[str] | None = None
    """Lines of its log that `EngineProcess.load_notes` returns."""
    has_processes: bool = False
    """Whether it starts processes that hold the model: what they use counts as its own."""
    outside: Outside | None = None
    """What it watches over, and what counts in its place; None: it serves itself."""


class EngineProcess:
    """A child process. Make it by `start`; `stop` must follow in any case, and may be repeated."""

    def __init__(self, process: asyncio.subprocess.Process, child: Child, log: ChildLog) -> None:
        """Hold a child that was started and prints into `log`."""
        self._process = process
        self._child = child
        self._log = log
        self._oom_kills = oom_kills()
        self._system = _system(process.pid) if process.returncode is None else None
        self._tree = ProcessTree(self._system) if self._system is not None and child.has_processes else None

    @classmethod
    async def start(cls, child: Child, mask: Callable[[str], str] = str) -> EngineProcess:
        """Start a child in a process group of its own; a stale socket is removed first.

        `mask` takes secrets out of a line that the child prints.

        Raises:
            EngineStartError: The program cannot be started at all.
        """
        child.socket.unlink(missing_ok=True)
        log = ChildLog(child.log, mask, child.notes)
        output = log.open()
        try:
            process = await asyncio.create_subprocess_exec(
                *child.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=child_environment(os.environ),
                start_new_session=True,  # Ctrl+C in the terminal of `dmrc serve` is the daemon's to handle
            )
        except OSError as error:
            raise EngineStartError(f"the engine of model '{child.model}' cannot be started: {error}") from error
        finally:
            os.close(output)
        return cls(process, child, log)

    @property
    def pid(self) -> int:
        """Return the process ID, which is that of its group too."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """Return the exit code, negative for a signal; None while it lives."""
        return self._process.returncode

    async def wait_ready(self) -> None:
        """Wait until the child answers. The deadline moves as long as anything of the load goes on.

        Raises:
            EngineStartError: It ended, or stalled; the message says why as far as its log tells.
            InsufficientMemoryError: It ended for want of memory.
        """
        progress, deadline = self._progress(), time.monotonic() + STALL_SECONDS
        while not await self.is_healthy():
            if self.exit_code is not None:
                await asyncio.to_thread(self._log.wait_end, _LOG_END_SECONDS)
                raise self.failure()
            if (now := self._progress()) != progress:
                progress, deadline = now, time.monotonic() + STALL_SECONDS
            if time.monotonic() > deadline:
                raise EngineStartError(
                    f"the engine of model '{self._child.model}' made no progress for {STALL_SECONDS:.0f} s",
                    remedy=f"See {self._child.log}",
                )
            await asyncio.sleep(POLL_SECONDS)
        if self._child.notes is not None:  # what it printed before it answered may be on its way
            await asyncio.sleep(_LAST_LINES_SECONDS)
        self._log.serves()

    @property
    def load_notes(self) -> Sequence[str]:
        """Return the lines that were asked for, of those that it printed before it answered."""
        return self._log.notes

    async def is_healthy(self) -> bool:
        """Ask `GET /health`. llama.cpp answers 503 while it loads, and nothing before it listens."""
        return await self._health() == 200

    async def is_there(self) -> bool:
        """Return whether it answers `GET /health` at all."""
        return await self._health() is not None

    async def _health(self) -> int | None:
        session = HttpSession(self._child.connector)
        try:
            # Not `wait_for`, which in Python 3.11 swallows a cancellation that comes together with the answer.
            async with asyncio.timeout(5):
                with contextlib.closing(await session.get("/health")) as answer:
                    return answer.status
        except OSError:
            return None
        finally:
            await session.close()

    def failure(self) -> EngineError:
        """Return why a child that has ended did so, as far as its exit code and its log tell."""
        return start_failure(self._child.model, self._end(), self._child.causes, self.log_tail(), self._child.log)

    def last_words(self) -> str:
        """Return how a child that has ended did so: its exit code, and what a signal means."""
        end = self._end()
        words = end.words()
        return f"exit code {end.exit_code}{f': {words[0]}' if words else ''}"

    def _end(self) -> End:
        kills = oom_kills()
        known = None if kills is None or self._oom_kills is None else kills > self._oom_kills
        return End(self._child.program, self.exit_code or 0, known)

    async def wait_exit(self) -> int:
        """Wait until the child has ended, and return its exit code."""
        return await self._process.wait()

    async def stop(self, grace_seconds: float = STOP_SECONDS) -> None:
        """End the child: SIGTERM, and SIGKILL when that does not help. Reaps it and removes its socket.

        A caller that is cancelled meanwhile kills it at once; it is then reaped by the event loop.
        """
        try:
            self._signal(signal.SIGTERM)
            async with asyncio.timeout(grace_seconds):
                await self._process.wait()
        except TimeoutError:
            self._signal(signal.SIGKILL)
            await self._process.wait()
        finally:
            self._signal(signal.SIGKILL)
            self._child.socket.unlink(missing_ok=True)
            if self._child.outside is not None:
                await self._child.outside.end()

    def kill(self) -> None:
        """Kill the child at once, as if it had died by itself: it is of no more use."""
        self._signal(signal.SIGKILL)

    def memory_bytes(self) -> tuple[int, int]:
        """Return the memory in use, mapped files included, and what of that is its own; 0 when it is gone."""
        resident, shared = self._memory()
        return resident, max(0, resident - shared)

    def resident_bytes(self) -> int:
        """Return the memory that it has in use, mapped files included; 0 when it is gone."""
        return self._memory()[0]

    def usage(self) -> tuple[float, int]:
        """Return the seconds that it has had of the processor, and the memory that is its own; 0 when it is gone."""
        return self._processor_seconds(), self.memory_bytes()[1]

    def log_tail(self) -> str:
        """Return the end of what this child wrote, as its log has it."""
        return self._log.tail()

    def _progress(self) -> tuple[int, float, int]:
        """Return what grows while a model is loaded: its log, its time on the processor, and what it has in memory.

        The last one is for a slow disk: waiting for it takes no time on the processor.
        """
        return self._log.read_bytes, round(self._processor_seconds()), self._memory()[0]

    def _processor_seconds(self) -> float:
        return sum(times.user + times.system for times in self._asked(psutil.Process.cpu_times))

    def _memory(self) -> tuple[int, int]:
        # `shared` is what maps a file; macOS does not tell it.
        memory = [(one.rss, getattr(one, "shared", 0)) for one in self._asked(psutil.Process.memory_info)]
        return sum(resident for resident, _ in memory), sum(shared for _, shared in memory)

    def _asked(self, question: Callable[[psutil.Process], _Told]) -> Iterator[_Told]:
        """Yield what the system tells of each process that serves, and has not ended."""
        if self.exit_code is not None or self._system is None:
            return
        tree = self._child.outside or self._tree
        for process in [self._system] if tree is None else tree.processes():
            with contextlib.suppress(psutil.Error):
                yield question(process)

    def _signal(self, number: signal.Signals) -> None:
        if self.exit_code is None:  # once it is reaped, its number may be somebody else's
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)


def _system(pid: int) -> psutil.Process | None:
    """Return what the system knows of a child; None when it has ended already, and asyncio was not told yet."""
    try:
        return psutil.Process(pid)
    except psutil.NoSuchProcess:
        return None
