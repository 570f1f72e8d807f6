"""The engine `llama-cpp-python`, behind the extra of that name: correct, and one request after another."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dmrc import hookimpl
from dmrc.answer import ServerKind
from dmrc.engines.devices import DeviceList
from dmrc.engines.engine import Counts, Engine, Launch, launch_json
from dmrc.engines.installed import package_bytes
from dmrc.engines.llama_cpp.engine import LlamaCpp
from dmrc.engines.llama_cpp.flags import mode, parse
from dmrc.engines.local_model import LocalModel
from dmrc.errors import EngineError, RuntimeFlagError, UnsupportedError
from dmrc.project import ServingOptions
from dmrc.settings import Settings

if TYPE_CHECKING:
    from dmrc.engines.session import Session

LOAD_FLAGS = {
    "--threads": "n_threads",
    "--threads-batch": "n_threads_batch",
    "--batch-size": "n_batch",
    "--ubatch-size": "n_ubatch",
    "--n-gpu-layers": "n_gpu_layers",
    "--main-gpu": "main_gpu",
    "--rope-freq-base": "rope_freq_base",
    "--rope-freq-scale": "rope_freq_scale",
}
"""Runtime flag, and the argument of `llama_cpp.Llama` that it is."""

REQUEST_FLAGS = {
    "--temperature": "temperature",
    "--top-k": "top_k",
    "--top-p": "top_p",
    "--min-p": "min_p",
    "--typical-p": "typical_p",
    "--repeat-penalty": "repeat_penalty",
    "--presence-penalty": "presence_penalty",
    "--frequency-penalty": "frequency_penalty",
    "--seed": "seed",
    "--n-predict": "max_tokens",
}
"""Runtime flag, and the field of a request that it is the default of."""

SPECIAL_FLAGS = frozenset({"--pooling", "--embeddings", "--parallel"})
"""Runtime flags that the child, or dmrc itself, acts on."""

_OTHER = "Use engine llama.cpp"
_LACKS = {"mmproj": "reads no images", "draft": "takes no draft model"}


class LlamaCppPython(LlamaCpp):
    """llama-cpp-python's `Llama` class in a child of ours; its own server cuts a stream when another begins."""

    name = "llama-cpp-python"
    server: ServerKind = "other"
    special_options: frozenset[str] = frozenset()
    largest_parallel: int | None = 1
    lists_devices = False
    metrics_path: str | None = None

    def __init__(self) -> None:
        """Need nothing: `check` looks whether it is installed."""
        super().__init__(None)
        self.program = "llama-cpp-python"

    def check(self, options: ServingOptions, companions: Sequence[str] = ()) -> None:
        """Check that it is installed, and that it can do this; see `Engine`.

        Raises:
            EngineError: It is not installed.
        """
        if importlib.util.find_spec("llama_cpp") is None:
            raise EngineError(
                "engine 'llama-cpp-python' is not installed",
                remedy="Run: pip install 'dmrc[llama-cpp-python]', or leave x-dmrc.engine out",
            )
        flags = options.runtime_flags or ()
        for setting in parse(flags):
            if setting.flag.names[-1] not in {*LOAD_FLAGS, *REQUEST_FLAGS, *SPECIAL_FLAGS}:
                raise RuntimeFlagError(
                    f"runtime flag '{setting.written}' is not known to engine 'llama-cpp-python'", remedy=_OTHER
                )
        lacks = [_LACKS[kind] for kind in companions if kind in _LACKS]
        if companions.count("lora") > 1:
            lacks.append("applies no more than one LoRA adapter")
        if "rerank" in (options.mode, mode(flags)):
            lacks.append("does not rerank")
        if lacks:
            raise UnsupportedError(f"engine 'llama-cpp-python' {lacks[0]}", remedy=_OTHER)

    def command(self, launch: Launch) -> list[str]:
        """Return the command of a child; see `Engine`."""
        return [sys.executable, "-P", "-m", "dmrc.engines.llama_cpp_python.child", launch_json(launch)]

    def keeps_prompts(self, model: LocalModel | None, options: ServingOptions) -> bool:  # noqa: ARG002 it has no place
        """Return False: it keeps none."""
        return False

    def tells_slots(self, options: ServingOptions) -> bool:  # noqa: ARG002 it has one context, and no number for it
        """Return False: its child is no llama.cpp server."""
        return False

    async def counts(self, session: Session) -> Counts | None:  # noqa: ARG002 it does not tell
        """Return None: it counts nothing."""
        return None

    async def list_devices(self) -> DeviceList:
        """Return none: its module has no such list."""
        return DeviceList()

    def disk_bytes(self) -> int:
        """Return what its package takes; see `Engine`."""
        return package_bytes("llama-cpp-python")

    def describe(self) -> str:
        """Return its version."""
        from importlib import metadata  # heavy

        try:
            return f"llama-cpp-python {metadata.version('llama-cpp-python')}"
        except metadata.PackageNotFoundError:
            return "not installed; pip install 'dmrc[llama-cpp-python]'"


@hookimpl
def dmrc_register_engines(settings: Settings) -> Sequence[Engine]:  # noqa: ARG001 the hook's argument
    return [LlamaCppPython()]
