"""The engine `container`: llama.cpp's server, or any other with OpenAI's routes, out of an image and run by Docker."""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dmrc import hookimpl
from dmrc.answer import ServerKind
from dmrc.background import apart
from dmrc.docker_context import docker_endpoint
from dmrc.engines.container import command, failures
from dmrc.engines.container.model_files import Mounts
from dmrc.engines.container.order import AUTO, SOCKET, SOCKET_NAME, Order, labels
from dmrc.engines.engine import CONTAINER_OPTIONS, Counts, Engine, FetchProgress, Launch, MemoryEstimate, Server
from dmrc.engines.environment import child_environment
from dmrc.engines.llama_cpp.counts import METRICS_PATH, counts
from dmrc.engines.llama_cpp.engine import LlamaCpp, server_arguments
from dmrc.engines.llama_cpp.failures import CAUSES as CAUSES_OF_LLAMA_CPP
from dmrc.engines.local_model import GGUF, LocalModel, local
from dmrc.engines.placement import DeviceWish
from dmrc.engines.plain_engine import PlainEngine
from dmrc.errors import DockerError, EngineStartError, InputError, UnsupportedError
from dmrc.exchange import Operation
from dmrc.paths import Paths
from dmrc.project import CONTAINER_ENGINE, DEFAULT_CONTEXT_SIZE, ServingOptions
from dmrc.settings import Settings

if TYPE_CHECKING:
    from dmrc.engines.session import Session

_log = logging.getLogger(__name__)

_GIB = 1 << 30
_KEEPER = (sys.executable, "-P", "-m", "dmrc.engines.container.keeper")
_PASSED_ON = ("GGML_", "GOMP_", "OMP_", "CUDA_VISIBLE_", "HIP_VISIBLE_", "ROCR_VISIBLE_")
# A home that can be written, and a name for who has none in the image: some servers ask for both.
_ENVIRONMENT = {"HOME": "/tmp", "USER": "dmrc", "LOGNAME": "dmrc", "HF_HUB_OFFLINE": "1"}  # noqa: S108 in the container


