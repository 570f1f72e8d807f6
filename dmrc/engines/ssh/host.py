"""A host and the one connection to it, which all of its models share: made when needed, and again when it broke."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from dmrc import __version__
from dmrc.background import begin
from dmrc.engines.ssh.command import PROGRAM, join_failure, joining, other_version
from dmrc.engines.ssh.link import Link
from dmrc.errors import DmrcError, UpstreamError

_log = logging.getLogger(__name__)

JOIN_SECONDS = 90.0
"""How long ssh may take, and the daemon there to start."""

REST_SECONDS = 5.0
"""How long a connection stays that nobody uses: from a pull to a load, and from one request to the next."""

_PAUSES = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0)


class Host:
    """A host, as all who use it share it. For one event loop."""

    def __init__(self, host: str, run: Path) -> None:
        """Know a host; the socket of a connection goes into `run`."""
        self.host = host
        self.agent: str | None = None
        """Socket of the ssh agent that the last command had; None is that of the daemon's own environment."""
        self.remote_command = "dmrc"
        """What starts dmrc there, in words of its shell."""
        self.version: str | None = None
        """The version of the dmrc there, once it was told."""
        self.connections = 0
        """How many came about so far."""
        self._run = run
        self._link: Link | None = None
        self._joining: asyncio.Task[Link] | None = None
        self._users = 0
        self._rest: asyncio.TimerHandle | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._failures = 0
        self._failed_at = 0.0
        self._failure: UpstreamError | None = None
        self._news = asyncio.Event()

    @property
    def is_joined(self) -> bool:
        """Return whether there is a connection now."""
        return self._link is not None and not self._link.ended.is_set()

    async def link(self, *, at_once: bool = False) -> Link:
        """Return the connection; it is made where there is none.

        After failures there is a pause, in which each caller hears of the last one; with `at_once` a person waits, and
        it is tried in any case.

        Raises:
            UpstreamError: There is none: why, and what to do.
        """
        if self._link is not None and not self._link.ended.is_set():
            return self._link
        if self._joining is None:
            pause = _PAUSES[min(self._failures, len(_PAUSES) - 1)]
            if self._failure is not None and not at_once and time.monotonic() < self._failed_at + pause:
                raise UpstreamError(self._failure.message, remedy=self._failure.remedy)
            self._joining = begin(self._join(), "a connection by ssh", expected=DmrcError)
        return await asyncio.shield(self._joining)  # it is everybody's

    def _drop(self, link: Link) -> None:
        """Forget a connection that has ended."""
        if self._link is link:
            _log.warning("the connection to host '%s' has ended%s", self.host, _because(link))
            self._link = None
            self._tell()
            self._spawn(link.close())

    async def changed(self) -> None:
        """Wait until a connection comes or goes."""
        await self._news.wait()

    def _tell(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def _join(self) -> Link:
        try:
            link = await self._joined()
        except UpstreamError as error:
            self._failures, self._failed_at, self._failure = self._failures + 1, time.monotonic(), error
            _log.warning("%s", error)
            raise
        else:
            self._failures, self._failure, self._link = 0, None, link
            self._tell()
            self.connections += 1
            _log.info("host '%s' is connected", self.host)
            self._let_rest()
            return link
        finally:
            self._joining = None

    async def _joined(self) -> Link:
        wanted = joining(self.host, self._run, self.remote_command)
        environment = {**os.environ, **({"SSH_AUTH_SOCK": self.agent} if self.agent else {})}
        try:
            process = await asyncio.create_subprocess_exec(
                *wanted.command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            raise UpstreamError(
                f"host '{self.host}' cannot be reached: '{PROGRAM}' cannot be run: {error.strerror}",
                remedy="Install OpenSSH's client",
            ) from error
        link = Link(process, wanted.socket, self._drop)
        try:
            await self._greet(link)
        except BaseException:
            await link.close()
            raise
        return link

    async def _greet(self, link: Link) -> None:
        """Wait for the dmrc there, and look whether it can be spoken to.

        Raises:
            UpstreamError: It cannot.
        """
        try:
            async with asyncio.timeout(JOIN_SECONDS):
                told = await link.hello()
        except (TimeoutError, ValueError) as error:
            raise join_failure(self.host, None, link.said) from error
        if told is None:
            raise join_failure(self.host, link.process.returncode, link.said)
        self.version = str(told.get("version"))
        if self.version != __version__:
            raise other_version(self.host, self.version)
        if not await link.leads_there():
            await link.close()  # ssh says why after it has closed the connection
            raise join_failure(self.host, None, link.said or ["no socket leads to its dmrc"])

    def enter(self) -> None:
        """Count one user more; `leave` must follow."""
        self._users += 1

    def leave(self) -> None:
        """Count one user less; a while after the last one the connection ends."""
        self._users -= 1
        self._let_rest()

    def _let_rest(self) -> None:
        if self._rest is not None:
            self._rest.cancel()
        self._rest = asyncio.get_running_loop().call_later(REST_SECONDS, self._end_unused)

    def _end_unused(self) -> None:
        if self._users == 0 and self._link is not None:
            link, self._link = self._link, None
            self._spawn(link.close())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = begin(work, "the end of a connection by ssh")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """End the connection."""
        if self._rest is not None:
            self._rest.cancel()
        if self._joining is not None:
            self._joining.cancel()
            await asyncio.gather(self._joining, return_exceptions=True)
        if self._link is not None:
            link, self._link = self._link, None
            await link.close()
        await asyncio.gather(*self._closing, return_exceptions=True)


def _because(link: Link) -> str:
    return f": {link.said[-1]}" if link.said else ""
