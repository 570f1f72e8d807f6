"""What an engine is: the Protocol behind `dmrc_register_engines`, and the values that it takes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from dmrc.gguf import GgufFacts

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


@dataclass(frozen=True, slots=True)
class Companion:
    """A GGUF file that is loaded beside a model."""

    path: Path
    """Where it lies; of a split one, the first file."""
    facts: GgufFacts
    """What its header says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Companions:
    """What is loaded beside a model."""

    mmproj: Companion | None = None
    """Multimodal projector."""
    loras: tuple[Companion, ...] = ()
    """LoRA adapters, all of them applied."""
    draft: Companion | None = None
    """Smaller model with the same vocabulary, which guesses ahead."""

    @property
    def kinds(self) -> list[str]:
        """Return the kind of each: `mmproj`, `lora`, `draft`."""
        kinds = ["mmproj"] if self.mmproj else []
        return kinds + ["lora"] * len(self.loras) + (["draft"] if self.draft else [])


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One child to start."""

    name: str
    """Reference of the model: what answers call it, instead of a path of this machine."""
    gguf: Path
    """First or only GGUF file."""
    mmproj: Path | None = None
    """Multimodal projector."""
    loras: tuple[Path, ...] = ()
    """LoRA adapters."""
    draft: Path | None = None
    """Draft model."""
    chat_template: Path | None = None
    """Jinja file that replaces the template in the GGUF."""
    mode: Mode = "completion"
    """What for."""
    context_size: int
    """Tokens that each request may use."""
    parallel: int
    """Requests at the same time, each with its own context."""
    prompt_cache_mib: int = 0
    """Memory for the prompts of earlier requests, beside the contexts of the slots; 0 keeps none."""
    context_checkpoints: int = 0
    """Copies per slot of what a sliding window forgets; 0 where the model needs none."""
    runtime_flags: tuple[str, ...] = ()
    """The project's flags, checked before."""
    socket: Path
    """Unix socket to listen on."""
    log: Path
    """File that gets the child's output."""


def launch_json(launch: Launch) -> str:
    """Return a launch as a child of ours reads it from its command line."""
    return json.dumps(asdict(launch), default=str)


class Engine(Protocol):
    """One kind of server."""

    name: str
    """What `x-dmrc: engine` calls it."""

    def check(self, configuration: RunnerConfiguration, companions: Sequence[str] = ()) -> None:
        """Check a configuration without starting anything. The command line calls it too, so it imports nothing heavy.

        `companions` are the kinds of file that are wanted beside the model, one entry for each: `mmproj`, `lora`,
        `draft`.

        Raises:
            RuntimeFlagError: A flag is unknown, forbidden or has a bad value; it is named.
            UnsupportedError: This engine cannot do what is asked for.
        """

    def describe(self) -> str:
        """Return which server that would be, and its version, in one line."""


@runtime_checkable
class ChildEngine(Engine, Protocol):
    """A kind of server that runs as a child of the daemon."""

    program: str
    """What messages call it: the path of a binary, or a package with its version."""
    largest_parallel: int | None
    """How many requests it can serve at the same time at most; None is any number."""
    keeps_prompts: bool
    """Whether it can keep the prompts of earlier requests in memory (`Launch.prompt_cache_mib`)."""

    def command(self, launch: Launch) -> list[str]:
        """Return the command of a child that answers `GET /health` and the OpenAI routes on the launch's socket.

        `GET /health` answers 200 when the model is loaded, and not before. The child must end on SIGTERM, and when its
        parent does: `dmrc.engines.parent_death` does that for a program in Python, `dmrc.engines.exec_with_parent_death` for any other.
        """


def backend_state(description: str, *, is_running: bool) -> str:
    """Return the state of an engine as Docker Model Runner writes it: `Running: llama-server …`, `Not Installed: …`."""
    missing = "not installed; "
    if description.startswith(missing):
        return f"Not Installed: {description.removeprefix(missing)}"
    return f"{'Running' if is_running else 'Installed'}: {description}"
