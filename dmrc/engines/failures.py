"""From an engine's log to the one sentence that a person needs."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dmrc.errors import EngineError, EngineStartError, InsufficientMemoryError

MORE_MEMORY = "Choose a smaller context_size or quantisation, or unload other models: dmrc ps"
"""What to do where memory was missing."""


@dataclass(frozen=True, slots=True)
class Cause:
    """A line that an engine prints, and what it means."""

    pattern: re.Pattern[str]
    """Found in the log; groups fill the sentence."""
    sentence: str
    """Why it failed. `{0}` is the first group that matched, `{program}` the engine's program."""
    remedy: str
    """What to do."""
    source: str
    """Where upstream prints the line."""
    is_memory: bool = False
    """Whether memory was missing."""


_TAIL_LINES = 5
_LONGEST_LINE = 200

_SIGNALS = {
    signal.SIGILL: (
        "{program} was built for another processor",
        "Use another build of it; of llama.cpp: dmrc engine use xllamacpp",
    ),
    signal.SIGSEGV: ("{program} crashed", "This is a fault of the engine; try another version of it"),
    signal.SIGABRT: ("{program} aborted", "This is a fault of the engine, or of the model's file"),
    signal.SIGTERM: ("something else ended it", "Start it again"),
}


# Who sent SIGKILL: the system where it has run out of memory meanwhile (`oom_kills`), else a person or a program.
_KILLED: dict[bool | None, tuple[str, str]] = {
    True: ("the system killed it for want of memory", MORE_MEMORY),
    False: ("it was killed (SIGKILL), and not for want of memory", "Look who did it; start it again"),
    None: ("it was killed (SIGKILL), by the system for want of memory or by somebody", MORE_MEMORY),
}


@dataclass(frozen=True, slots=True)
class End:
    """How an engine child has ended."""

    program: str
    """What messages call the engine."""
    exit_code: int
    """Negative for a signal."""
    out_of_memory: bool | None
    """Whether the system killed processes for want of memory while it lived; None where the system does not tell."""

    def words(self) -> tuple[str, str] | None:
        """Return what a signal means, and what to do; None where it was none that says anything."""
        if self.exit_code == -signal.SIGKILL:
            return _KILLED[self.out_of_memory]
        known = _SIGNALS.get(signal.Signals(-self.exit_code)) if self.exit_code < 0 else None
        return None if known is None else (known[0].format(program=self.program), known[1])


def oom_kills() -> int | None:
    """Return how many processes the system has killed for want of memory, those of control groups among them.

    Source: OOM_KILL in https://github.com/torvalds/linux/blob/master/mm/oom_kill.c
    """
    try:
        with Path("/proc/vmstat").open() as counts:
            return next((int(line.split()[1]) for line in counts if line.startswith("oom_kill ")), None)
    except OSError:
        return None


def start_failure(name: str, end: End, causes: Sequence[Cause], log: str, path: Path) -> EngineError:
    """Return why the engine of model `name` ended: by its log, else by its exit code. The first cause found counts.

    `log` is what it wrote, and `path` is where that stands. The error is an `InsufficientMemoryError` where memory was
    missing, else an `EngineStartError`.
    """
    why, remedy, is_memory = _explain(end, causes, log)
    kind = InsufficientMemoryError if is_memory else EngineStartError
    remedy = f"{remedy}. The log: {path}" if remedy else f"The log: {path}"
    error = kind(f"model '{name}' does not start: {why}", remedy=remedy)
    error.log_tail = tuple(line[:_LONGEST_LINE] for line in log.splitlines() if line.strip())[-_TAIL_LINES:]
    return error


def _explain(end: End, causes: Sequence[Cause], log: str) -> tuple[str, str, bool]:
    """Return why, what to do, and whether memory was missing."""
    for cause in causes:
        match = cause.pattern.search(log)
        if match is not None:
            found = next((group for group in match.groups() if group), "").strip()[:_LONGEST_LINE]
            return cause.sentence.format(found, program=end.program), cause.remedy, cause.is_memory
    if (words := end.words()) is not None:
        return *words, end.exit_code == -signal.SIGKILL and end.out_of_memory is not False
    return f"{end.program} ended with exit code {end.exit_code}{_last_words(log)}", "", False


def _last_words(log: str) -> str:
    """Return the last line that looks like an error and says more than that there was one."""
    lines = [line.strip() for line in log.splitlines() if re.search(r"error|fail| E ", line, re.IGNORECASE)]
    telling = [line for line in lines if "check the input params" not in line and "exiting due to" not in line]
    return f" ({(telling or lines)[-1][:200]})" if lines else ""
