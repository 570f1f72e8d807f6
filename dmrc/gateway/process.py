"""The process of the daemon."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack

from dmrc import daemon_lock
from dmrc.engines.engine import Engine
from dmrc.gateway.daemon import SWITCH_SECONDS, Daemon
from dmrc.gateway.projects.given import GivenProject
from dmrc.gateway.server.connection_shares import raise_limit_of_descriptors
from dmrc.gateway.server.logging import mask_with
from dmrc.hooks.plugins import Plugins
from dmrc.models import Models
from dmrc.project import Replay
from dmrc.settings import Settings

# Nearly all that a request makes is gone when it ends, and is in no cycle. To look for cycles at each 700 objects, as
# is usual, was an eighth of what a request costs.
_OBJECTS_BETWEEN_COLLECTIONS = (20_000, 10, 10)


def serve(
    settings: Settings,
    models: Models,
    engines: Mapping[str, Engine],
    plugins: Plugins,
    on_ready: Callable[[], None],
    given: Sequence[GivenProject] = (),
    replay: Replay | None = None,
) -> None:
    """Run the daemon in this process until it is told to end; blocks. `replay` is for requests of no project.

    Raises:
        DaemonRunningError: Another daemon serves this state directory.
        PortTakenError: Another process listens on the port.
        CassetteError: A cassette of `replay` cannot be read.
    """
    import uvloop

    async def main() -> None:
        async with AsyncExitStack() as parts:
            for engine in engines.values():
                parts.push_async_callback(engine.close)
            daemon = Daemon(settings, models, engines, plugins, parts)
            mask_with(daemon.masked)
            await daemon.run(ready, given, replay)

    def ready() -> None:
        gc.freeze()  # modules, routes and tables stay: no collection looks at them again
        on_ready()

    gc.set_threshold(*_OBJECTS_BETWEEN_COLLECTIONS)
    sys.setswitchinterval(SWITCH_SECONDS)
    raise_limit_of_descriptors()
    with daemon_lock.held(settings.paths.create().daemon_lock):
        uvloop.run(main())