class ContainerEngine(PlainEngine):
    """A server in a container without a network.

    Without a `command` the image is one whose entry point is llama.cpp's server, and all is as for a `llama-server` of
    this machine; with one it is a server of which nothing but OpenAI's routes is known.
    """

    name = CONTAINER_ENGINE
    formats = frozenset({GGUF, "safetensors"})
    usual_parallel = 16
    special_options = frozenset({*CONTAINER_OPTIONS, "device"})
    metrics_path: str | None = METRICS_PATH

    def __init__(self, paths: Paths) -> None:
        """Label containers with the state directory."""
        self._home, self._run = paths.home, paths.run
        self._plain = PlainEngine()
        self._llama_cpp = LlamaCpp("llama-server")

    def _engine(self, options: ServingOptions) -> PlainEngine:
        """Return who knows the server in the image."""
        return self._llama_cpp if options.command is None else self._plain

    def server_of(self, options: ServingOptions) -> ServerKind:
        """Return which server is in the image."""
        return self._engine(options).server

    def check(self, options: ServingOptions, companions: Sequence[str] = ()) -> None:
        """Check where it can run, and what it is told; see `Engine`."""
        if sys.platform != "linux":
            raise UnsupportedError(
                "engine 'container' needs a Docker Engine on this machine, which only Linux has",
                remedy="Leave x-dmrc.engine out",
            )
        if options.device not in (None, "auto", "cpu"):
            raise UnsupportedError(
                f"engine 'container' takes no single card, as x-dmrc.device '{options.device}'",
                remedy="Write device: auto, for all cards of this machine, or device: cpu",
            )
        command.check(options, companions)
        self._engine(options).check(options, companions)

    def settle(
        self, name: str, model: LocalModel | None, options: ServingOptions, operation: Operation | None
    ) -> ServingOptions:
        """Return what the server is told; see `Engine`."""
        found = local(model)
        if options.command is None and found.format != GGUF:
            raise InputError(
                f"model '{name}' is in the format '{found.format}', which llama.cpp's server does not load",
                remedy="Name a server that does: x-dmrc: {engine: container, image: …, command: […]}",
            )
        settled = self._engine(options).settle(name, model, options, operation)
        trained = found.facts.context_length if found.facts else found.trained_context
        if options.command is None or not trained:
            return settled
        # Some servers, vLLM's among them, do not start with more.
        return replace(settled, context_size=min(settled.context_size or DEFAULT_CONTEXT_SIZE, trained))

    def template(self, model: LocalModel, options: ServingOptions) -> str | None:
        """Return the source of the chat template; see `Engine`."""
        return self._engine(options).template(model, options)

    def estimate(
        self, model: LocalModel | None, options: ServingOptions, parallel: int, card_bytes: int = 0
    ) -> MemoryEstimate | None:
        """Return what llama.cpp's server takes; of others it is not known."""
        return self._engine(options).estimate(model, options, parallel, card_bytes)

    def largest_context(
        self,
        model: LocalModel | None,
        options: ServingOptions,
        parallel: int,
        available_bytes: int,
        card_bytes: int | None = None,
    ) -> int | None:
        """Return the largest context that fits; see `Engine`."""
        return self._engine(options).largest_context(model, options, parallel, available_bytes, card_bytes)

    def keeps_prompts(self, model: LocalModel | None, options: ServingOptions) -> bool:
        """Return whether it is llama.cpp's server, for chats; see `Engine`."""
        return self._engine(options).keeps_prompts(model, options)

    def asked_parallel(self, options: ServingOptions) -> int | None:
        """Return what the project sets; see `Engine`."""
        return self._engine(options).asked_parallel(options)

    async def counts(self, session: Session) -> Counts | None:
        """Ask its metrics; a server that is not llama.cpp's has others, which say nothing here."""
        return await counts(session)

    async def start(self, launch: Launch, mask: Callable[[str], str] = str) -> Server:
        """Begin to run a container; see `Engine`."""
        from dmrc.engines.child_server import ChildServer  # heavy, and who only checks options needs it not
        from dmrc.engines.container.outside import ContainerOutside
        from dmrc.engines.http_client.connectors import UnixConnector
        from dmrc.engines.process import Child, EngineProcess

        try:
            order = self.order(launch)
            Path(order.directory).mkdir(mode=0o700, exist_ok=True)
        except (DockerError, OSError) as error:
            raise EngineStartError(f"the engine of model '{launch.name}' cannot be started: {error}") from error
        socket = Path(order.directory) / SOCKET_NAME
        connector = UnixConnector(socket)
        child = Child(
            command=[*_KEEPER, order.to_json()],
            program=f"image {order.image}",
            model=launch.name,
            socket=socket,
            connector=connector,
            log=launch.log,
            causes=(*failures.CAUSES, *(CAUSES_OF_LLAMA_CPP if launch.options.command is None else ())),
            outside=ContainerOutside(order),
        )
        return ChildServer(await EngineProcess.start(child, mask), connector)

    def order(self, launch: Launch) -> Order:
        """Return what the keeper of the container is told.

        Raises:
            DockerError: The user's Docker engine is not on this machine.
        """
        mounts = Mounts()
        model = mounts.model(local(launch.model))
        inside = replace(launch, model=model, socket=Path(SOCKET))
        return Order(
            docker_host=_docker_host(),
            docker_config=os.environ.get("DOCKER_CONFIG"),
            name=f"dmrc-{_short(self._home)}-{launch.socket.stem}",
            image=launch.options.image or AUTO,
            command=self._command(inside, str(model.path)),
            environment=_environment(),
            mounts=mounts.pairs,
            directory=str(launch.socket.with_suffix(".d")),
            pid_file=str(launch.socket.with_suffix(".pid")),
            has_port=command.uses_port(launch.options.command),
            uses_card=_uses_card(launch.options),
            memory_bytes=self._memory_limit(launch),
            labels=labels(self._home, os.getpid()),
        )

    def _command(self, launch: Launch, model: str) -> list[str]:
        """Return what the image's entry point is given; paths are those of the container."""
        options = launch.options
        if options.command is None:
            return server_arguments(launch)
        return command.filled(options.command, model, launch.name, options, launch.parallel)

    def _memory_limit(self, launch: Launch) -> int | None:
        """Return more than the scheduler lets it have, which ends it with the reason; None: it is not known.

        The pages of a model's file count too, as long as nobody else wants them.
        """
        estimate = self.estimate(launch.model, launch.options, launch.parallel)
        return None if estimate is None else (estimate.bare_bytes + launch.prompt_cache_bytes) * 2 + 2 * _GIB

    def fetch(self, options: ServingOptions, progress: FetchProgress) -> None:
        """Pull the image; see `Engine`."""
        from dmrc.engines.container import docker_api

        docker_api.pull_missing(_docker_host(), options.image or AUTO, uses_card=_uses_card(options), progress=progress)

    async def end_left_behind(self) -> None:
        """Remove containers of a daemon that was killed together with their keepers; see `Engine`."""
        # At once, and by a rename: the next runner of a model may have the name of the one that was left.
        directories = [_set_aside(directory) for directory in self._run.glob("runner-*.d")]
        if not directories:
            return  # Docker is asked by nobody who does not use it
        from dmrc.engines.container import docker_api

        try:
            work = partial(docker_api.remove_left_behind, _docker_host(), str(self._home), str(os.getpid()))
            for name in await apart(work, "end-containers"):
                _log.warning("removed container %s of an earlier daemon", name)
        except DockerError as error:
            _log.warning("containers of an earlier daemon may still be there: %s", error)
            return
        for directory in directories:
            shutil.rmtree(directory, ignore_errors=True)

    def describe(self) -> str:
        """Return which Docker engine runs it."""
        import socket

        try:
            host = _docker_host()
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(1)
                connection.connect(urlsplit(host).path)
        except DockerError as error:
            return f"not installed; {error.message}"
        except OSError:
            return f"not installed; no Docker engine answers at {host}"
        return f"images of servers, by Docker at {host}"


@hookimpl
def dmrc_register_engines(settings: Settings) -> Sequence[Engine]:
    return [ContainerEngine(settings.paths)]


def _set_aside(directory: Path) -> Path:
    """Give a directory of a runner a name that no other one gets, by which the next daemon finds it too."""
    directory.with_suffix(".pid").unlink(missing_ok=True)
    return directory.rename(directory.with_name(f"runner-left-{secrets.token_hex(8)}.d"))


def _uses_card(options: ServingOptions) -> bool:
    return DeviceWish.of(options).names != ()


def _docker_host() -> str:
    """Return the address of the user's Docker engine.

    Raises:
        DockerError: It is on another machine, or listens on TCP: nobody knows then whether it sees files of this one.
    """
    host = docker_endpoint(os.environ).host
    if urlsplit(host).scheme != "unix":
        raise DockerError(
            f"engine 'container' needs a Docker Engine with a unix socket, not '{host}'",
            remedy="Run: docker context use default, or unset DOCKER_HOST",
        )
    return host


def _environment() -> dict[str, str]:
    """Return the variables of a container: of this machine's only those that say how to compute."""
    here = child_environment(os.environ)
    return {**{name: value for name, value in here.items() if name.startswith(_PASSED_ON)}, **_ENVIRONMENT}


def _short(home: Path) -> str:
    return hashlib.sha256(os.fsencode(home)).hexdigest()[:8]
