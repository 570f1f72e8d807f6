"""One replica: a llama.cpp server on this node, and the leases of the requests that it works on."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmrc.log_tail import last_lines
from dmrc_ray.control import LONGEST_TEXT, Leases
from dmrc_ray.order import work_from
from dmrc_ray.own_files import own_directory

if TYPE_CHECKING:
    from dmrc.engines.engine import Launch
    from dmrc.engines.local_model import LocalModel

_HEARTBEAT_SECONDS = 2.0


class LlamaServer:
    """The class of the deployment; its methods are called by Ray Serve."""

    async def __init__(self, work: dict[str, Any], application: str, uses_card: bool) -> None:  # type: ignore[misc]
        """Bring the model here, start its server, and return when that answers."""
        import ray
        from ray import serve

        from dmrc_ray.application_registry import application_registry
        from dmrc_ray.replica_info import ReplicaInfo

        os.environ.pop("OMP_NUM_THREADS", None)  # Ray's; the server chooses as on one machine
        self._work, self._application = work_from(work), application
        context = serve.get_replica_context()
        self._registry = application_registry()
        self._info = ReplicaInfo(
            name=context.replica_id.unique_id,
            node=_node_name(),
            state="starting",
            slots=self._work.parallel,
            host=ray.util.get_node_ip_address(),
            key=secrets.token_urlsafe(24),
        )
        self._directory = own_directory()
        _close_serves_own_port(self._directory)
        self._leases = Leases()
        self._process: Any = None
        self._heartbeats = asyncio.create_task(self._send_heartbeats())
        try:
            await self._start(uses_card)
        except Exception as error:
            self._tell_gone(str(error))
            self._end()
            raise RuntimeError(str(error)) from error

    async def _start(self, uses_card: bool) -> None:
        from dmrc.engines.http_client.tcp_connector import ChildTcpConnector
        from dmrc.engines.process import Child, EngineProcess
        from dmrc_ray.weights import local_model

        loop, work, info = asyncio.get_running_loop(), self._work, self._info

        def say(detail: str) -> None:
            loop.call_soon_threadsafe(self._say, detail)

        model = await asyncio.to_thread(local_model, work, info.node, say)
        self._say("loading the model")
        port = free_port(info.host)
        launch = self._launch(model, port, uses_card=uses_card)
        engine = _engine()
        engine.check(launch.options, model.companions.kinds)
        child = Child(
            command=engine.command(launch),
            program=engine.program,
            model=work.name,
            socket=launch.socket,
            connector=ChildTcpConnector(port, info.host),
            log=launch.log,
            causes=engine.causes,
        )
        self._process = await EngineProcess.start(child)
        await self._process.wait_ready()
        server = await self._leases.serve(info.host, info.key, self._log)
        self._control = server
        self._watching = asyncio.create_task(self._watch())
        self._info = replace(info, state="ready", detail="", port=port, control_port=server.sockets[0].getsockname()[1])
        await self._announce()

    def _launch(self, model: LocalModel, port: int, *, uses_card: bool) -> Launch:
        """Return how the server is started: with the options of one machine, for whoever has the key."""
        from dmrc.engines.engine import Launch
        from dmrc.engines.placement import Placement
        from dmrc.project import ServingOptions

        work, keys = self._work, self._directory / "keys"
        keys.touch(mode=0o600)
        keys.write_text(self._info.key)
        return Launch(
            name=work.name,
            digest=work.digest,
            model=model,
            options=ServingOptions.from_json(work.options),
            parallel=work.parallel,
            prompt_cache_bytes=work.prompt_cache_bytes,
            placement=None if uses_card else Placement(),
            socket=self._directory / "none.sock",
            port=port,
            host=self._info.host,
            api_keys=keys,
            log=self._directory / "server.log",
        )

    async def lease(self, bridge: str, lease: str) -> AsyncIterator[dict[str, Any]]:
        """Lease a slot to one request: yield where it is to be sent, and end when it has ended."""
        await self.check_health()
        with self._leases.opened(bridge, lease) as ended:
            yield asdict(self._info)
            await self._leases.wait(bridge, ended)

    async def check_health(self) -> None:
        """Tell Serve that the server has died, so that another replica comes."""
        if self._process is not None and self._process.exit_code is not None:
            raise RuntimeError(f"llama.cpp's server of model '{self._work.name}' died: {self._process.last_words()}")

    def __del__(self) -> None:
        """End with the server; Serve calls it when the replica has nothing to do any more."""
        self._tell_gone()
        self._end()

    async def _watch(self) -> None:
        """Tell when the server has died: until Serve has noticed, nobody should count on this replica."""
        await self._process.wait_exit()
        self._info = replace(self._info, state="starting", detail="gone: its server has died")
        await self._announce()

    async def _log(self, lines: int) -> str:
        return await asyncio.to_thread(end_of_log, self._directory / "server.log", lines)

    def _say(self, detail: str) -> None:
        self._info = replace(self._info, detail=detail)
        self._registry.announce.remote(self._application, asdict(self._info))

    async def _announce(self) -> None:
        await self._registry.announce.remote(self._application, asdict(self._info))

    async def _send_heartbeats(self) -> None:
        """Tell the registry again and again: another one may have taken its place."""
        from dmrc_ray.application_registry import application_registry

        while True:
            try:
                await self._announce()
            except Exception:  # noqa: BLE001 whatever is the matter with it, another one is asked for
                with suppress(Exception):  # the cluster has no head now: the next heartbeat asks again
                    self._registry = await asyncio.to_thread(application_registry)
            await asyncio.sleep(_HEARTBEAT_SECONDS)

    def _tell_gone(self, failure: str = "") -> None:
        for task in (getattr(self, name, None) for name in ("_heartbeats", "_watching")):
            if task is not None:
                task.cancel()
        if hasattr(self, "_info"):
            self._registry.gone.remote(self._application, self._info.name, failure)

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
        shutil.rmtree(self._directory, ignore_errors=True)


def _close_serves_own_port(directory: Path) -> None:
    """Have Serve's server for calls among deployments listen on a socket in a directory of ours, where nobody calls it.

    By itself it listens on all addresses, asks for no key, and reads pickles: whoever reaches it runs code here.
    Handles go by actors, and need it not.
    Source: `_on_initialized` in https://github.com/ray-project/ray/blob/master/python/ray/serve/_private/replica.py
    """
    from ray.serve._private import replica

    listen = replica.add_port_to_grpc_server
    replica.add_port_to_grpc_server = lambda server, _: listen(server, f"unix:{directory}/serve.sock")


def _engine() -> Any:
    """Return dmrc's own engine, with the build that this node has in use."""
    from dmrc.engines.builds.builds import Builds
    from dmrc.engines.llama_cpp.engine import LlamaCpp
    from dmrc.settings import Settings

    settings = Settings.from_environment(os.environ)
    return LlamaCpp(None, Builds(settings.paths.engines, settings.llama_server))


def _node_name() -> str:
    """Return what people call this node: its name in Ray, with the beginning of its number where others have it too."""
    import ray

    own = ray.get_runtime_context().get_node_id()
    names = {
        node["NodeID"]: node.get("NodeName") or node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]
    }
    name = names.get(own, own[:8])
    return name if list(names.values()).count(name) < 2 else f"{name}-{own[:6]}"


def end_of_log(log: Path, lines: int) -> str:
    """Return the last lines of a log, as far as they can be sent at once; empty where there is no log."""
    try:
        return "".join(last_lines(log, lines))[-LONGEST_TEXT:]
    except FileNotFoundError:
        return ""


def free_port(host: str) -> int:
    """Return a port that is free at an address of this node."""
    with socket.create_server((host, 0)) as found:
        port: int = found.getsockname()[1]
        return port
