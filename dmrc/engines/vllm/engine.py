"""The engine `vllm`: vLLM's server, in an environment of its own or in ours."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from dmrc import hookimpl
from dmrc.answer import ServerKind
from dmrc.engines.child_engine import ChildEngine
from dmrc.engines.engine import Counts, Engine, Launch, MemoryEstimate, Server
from dmrc.engines.local_model import LocalModel, local
from dmrc.engines.options_check import VLLM_OPTIONS
from dmrc.engines.vllm import memory
from dmrc.engines.vllm.arguments import LORA_NAME, UTILIZATION_FLAG, arguments
from dmrc.engines.vllm.counts import METRICS_PATH, counts
from dmrc.engines.vllm.failures import CAUSES
from dmrc.engines.vllm.flags import parse
from dmrc.engines.vllm.program import Program, find_program
from dmrc.engines.vllm.settling import settled
from dmrc.errors import EngineError, UnsupportedError
from dmrc.exchange import Operation
from dmrc.project import ServingOptions
from dmrc.settings import Settings

if TYPE_CHECKING:
    from dmrc.engines.session import Session

_INSTALL = (
    "Run: pip install vllm, in an environment of its own, and set DMRC_VLLM to its program; or use a model in GGUF"
)
_OTHER = "Use engine llama.cpp, with a model in GGUF"
_ON_CARDS = 32
_ON_PROCESSORS = 4


class Vllm(ChildEngine):
    """vLLM's server, on a unix socket."""

    name = "vllm"
    server: ServerKind = "vllm"
    formats = frozenset({"safetensors"})
    has_processes = True
    causes = CAUSES
    metrics_path: str | None = METRICS_PATH
    special_options = frozenset(VLLM_OPTIONS)

    def __init__(self, found: Program | None) -> None:
        """Use one vLLM; None says with each use that there is none."""
        self._found = found
        self.program = "vLLM" if found is None else found.description
        self.usual_parallel = _ON_PROCESSORS if found is not None and found.is_for_processors else _ON_CARDS

    def check(self, options: ServingOptions, companions: Sequence[str] = ()) -> None:
        """Check that it is installed, and that it can do this; see `Engine`.

        Raises:
            EngineError: It is not installed.
        """
        self._installed()
        parse(options.runtime_flags or ())
        if "mmproj" in companions:
            lack = "takes no projector: a model in safetensors has its own"
        elif companions.count("lora") > 1:
            lack = "applies no more than one LoRA adapter to a request"
        elif options.draft_acceptance is not None:
            lack = "has no least acceptance for a draft"
        elif options.reasoning_budget is not None and options.reasoning_budget > 0:
            lack = "counts no tokens of thoughts; 0 switches thinking off"
        else:
            return
        raise UnsupportedError(f"engine 'vllm' {lack}", remedy=_OTHER)

    def settle(
        self, name: str, model: LocalModel | None, options: ServingOptions, operation: Operation | None
    ) -> ServingOptions:
        """Return what the server is told; see `Engine`."""
        return settled(name, model, options, operation)

    def template(self, model: LocalModel, options: ServingOptions) -> str | None:  # noqa: ARG002 no flag changes it
        """Return the template that was given beside the model; its own one is not read."""
        return model.template

    def estimate(
        self,
        model: LocalModel | None,
        options: ServingOptions,
        parallel: int,
        card_bytes: int = 0,  # noqa: ARG002
    ) -> MemoryEstimate | None:
        """Return what a vLLM for processors takes; None for cards, of which it takes a share by itself."""
        return memory.estimate(model, options, parallel) if self._is_told(options) else None

    def largest_context(
        self,
        model: LocalModel | None,
        options: ServingOptions,
        parallel: int,
        available_bytes: int,
        card_bytes: int | None = None,  # noqa: ARG002 it takes its share of a card by itself
    ) -> int | None:
        """Return the largest context that fits; see `Engine`."""
        return memory.largest_context(model, options, parallel, available_bytes) if self._is_told(options) else None

    def command(self, launch: Launch) -> list[str]:
        """Return the command of a child; see `ChildEngine`."""
        found = self._installed()
        keeper = [sys.executable, "-P", "-m", "dmrc.engines.vllm.child"]
        told = self._is_told(launch.options)
        kv_bytes = memory.kv_bytes(local(launch.model), launch.options, launch.parallel) if told else None
        return [*keeper, *found.command, *arguments(launch, kv_bytes)]

    async def start(self, launch: Launch, mask: Callable[[str], str] = str) -> Server:
        """Start a child whose end is noticed by its answers, too; see `Engine`."""
        from dmrc.engines.vllm.server import VllmServer  # heavy, and who only checks options needs it not

        return VllmServer(await super().start(launch, mask))

    def name_there(self, launch: Launch) -> str:
        """Return the name of the model, or the one of the model with its adapter."""
        return LORA_NAME if local(launch.model).companions.loras else launch.name

    async def counts(self, session: Session) -> Counts | None:
        """Ask its metrics; see `Engine`."""
        return await counts(session)

    def describe(self) -> str:
        """Return its version, and what it computes on."""
        if self._found is None:
            return "not installed; pip install vllm, and set DMRC_VLLM to its program"
        kind = "for processors" if self._found.is_for_processors else "for graphics cards"
        return f"{self._found.description} ({kind})" if self._found.version else self._found.description

    def _installed(self) -> Program:
        if self._found is None:
            raise EngineError("engine 'vllm' is not installed", remedy=_INSTALL)
        return self._found

    def _is_told(self, options: ServingOptions) -> bool:
        """Return whether dmrc says how much memory its contexts get: on processors, where no share is set."""
        is_share = options.gpu_memory_utilization is not None or any(
            one.flag.names[-1] == UTILIZATION_FLAG for one in parse(options.runtime_flags or ())
        )
        return self._found is not None and self._found.is_for_processors and not is_share


@hookimpl
def dmrc_register_engines(settings: Settings) -> Sequence[Engine]:
    return [Vllm(find_program(settings))]
