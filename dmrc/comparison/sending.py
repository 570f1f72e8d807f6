"""Sends requests to the gateway as the application did, some at a time."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from dmrc.comparison.sendable import Sendable
from dmrc.errors import DaemonError
from dmrc.threads import LOOK_SECONDS

_CHUNK_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class Repetition:
    """One request to send."""

    sent: Sendable
    """What was sent then."""
    model: str
    """What it is to name as its model."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A request that was answered, well or not."""

    sent: Sendable
    """What was sent."""
    id: str
    """Of its exchange, in the record."""


class Sender:
    """Sends to the gateway on loopback; its threads end with `send`, whatever happens."""

    def __init__(self, port: int, key: str, temperature: float | None = None) -> None:
        """Send with this key; None leaves the temperature as it was."""
        self._port = port
        self._key = key
        self._temperature = temperature
        self._lock = threading.Lock()
        self._connections: set[http.client.HTTPConnection] = set()
        self._is_over = False

    def send(self, orders: Sequence[Repetition], parallel: int) -> Generator[Answered]:
        """Send all, `parallel` at a time, and yield each when it is answered to its end.

        Who asks for no more, as by a KeyboardInterrupt, ends those under way.

        Raises:
            DaemonError: The gateway does not answer.
        """
        waiting = iter(orders)
        with ThreadPoolExecutor(parallel) as pool:
            try:
                running = self._begun(pool, waiting, parallel)
                while running:
                    done, _ = wait(running, timeout=LOOK_SECONDS, return_when=FIRST_COMPLETED)
                    for future in done:
                        running.discard(future)
                        yield future.result()
                    running |= self._begun(pool, waiting, parallel - len(running))
            finally:
                self.stop()

    def _begun(self, pool: ThreadPoolExecutor, orders: Iterable[Repetition], count: int) -> set[Future[Answered]]:
        return {pool.submit(self._ask, order) for _, order in zip(range(count), orders, strict=False)}

    def _ask(self, order: Repetition) -> Answered:
        connection = http.client.HTTPConnection("127.0.0.1", self._port)
        with self._lock:
            if self._is_over:
                raise DaemonError("interrupted")
            self._connections.add(connection)
        headers = {**order.sent.headers(), "authorization": f"Bearer {self._key}"}
        try:
            connection.request("POST", order.sent.path, order.sent.body(order.model, self._temperature), headers)
            answer = connection.getresponse()
            # Whatever a stream brings is in the record: what broke off, too.
            with contextlib.suppress(http.client.HTTPException, ConnectionError):
                while answer.read(_CHUNK_BYTES):
                    pass
        except (OSError, http.client.HTTPException) as error:
            raise DaemonError(f"the gateway broke off: {error}", remedy="See: dmrc logs") from error
        finally:
            with self._lock:
                self._connections.discard(connection)
            connection.close()
        return Answered(order.sent, answer.headers.get("x-dmrc-exchange-id", ""))

    def stop(self) -> None:
        """End what is under way, from any thread: nobody waits for it any more. `send` raises DaemonError by it."""
        with self._lock:
            self._is_over = True
            for connection in self._connections:
                if connection.sock is not None:
                    with contextlib.suppress(OSError):
                        connection.sock.shutdown(socket.SHUT_RDWR)
