"""What an engine is: the Protocol behind `dmrc_register_engines`, and the values that it takes and gives."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from dmrc.answer import ServerKind
from dmrc.engines.devices import Device
from dmrc.engines.local_model import LocalModel
from dmrc.engines.placement import DeviceWish, Placement
from dmrc.exchange import JsonValue, Operation
from dmrc.project import ServingOptions

if TYPE_CHECKING:  # heavy, and the command line checks options only
    from dmrc.engines.process import EngineProcess
    from dmrc.engines.replicas import Replicas
    from dmrc.engines.session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One runner to start."""

    name: str
    """Reference of the model: what answers call it, instead of a path of this machine."""
    runner: str = ""
    """12 hex digits that name the runner: equal ones have the same model and configuration."""
    digest: str | None = None
    """Digest of the model's manifest; None where nobody here knows its files."""
    model: LocalModel | None
    """Its files; None where they are elsewhere."""
    options: ServingOptions
    """How to serve it, as `Engine.settle` returned it."""
    parallel: int
    """Requests at the same time, each with a context of its own."""
    prompt_cache_bytes: int = 0
    """Memory for the prompts of earlier requests, beside the contexts of the slots; 0 keeps none."""
    placement: Placement | None = None
    """Where it is computed; None where the engine lists no graphics cards, and does as it likes."""
    upstream_keys: tuple[str | None, ...] = field(default=(), repr=False)
    """The secret that each of its upstreams wants, in their order; None where one wants none."""
    slot_files: Path | None = None
    """Directory for files of its slots; None writes none."""
    socket: Path
    """Unix socket that a child listens on, unless it has a port."""
    port: int | None = None
    """Port that a child listens on, where its engine's server knows no unix sockets, or others than us call it."""
    host: str = "127.0.0.1"
    """Address of this machine that the port is of."""
    api_keys: Path | None = None
    """File with the keys of who may call the port, one a line; None lets everybody."""
    log: Path
    """File that gets a child's output."""


def launch_json(launch: Launch, **more: JsonValue) -> str:
    """Return a launch as a child of ours reads it from its command line: its options, and where its files are."""
    model = launch.model
    document: dict[str, JsonValue] = {
        **launch.options.to_json(),
        "name": launch.name,
        "parallel": launch.parallel,
        **({"socket": str(launch.socket)} if launch.port is None else {"port": launch.port}),
        **more,
    }
    if model is not None:
        files = model.companions
        document |= {
            "path": str(model.path),
            "mmproj": str(files.mmproj.path) if files.mmproj else None,
            "loras": [str(lora.path) for lora in files.loras],
            "draft": str(files.draft.path) if files.draft else None,
            "chat_template": str(model.chat_template) if model.chat_template else None,
        }
    return json.dumps(document)


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """What a runner takes, by part, in bytes, and how much of that is on graphics cards."""

    weights_bytes: int
    """The tensors, and their copies in the order that the processor likes."""
    companion_bytes: int
    """What is loaded beside the model: projector, adapters, and a draft model with a context of its own."""
    kv_bytes: int
    """Keys and values of all slots' contexts."""
    compute_bytes: int
    """Buffers for the tokens that are worked on at a time."""
    prompt_cache_bytes: int
    """Host memory for the prompts of earlier requests: at most so much, once it is full."""
    base_bytes: int
    """The process and the vocabulary."""
    device_bytes: int = 0
    """What of all these is on cards."""
    movable_bytes: int = 0
    """What of all these a card could hold that is large enough."""

    @property
    def total_bytes(self) -> int:
        """Return what it takes of RAM."""
        return self.bare_bytes + self.prompt_cache_bytes

    @property
    def bare_bytes(self) -> int:
        """Return what it takes of RAM without the prompt cache, which a runner can do without."""
        return self.everywhere_bytes - self.device_bytes

    @property
    def everywhere_bytes(self) -> int:
        """Return the sum of the parts, wherever they are, without the prompt cache."""
        return self.weights_bytes + self.companion_bytes + self.kv_bytes + self.compute_bytes + self.base_bytes


@dataclass(frozen=True, slots=True)
class Counts:
    """What an engine tells of itself."""

    computed: int
    """Tokens of prompts that were computed since it has started."""
    reused: int
    """Tokens of prompts that were there already: in a slot, or in the prompt cache."""
    processing: int
    """Requests that hold a slot now."""
    prompt_seconds: float = 0.0
    """What it has computed prompts for; 0 where it does not tell."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What an engine found where its servers run."""

    state: Literal["ok", "warning", "problem"]
    """A warning keeps a part of it from working, a problem all of it."""
    message: str
    """What was found."""
    remedy: str | None = None
    """What to do; None where there is nothing to do."""


FetchProgress = Callable[[str, int, int], None]
"""Hears how a fetch goes on: the part, its bytes that are there, and its size."""


class Server(Protocol):
    """A server of an engine that was begun to be started or reached."""

    @property
    def process(self) -> EngineProcess | None:
        """Return the child; None where somebody else runs the server."""

    @property
    def replicas(self) -> Replicas | None:
        """Return the several servers behind it; None where it is one."""

    async def wait_ready(self) -> Session:
        """Wait until it answers, and return how it is spoken to.

        Raises:
            EngineError: It does not: why, as far as can be told.
        """


