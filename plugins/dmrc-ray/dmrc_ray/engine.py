"""The engine `ray`, as the daemon and the command line see it: options, estimates, and the command of the bridge.

A model in safetensors is for vLLM: it gets the configuration of Ray's own server (`dmrc_ray.llm`), and no bridge.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import sys
from collections.abc import Sequence

from dmrc.answer import ServerKind
from dmrc.engines.child_engine import ChildEngine
from dmrc.engines.engine import Finding, Launch
from dmrc.engines.failures import Cause
from dmrc.engines.llama_cpp.engine import LlamaCpp
from dmrc.engines.llama_cpp.flags import settings_of
from dmrc.engines.local_model import GGUF, LocalModel, local
from dmrc.engines.options_check import RAY_OPTIONS
from dmrc.engines.placement import DeviceWish
from dmrc.engines.vllm.flags import parse as vllm_flags
from dmrc.errors import RuntimeFlagError, UnsupportedError
from dmrc.exchange import Operation
from dmrc.paths import Paths
from dmrc.project import DEFAULT_KEEP_ALIVE_SECONDS, ReplicaRange, ServingOptions
from dmrc.secret_names import hidden_in_urls, secrets_in_urls
from dmrc_ray import llm
from dmrc_ray.holder import holder_name
from dmrc_ray.order import Needs, Order, Work

FATAL = "dmrc-ray: "
"""What the bridge's last line begins with where it says why it ends."""

_SHORTEST_KEEP_SECONDS = 60.0
_LARGEST_PROMPT_CACHE_BYTES = 8 << 30  # llama.cpp's own default


