"""The command line's end of the admin API: one connection a call, each with a time limit, and words for what it saw."""

from __future__ import annotations

import contextlib
import http
import http.client
import json
import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from dmrc import daemon_lock
from dmrc.errors import DaemonError, DaemonNotRunningError
from dmrc.exchange import JsonValue
from dmrc.paths import Paths

PATIENCE_SECONDS = 5.0
"""How long a daemon may say nothing before it is asked whether it is there at all, and how long it may be on its way
up or down."""

_SIGN_SECONDS = 5.0
_LOOK_SECONDS = 0.05
# The daemon sends a sign of life every 15 s.
_SILENT_SECONDS = 40.0


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path, timeout_seconds: float) -> None:
        super().__init__("dmrc", timeout=timeout_seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Admin:
    """The admin API of the daemon of one home. What answers not is told apart from what is not there by the lock."""

    def __init__(self, paths: Paths) -> None:
        """Connect to nothing yet."""
        self._paths = paths
        self._connections: set[_UnixConnection] = set()

    def ask(self, method: str, path: str, body: str | None = None) -> tuple[int, JsonValue]:
        """Return the status and the JSON of an answer. It may take as long as it wants while the daemon lives.

        Raises:
            DaemonNotRunningError: No daemon holds the lock.
            DaemonError: One does, and does not answer, or not in JSON.
        """
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                status, text = self._exchange(method, path, body)
                break
            except (OSError, http.client.HTTPException) as error:
                # One that is ending hangs up; what only asks may ask the next one. Where nobody listens there is none.
                hung_up = isinstance(error, ConnectionError) and not isinstance(error, ConnectionRefusedError)
                if method != "GET" or not hung_up or time.monotonic() > deadline:
                    raise self._explained(error) from error
            time.sleep(_LOOK_SECONDS)
        try:
            return status, json.loads(text)
        except ValueError as error:
            said = text[:100].decode(errors="replace")
            raise DaemonError(
                f"{self._who()} answered {method} {path} with status {status}, and no JSON: '{said}'",
                remedy=f"See {self._paths.daemon_log}",
            ) from error

    def events(self, path: str) -> Iterator[tuple[str, dict[str, JsonValue]]]:
        """Yield Server-Sent Events, each with its name, until the daemon ends.

        Raises:
            DaemonNotRunningError: No daemon holds the lock.
            DaemonError: One does, and says nothing any more, not even that it is there.
        """
        try:
            with contextlib.closing(self._connected(_SILENT_SECONDS)) as connection:
                connection.request("GET", path)
                name = ""
                for line in connection.getresponse():
                    field, _, value = line.decode().rstrip("\n").partition(": ")
                    if field == "event":
                        name = value
                    elif field == "data":
                        yield name, json.loads(value)
        except (OSError, http.client.HTTPException) as error:
            raise self._explained(error, _SILENT_SECONDS) from error

    def lines(self, method: str, path: str, body: str) -> Iterator[tuple[int, JsonValue]]:
        """Yield the lines of an answer, each a document of JSON, with its status; there may be any time between two.

        Raises:
            DaemonNotRunningError: No daemon holds the lock.
            DaemonError: One does, and does not answer.
        """
        try:
            with contextlib.closing(self._connected(PATIENCE_SECONDS)) as connection:
                self._connections.add(connection)
                try:
                    connection.request(method, path, body, {"content-type": "application/json"})
                    connection.sock.settimeout(None)
                    self._await_answer(connection)
                    answer = connection.getresponse()
                    for line in answer:
                        yield answer.status, json.loads(line)
                finally:
                    self._connections.discard(connection)
        except (OSError, http.client.HTTPException) as error:
            raise self._explained(error) from error

    @contextlib.contextmanager
    def used(self) -> Iterator[bool]:
        """Count as a user of the daemon while the context lasts; False: it is ending already.

        Raises:
            DaemonNotRunningError: No daemon holds the lock.
            DaemonError: One does, and does not answer.
        """
        with contextlib.ExitStack() as stack:
            try:
                connection = stack.enter_context(contextlib.closing(self._connected(PATIENCE_SECONDS)))
                connection.request("GET", "/use")
                self._await_answer(connection)
                answer = stack.enter_context(connection.getresponse())
            except (OSError, http.client.HTTPException) as error:
                raise self._explained(error) from error
            yield answer.status != http.HTTPStatus.SERVICE_UNAVAILABLE

    def hang_up(self) -> None:
        """End the calls that other threads wait for; they fail with `DaemonError`."""
        for connection in list(self._connections):
            with contextlib.suppress(OSError, AttributeError):  # it has none where the answer is read to its end
                connection.sock.shutdown(socket.SHUT_RDWR)

    def _exchange(self, method: str, path: str, body: str | None) -> tuple[int, bytes]:
        with contextlib.closing(self._connected(PATIENCE_SECONDS)) as connection:
            self._connections.add(connection)
            try:
                connection.request(method, path, body, {"content-type": "application/json"})
                self._await_answer(connection)
                answer = connection.getresponse()
                return answer.status, answer.read()
            finally:
                self._connections.discard(connection)

    def _connected(self, timeout_seconds: float) -> _UnixConnection:
        """Return a connection; a daemon that starts or ends at this moment is waited for.

        Raises:
            OSError: There is none, for a reason that time does not cure.
        """
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            connection = _UnixConnection(self._paths.admin_socket, timeout_seconds)
            try:
                connection.connect()
            except (FileNotFoundError, ConnectionRefusedError, BlockingIOError):  # the last one: too many wait
                connection.close()
                if time.monotonic() > deadline or daemon_lock.holder(self._paths.daemon_lock) is None:
                    raise
            else:
                return connection
            time.sleep(_LOOK_SECONDS)

    def _await_answer(self, connection: _UnixConnection) -> None:
        """Wait for the first byte, while the daemon answers others.

        Raises:
            TimeoutError: It does not.
        """
        while not select.select([connection.sock], [], [], PATIENCE_SECONDS)[0]:
            with contextlib.closing(_UnixConnection(self._paths.admin_socket, _SIGN_SECONDS)) as other:
                other.request("GET", "/")  # not a route, and answered before all is ready
                other.getresponse()

    def _who(self) -> str:
        process = daemon_lock.holder(self._paths.daemon_lock)
        return f"the daemon (process {process})" if process else "the daemon"

    def _explained(
        self, error: OSError | http.client.HTTPException, silent_seconds: float = PATIENCE_SECONDS + _SIGN_SECONDS
    ) -> DaemonError:
        """Return what was seen, as far as it can be told; a time-out came after `silent_seconds`."""
        process = daemon_lock.holder(self._paths.daemon_lock)
        if process is None:
            return DaemonNotRunningError("the daemon does not run", remedy="Start it: dmrc up, or dmrc serve")
        if isinstance(error, TimeoutError):
            seen = f"it said nothing for {silent_seconds:.0f} s"
        elif isinstance(error, FileNotFoundError):
            seen = f"its socket '{self._paths.admin_socket}' is not there"
        else:
            seen = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
        end = f"; end it with: kill -9 {process}" if process else ""
        return DaemonError(
            f"{self._who()} runs and does not answer: {seen}", remedy=f"See {self._paths.daemon_log}{end}"
        )