class Engine(Protocol):
    """One kind of server, and all that only this kind knows. `ChildEngine` has a usual answer for most of it."""

    name: str
    """What `x-dmrc: engine` calls it."""
    formats: frozenset[str]
    """Formats of models that it can load from this machine."""
    largest_parallel: int | None
    """How many requests it can serve at the same time at most; None is any number."""
    usual_parallel: int
    """How many it serves where neither the project nor an estimate of memory says."""
    lists_devices: bool
    """Whether `devices` tells all graphics cards that it uses: a card that is not among them is used by no model."""
    metrics_path: str | None
    """Where its servers tell Prometheus' metrics; None: nowhere."""
    is_only_by_name: bool
    """Whether no model comes to it by its format alone: it wants more than that, as an image or a cluster."""
    special_options: frozenset[str]
    """Which of `options_check.py:SPECIAL_OPTIONS` it knows; `check_options` refuses the others."""

    def server_of(self, options: ServingOptions) -> ServerKind:
        """Return whose server it starts or reaches: how carefully requests are checked, and answers put right."""

    def check(self, options: ServingOptions, companions: Sequence[str] = ()) -> None:
        """Check options without starting anything. The command line calls it too, so it imports nothing heavy.

        `companions` are the kinds of file that are wanted beside the model, one entry for each: `mmproj`, `lora`,
        `draft`.

        Raises:
            RuntimeFlagError: A flag is unknown, forbidden or has a bad value; it is named.
            UnsupportedError: This engine cannot do what is asked for.
        """

    def settle(
        self, name: str, model: LocalModel | None, options: ServingOptions, operation: Operation | None
    ) -> ServingOptions:
        """Return the options as the engine gets them: with a mode, and what an operation needs; None is what it is for.

        Raises:
            InputError: The model, which messages call `name`, is not for that.
        """

    def template(self, model: LocalModel, options: ServingOptions) -> str | None:
        """Return the source of the chat template that is used; "" where there is none, None where it is not known."""

    def estimate(
        self, model: LocalModel | None, options: ServingOptions, parallel: int, card_bytes: int = 0
    ) -> MemoryEstimate | None:
        """Return what a runner with so many slots takes; None: it is not ours to count, and nobody gives way for it.

        As much of it as `card_bytes` allow is on cards, and the rest in RAM, unless the project's flags say how much.
        """

    def largest_context(
        self,
        model: LocalModel | None,
        options: ServingOptions,
        parallel: int,
        available_bytes: int,
        card_bytes: int | None = None,
    ) -> int | None:
        """Return the most tokens per request that fit; None where none do, or it is not known.

        With `card_bytes` all of the model that a card can hold must fit into these, and the rest into RAM.
        """

    def device_wish(self, options: ServingOptions) -> DeviceWish:
        """Return what the options, and this engine's flags among them, say of graphics cards."""

    def device_use(self, lines: Sequence[str]) -> Mapping[str, int]:
        """Return what a child took of each card, in bytes, by the `load_notes` of its log; empty if they do not say."""

    def keeps_prompts(self, model: LocalModel | None, options: ServingOptions) -> bool:
        """Return whether memory for earlier prompts is of use, and the project leaves it to us how much that is."""

    def tells_slots(self, options: ServingOptions) -> bool:
        """Return whether its server keeps prompts in slots, and is to be told which one a request gets (`id_slot`)."""

    def saves_slots(self, model: LocalModel | None, options: ServingOptions) -> str | None:
        """Return the build that can write its slots to files and read them again; None where it cannot, or not all."""

    def asked_parallel(self, options: ServingOptions) -> int | None:
        """Return how many requests at the same time the options ask for; None leaves it to us."""

    def fetch(self, options: ServingOptions, progress: FetchProgress) -> None:
        """Bring what it needs beside the model and is not on this machine, as an image; blocks.

        A command calls it while a person waits; where none did, the engine does it at its start.

        Raises:
            DmrcError: It cannot be had: why.
        """

    async def end_left_behind(self) -> None:
        """End what an earlier daemon of this state directory could not; called when a daemon starts."""

    async def start(self, launch: Launch, mask: Callable[[str], str]) -> Server:
        """Begin to start or to reach a server; `mask` takes secrets out of a line that it prints.

        Raises:
            EngineError: It cannot be started at all.
        """

    async def counts(self, session: Session) -> Counts | None:
        """Ask a runner what it counts; None where it does not.

        Raises:
            ConnectionError: It has gone.
        """

    async def devices(self, options: ServingOptions) -> Sequence[Device]:
        """Ask which graphics cards it can use, and what of their memory is free now; none where it has no such list.

        `options` name its image. It takes a child, and so some tenths of a second; one that dies or hangs lists none.
        """

    async def close(self) -> None:
        """Let go of what its servers shared, when all of them have ended; called when a daemon ends."""

    def describe(self) -> str:
        """Return which server that would be, and its version, in one line; `not installed; …` where there is none."""

    def surroundings(self) -> Finding | None:
        """Look at what its servers run on beyond this machine; None: they run here. It blocks, for `dmrc doctor`."""

    def disk_bytes(self) -> int:
        """Return what it takes of the disk; 0 where that is not known, or not ours. It reads files."""
