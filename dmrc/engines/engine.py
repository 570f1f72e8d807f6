"""What an engine is: the Protocol behind `dmrc_register_engines`, and the values that it takes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, Protocol

Mode = Literal["completion", "embedding", "rerank"]
"""What a runner is started for; llama.cpp's server does one of these at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerConfiguration:
    """How to serve a model; with the model itself it identifies a runner."""

    engine: str
    """Name of the engine."""
    mode: Mode = "completion"
    """What for."""
    context_size: int | None = None
    """Tokens per request; None is the scheduler's default."""
    parallel: int | None = None
    """Requests at the same time; None lets the scheduler choose."""
    runtime_flags: tuple[str, ...] = ()
    """The project's flags, as written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One child to start."""

    name: str
    """Reference of the model: what answers call it, instead of a path of this machine."""
    gguf: Path
    """First or only GGUF file."""
    mmproj: Path | None = None
    """Multimodal projector."""
    chat_template: Path | None = None
    """Jinja file that replaces the template in the GGUF."""
    mode: Mode = "completion"
    """What for."""
    context_size: int
    """Tokens that each request may use."""
    parallel: int
    """Requests at the same time, each with its own context."""
    runtime_flags: tuple[str, ...] = ()
    """The project's flags, checked before."""
    socket: Path
    """Unix socket to listen on."""
    log: Path
    """File that gets the child's output."""


def launch_json(launch: Launch) -> str:
    """Return a launch as a child of ours reads it from its command line."""
    return json.dumps(
        {name: str(value) if isinstance(value, Path) else value for name, value in asdict(launch).items()}
    )


class Engine(Protocol):
    """One kind of server."""

    name: str
    """What `x-dmrc: engine` calls it."""
    program: str
    """What messages call it: the path of a binary, or a package with its version."""
    largest_parallel: int | None
    """How many requests it can serve at the same time at most; None is any number."""

    def check(self, flags: Sequence[str]) -> None:
        """Check runtime flags without starting anything. Called by the command line, so it imports nothing heavy.

        Raises:
            RuntimeFlagError: A flag is unknown, forbidden or has a bad value; it is named.
        """

    def command(self, launch: Launch) -> list[str]:
        """Return the command of a child that answers `GET /health` and the OpenAI routes on the launch's socket.

        `GET /health` answers 200 when the model is loaded, and not before. The child must end on SIGTERM, and when its
        parent does: `dmrc.engines.parent` does that for a program in Python, `dmrc.engines.keeper` for any other.
        """

    def describe(self) -> str:
        """Return which server that would be, and its version, in one line."""
