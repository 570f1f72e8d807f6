"""A server on a unix socket, or by TCP, that misbehaves as it is told: each connection plays one script."""

from __future__ import annotations

import re
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

JSON_ANSWER = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n{"fine":true}'
STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


class Peer:
    """The server's end of one connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.head = b""
        """Of the request that was read last."""

    def request(self) -> bytes:
        """Read one request and return its body; raises EOFError where the client has gone."""
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._more()
        self.head, begin = data.split(b"\r\n\r\n", 1)
        length = re.search(rb"content-length: (\d+)", self.head)
        body = bytearray(begin)  # bytes of 20 MB would be copied for every piece
        while length and len(body) < int(length[1]):
            body += self._more()
        return bytes(body)

    def send(self, *parts: bytes) -> None:
        """Send parts, each by a system call of its own."""
        for part in parts:
            self.connection.sendall(part)

    def chunk(self, data: bytes) -> None:
        """Send one HTTP chunk."""
        self.send(b"%x\r\n%b\r\n" % (len(data), data))

    def wait_gone(self) -> None:
        """Wait until the client has ended the connection."""
        with suppress(OSError):
            while self.connection.recv(65536):
                pass

    def _more(self) -> bytes:
        data = self.connection.recv(65536)
        if not data:
            raise EOFError
        return data


Script = Callable[[Peer], None]


class ScriptedServer:
    """Plays the scripts in turn, one for each connection; the last one for all that follow."""

    def __init__(self, listener: socket.socket, scripts: list[Script], context: ssl.SSLContext | None = None) -> None:
        self.address = listener.getsockname()
        self.connections = 0
        self.ended = 0
        self.failures: list[OSError] = []
        self._scripts = scripts
        self._context = context
        self._listener = listener
        self._listener.listen(16)
        self._is_closing = False
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def path(self) -> Path:
        """Its unix socket."""
        return Path(self.address)

    @property
    def port(self) -> int:
        """Its TCP port."""
        return self.address[1]

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            script = self._scripts[min(self.connections, len(self._scripts) - 1)]
            if self._is_closing:
                connection.close()
                return
            self.connections += 1
            thread = threading.Thread(target=self._play, args=(connection, script))
            self._threads.append(thread)
            thread.start()

    def _play(self, connection: socket.socket, script: Script) -> None:
        connection.settimeout(20)
        with connection:
            try:
                with suppress(EOFError, BrokenPipeError, ConnectionResetError):
                    if self._context is None:
                        script(Peer(connection))
                    else:
                        self._play_by_tls(connection, script)
            except OSError as error:
                self.failures.append(error)
        self.ended += 1

    def _play_by_tls(self, connection: socket.socket, script: Script) -> None:
        try:
            secure = self._context.wrap_socket(connection, server_side=True)
        except ssl.SSLError:
            return  # the client has seen the certificate, and gone
        with secure, suppress(ssl.SSLEOFError):
            script(Peer(secure))

    def close(self) -> None:
        self._is_closing = True
        with socket.socket(self._listener.family) as last:
            last.connect(self.address)
        for thread in self._threads:
            thread.join()
        self._listener.close()
        assert not self.failures, self.failures


@contextmanager
def scripted_server(*scripts: Script) -> Iterator[ScriptedServer]:
    """Yield a server in a short directory; at the end every script must have ended without surprise."""
    with tempfile.TemporaryDirectory(prefix="dmrc-") as directory:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(Path(directory) / "s"))
        server = ScriptedServer(listener, list(scripts))
        try:
            yield server
        finally:
            server.close()


@contextmanager
def tcp_server(
    *scripts: Script, host: str = "127.0.0.1", port: int = 0, context: ssl.SSLContext | None = None
) -> Iterator[ScriptedServer]:
    """Yield the same by TCP, and with a context by TLS."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.bind((host, port))
    server = ScriptedServer(listener, list(scripts), context)
    try:
        yield server
    finally:
        server.close()


def answers(*parts: bytes) -> Script:
    """Answer one request with these bytes, and end the connection."""

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(*parts)

    return script


def answers_all(answer: bytes = JSON_ANSWER) -> Script:
    """Answer every request on the connection."""

    def script(peer: Peer) -> None:
        while True:
            peer.request()
            peer.send(answer)

    return script