class RayEngine(ChildEngine):
    """llama.cpp's server on the nodes of a cluster; the child here is the bridge to them."""

    name = "ray"
    server: ServerKind = "llama-server"
    formats = frozenset({GGUF, "safetensors"})
    is_only_by_name = True  # a cluster is nobody's guess
    usual_parallel = 4
    lists_devices = True  # this machine's cards are not its own
    has_replicas = True
    special_options = frozenset({*RAY_OPTIONS, "gpu"})
    causes = (
        Cause(
            pattern=re.compile(rf"^{FATAL}(.+)$", re.MULTILINE),
            sentence="{0}",
            remedy="",
            source="plugins/dmrc-ray/dmrc_ray/bridge.py",
        ),
    )

    def __init__(self, paths: Paths) -> None:
        """Name what is wanted in a cluster by the state directory."""
        self._home = paths.home
        self._llama_cpp = LlamaCpp("llama-server")  # which build a node has, the node knows
        self.program = "the bridge to Ray"

    def check(self, options: ServingOptions, companions: Sequence[str] = ()) -> None:
        """Check what llama.cpp would, and that all files are such as a node can have; see `Engine`."""
        if options.paths:
            raise UnsupportedError(
                f"engine 'ray' cannot use '{options.paths[0]}': the nodes of a cluster have no files of this machine",
                remedy="Package it as a model and name its reference, or use engine llama.cpp",
            )
        if (address := _address(options)) and address.startswith("ray://"):
            raise UnsupportedError(
                f"engine 'ray' cannot use the address '{address}': Ray's client has no streams",
                remedy="Join this machine to the cluster (ray start --address=HOST:6379 --num-cpus=0)"
                " and write address: HOST:6379",
            )
        if _is_for_vllm(options):
            return llm.check(options)
        if "--device" in settings_of(options.runtime_flags or ()):
            raise UnsupportedError(
                "engine 'ray' has no --device: each node has cards of its own",
                remedy="Remove it from runtime_flags, or use engine llama.cpp",
            )
        return self._llama_cpp.check(options, companions)

    def settle(
        self, name: str, model: LocalModel | None, options: ServingOptions, operation: Operation | None
    ) -> ServingOptions:
        """Return what the server is told: llama.cpp's, or Ray's for vLLM; see `Engine`."""
        _refuse_logins((name, *options.references))
        if model is not None and model.format != GGUF:
            settled = super().settle(name, model, options, operation)
            llm.check(settled)
            return settled
        return self._llama_cpp.settle(name, model, options, operation)

    def template(self, model: LocalModel, options: ServingOptions) -> str | None:
        """Return the source of the chat template; see `Engine`."""
        return self._llama_cpp.template(model, options) if model.format == GGUF else model.template

    def asked_parallel(self, options: ServingOptions) -> int | None:
        """Return what the project sets, by a field or by a flag."""
        return options.parallel if _is_for_vllm(options) else self._llama_cpp.asked_parallel(options)

    def device_wish(self, options: ServingOptions) -> DeviceWish:  # noqa: ARG002 it is not of this machine
        """Return that no card of this machine is wanted."""
        return DeviceWish(names=())

    def command(self, launch: Launch) -> list[str]:
        """Return the command of the bridge; see `ChildEngine`.

        Raises:
            EngineStartError: The model is in safetensors; its configuration for Ray's own server is written.
        """
        if local(launch.model).format != GGUF:
            llm.hand_over(launch, self._home)
        return [sys.executable, "-P", "-m", "dmrc_ray.bridge", self.order(launch).to_json()]

    def order(self, launch: Launch) -> Order:
        """Return what the bridge is told."""
        options, model = launch.options, local(launch.model)
        replicas = options.replicas or ReplicaRange()
        cache_bytes = self._prompt_cache_bytes(model, options, launch.parallel)
        keep_seconds = options.keep_alive_seconds
        keep_seconds = DEFAULT_KEEP_ALIVE_SECONDS if keep_seconds is None else keep_seconds
        files = model.companions
        return Order(
            application=f"dmrc-{launch.runner}",
            holder=holder_name(self._home / "ray"),
            address=_address(options),
            home=str(self._home),
            socket=str(launch.socket),
            keep_seconds=max(keep_seconds, _SHORTEST_KEEP_SECONDS),
            least=replicas.min,
            most=replicas.max,
            target=replicas.target or launch.parallel,
            needs=self._needs(launch, cache_bytes),
            work=Work(
                name=launch.name,
                digest=launch.digest,
                path=str(model.path),
                size_bytes=model.path.stat().st_size,
                references=options.references,
                mmproj=str(files.mmproj.path) if files.mmproj else None,
                loras=tuple(str(each.path) for each in files.loras),
                draft=str(files.draft.path) if files.draft else None,
                chat_template=str(model.chat_template) if model.chat_template else None,
                options=options.to_json(),
                parallel=launch.parallel,
                prompt_cache_bytes=cache_bytes,
            ),
        )

    def _prompt_cache_bytes(self, model: LocalModel, options: ServingOptions, parallel: int) -> int:
        """Return as much as the contexts of the slots take, which on one machine is the least that is given."""
        if not self._llama_cpp.keeps_prompts(model, options):
            return 0
        estimate = self._llama_cpp.estimate(model, options, parallel)
        return min(estimate.kv_bytes, _LARGEST_PROMPT_CACHE_BYTES) if estimate else 0

    def _needs(self, launch: Launch, cache_bytes: int) -> Needs:
        estimate = self._llama_cpp.estimate(launch.model, launch.options, launch.parallel)
        threads = settings_of(launch.options.runtime_flags or ()).get("--threads", "")
        on_processor = self._llama_cpp.device_wish(launch.options).names == ()
        gpus = 0.0 if on_processor else 1.0 if launch.options.gpu == "required" else None
        return Needs(
            cpus=float(threads) if threads.isdecimal() and threads != "0" else 1.0,
            gpus=gpus,
            memory_bytes=(estimate.bare_bytes if estimate else 0) + cache_bytes,
        )

    def surroundings(self) -> Finding | None:
        """Look at the cluster that the environment names; see `Engine`."""
        from dmrc_ray.look import cluster_finding

        return cluster_finding(os.environ)

    def describe(self) -> str:
        """Return which Ray it is."""
        if importlib.util.find_spec("ray") is None:
            return "not installed; pip install dmrc-ray brings Ray"
        return f"Ray {importlib.metadata.version('ray')}"


def _refuse_logins(references: Sequence[str]) -> None:
    """Refuse a URL with a login: it would stand on command lines of all nodes, and in Ray's state.

    Raises:
        UnsupportedError: There is one.
    """
    for each in references:
        if secrets_in_urls(each):
            raise UnsupportedError(
                f"engine 'ray' cannot use '{hidden_in_urls(each)}': its URL holds a login,"
                " which all who see the cluster would read",
                remedy="Push it to a registry",
            )


def _is_for_vllm(options: ServingOptions) -> bool:
    """Return whether there are flags, and llama.cpp knows them not, but vLLM does."""
    flags = options.runtime_flags or ()
    try:
        settings_of(flags)
    except RuntimeFlagError:
        try:
            return bool(vllm_flags(flags))
        except RuntimeFlagError:
            return False
    return False


def _address(options: ServingOptions) -> str | None:
    """Return the address of the cluster; None: one on this machine."""
    return options.ray_address or os.environ.get("RAY_ADDRESS") or None
