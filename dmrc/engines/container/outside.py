"""A container as the daemon knows it: its processes, and its end where its keeper could not see to it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

import psutil

from dmrc.background import apart
from dmrc.engines.container.order import Order
from dmrc.engines.process_tree import ProcessTree
from dmrc.errors import DockerError

_log = logging.getLogger(__name__)


class ContainerOutside:
    """See `Outside`."""

    def __init__(self, order: Order) -> None:
        """Look after the container that was ordered; nothing is asked of Docker yet."""
        self._order = order
        self._tree: ProcessTree | None = None

    def processes(self) -> Sequence[psutil.Process]:
        """Return its server with all processes below it; none before it runs."""
        if self._tree is None:
            with contextlib.suppress(OSError, ValueError, psutil.Error):
                self._tree = ProcessTree(psutil.Process(int(Path(self._order.pid_file).read_text())))
        return () if self._tree is None else self._tree.processes()

    async def end(self) -> None:
        """Have it gone, where its keeper was killed; also where the caller is cancelled meanwhile."""
        await asyncio.shield(apart(self._end, "end-container"))

    def _end(self) -> None:
        from dmrc.engines.container import docker_api

        order = self._order
        directory = Path(order.directory)
        if not directory.exists():
            return  # the keeper has removed it, as it does last
        try:
            docker_api.remove(order.docker_host, order.name)
        except DockerError as error:
            _log.warning("container %s may still be there: %s", order.name, error)
            return
        shutil.rmtree(directory, ignore_errors=True)
        Path(order.pid_file).unlink(missing_ok=True)
