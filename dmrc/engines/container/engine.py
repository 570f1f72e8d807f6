"""The engine `container`: llama.cpp's server, or any other with OpenAI's routes, out of an image and run by Docker."""

from __future__ import annotations

import itertools
import logging
import os
import secrets
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dmrc import hookimpl
from dmrc.answer import ServerKind
from dmrc.engines.cards import may_have_card
from dmrc.engines.container import command, failures
from dmrc.engines.container.image_devices import LIST, ImageDevices
from dmrc.engines.container.model_files import Mounts
from dmrc.engines.container.order import AUTO, KEEPER, SOCKET, SOCKET_NAME, Order, container_name, labels
from dmrc.engines.container.this_machine import docker_host, environment
from dmrc.engines.devices import Device
from dmrc.engines.engine import Counts, Engine, FetchProgress, Launch, MemoryEstimate, Server
from dmrc.engines.llama_cpp.counts import METRICS_PATH, counts
from dmrc.engines.llama_cpp.engine import LlamaCpp, server_arguments
from dmrc.engines.llama_cpp.failures import CAUSES as CAUSES_OF_LLAMA_CPP
from dmrc.engines.llama_cpp.offload import LOAD_NOTES
from dmrc.engines.local_model import GGUF, LocalModel, local
from dmrc.engines.options_check import CARD_OPTIONS, CONTAINER_OPTIONS
from dmrc.engines.placement import DeviceWish, Placement
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


class ContainerEngine(PlainEngine):
    """A server in a container without a network.

    Without a `command` the image is one whose entry point is llama.cpp's server, and all is as for a `llama-server` of
    this machine; with one it is a server of which nothing but OpenAI's routes is known.
    """

    name = CONTAINER_ENGINE
    formats = frozenset({GGUF, "safetensors"})
    usual_parallel = 16
    lists_devices = True  # of a server that is not llama.cpp's nothing is counted at all
    is_only_by_name = True
    special_options = frozenset({*CONTAINER_OPTIONS, *CARD_OPTIONS})
    metrics_path: str | None = METRICS_PATH

    def __init__(self, paths: Paths) -> None:
        """Label containers with the state directory."""
        self._home, self._run = paths.home, paths.run
        self._plain = PlainEngine()
        self._llama_cpp = LlamaCpp("llama-server")
        self._images = ImageDevices()
        self._numbers = itertools.count(1)

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

    def device_wish(self, options: ServingOptions) -> DeviceWish:
        """Return what fields and flags say of cards; see `Engine`."""
        return self._engine(options).device_wish(options)

    def device_use(self, lines: Sequence[str]) -> Mapping[str, int]:
        """Return what llama.cpp's server says that it took; see `Engine`."""
        return self._llama_cpp.device_use(lines)

    def keeps_prompts(self, model: LocalModel | None, options: ServingOptions) -> bool:
        """Return whether it is llama.cpp's server, for chats; see `Engine`."""
        return self._engine(options).keeps_prompts(model, options)

    def asked_parallel(self, options: ServingOptions) -> int | None:
        """Return what the project sets; see `Engine`."""
        return self._engine(options).asked_parallel(options)

    async def counts(self, session: Session) -> Counts | None:
        """Ask its metrics; a server that is not llama.cpp's has others, which say nothing here."""
        return await counts(session)

    async def devices(self, options: ServingOptions) -> Sequence[Device]:
        """Ask llama.cpp's server in the image of a model that may use a card; see `Engine` and `ImageDevices`."""
        if options.command is not None or not self._uses_card(options) or not may_have_card():
            return ()

        def order() -> Order:
            self.fetch(options, lambda *_: None)
            return self._order(options, self._run / f"runner-devices-{next(self._numbers)}", LIST)

        return await self._images.ask(options, order)

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
            command=[*KEEPER, order.to_json()],
            program=f"image {order.image}",
            model=launch.name,
            socket=socket,
            connector=connector,
            log=launch.log,
            causes=(*failures.CAUSES, *(CAUSES_OF_LLAMA_CPP if launch.options.command is None else ())),
            notes=LOAD_NOTES if launch.placement is not None and launch.placement.shares else None,
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
        inside = replace(launch, model=model, socket=Path(SOCKET), placement=self._placement(launch))
        order = self._order(launch.options, launch.socket, self._command(inside, str(model.path)))
        return replace(order, mounts=mounts.pairs, memory_bytes=self._memory_limit(launch))

    def _order(self, options: ServingOptions, place: Path, command_line: Sequence[str]) -> Order:
        """Return the order of a container that reads no model, and is named by a place for its files."""
        return Order(
            docker_host=docker_host(),
            docker_config=os.environ.get("DOCKER_CONFIG"),
            name=container_name(self._home, place.stem),
            image=options.image or AUTO,
            command=[*command_line],
            environment=environment(),
            mounts=[],
            directory=str(place.with_suffix(".d")),
            pid_file=str(place.with_suffix(".pid")),
            has_port=command.uses_port(options.command),
            uses_card=self._uses_card(options),
            memory_bytes=None,
            labels=labels(self._home, os.getpid()),
        )

    def _uses_card(self, options: ServingOptions) -> bool:
        return self.device_wish(options).names != ()

    def _command(self, launch: Launch, model: str) -> list[str]:
        """Return what the image's entry point is given; paths are those of the container."""
        options = launch.options
        if options.command is None:
            return server_arguments(launch)
        return command.filled(options.command, model, launch.name, options, launch.parallel)

    def _placement(self, launch: Launch) -> Placement | None:
        """Return where its model is computed: on no card where nobody would count what it takes there."""
        if launch.placement is None and (self._images.is_silent(launch.options) or not self._uses_card(launch.options)):
            return Placement()
        return launch.placement

    def _memory_limit(self, launch: Launch) -> int | None:
        """Return more than the scheduler lets it have, which ends it with the reason; None: it is not known.

        The pages of a model's file count too, as long as nobody else wants them.
        """
        estimate = self.estimate(launch.model, launch.options, launch.parallel)
        return None if estimate is None else (estimate.bare_bytes + launch.prompt_cache_bytes) * 2 + 2 * _GIB

    def fetch(self, options: ServingOptions, progress: FetchProgress) -> None:
        """Pull the image; see `Engine`."""
        from dmrc.engines.container import docker_api

        uses_card = self._uses_card(options)
        docker_api.pull_missing(docker_host(), options.image or AUTO, uses_card=uses_card, progress=progress)

    async def end_left_behind(self) -> None:
        """Remove containers of a daemon that was killed together with their keepers; see `Engine`."""
        # At once, and by a rename: the next runner of a model may have the name of the one that was left.
        directories = [_set_aside(directory) for directory in self._run.glob("runner-*.d")]
        if not directories:
            return  # Docker is asked by nobody who does not use it
        from dmrc.background import apart
        from dmrc.engines.container import docker_api

        try:
            work = partial(docker_api.remove_left_behind, docker_host(), str(self._home), str(os.getpid()))
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
            host = docker_host()
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
