"""A forward proxy, as companies have: it asks for a user and password, and it alone knows where names lead."""

from __future__ import annotations

import base64
import contextlib
import http.client
import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from tests.serving import serving

USER, PASSWORD = "us er", "p@ss:w/rd"
"""Neither can stand in a URL as it is."""
LOGIN = "us%20er:p%40ss%3Aw%2Frd"
"""The two, as they stand in a URL."""
_HOP_BY_HOP = ("proxy-authorization", "proxy-connection", "connection")


class ForwardProxy(ThreadingHTTPServer):
    """The server."""

    daemon_threads = True

    def __init__(self, routes: dict[str, str], *, with_login: bool = True) -> None:
        """Lead `name` or `name:port` to the address of a server on loopback."""
        super().__init__(("127.0.0.1", 0), _Handler)
        self.routes = routes
        self.with_login = with_login
        self.address = f"127.0.0.1:{self.server_port}"
        self.url = f"http://{LOGIN}@{self.address}"
        """What a variable of the environment says."""
        self.requests: list[tuple[str, str]] = []
        """Method and target of each request, also of those that it refused."""
        self.refused = 0

    def targets(self) -> set[str]:
        """Return the hosts that were asked for."""
        return {target if method == "CONNECT" else urlsplit(target).netloc for method, target in self.requests}


class _Handler(BaseHTTPRequestHandler):
    server: ForwardProxy
    protocol_version = "HTTP/1.1"

    def do_CONNECT(self) -> None:
        if not self._admitted():
            return
        with socket.create_connection(_address(self.server.routes[self.path])) as upstream:
            self.send_response(200, "Connection established")
            self.end_headers()
            ways = {self.connection: upstream, upstream: self.connection}
            while True:
                for ready in select.select(list(ways), [], [], 60)[0]:
                    data = ready.recv(65536)
                    if not data:
                        self.close_connection = True
                        return
                    ways[ready].sendall(data)

    def do_GET(self) -> None:
        if not self._admitted():
            return
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        host, port = _address(self.server.routes[parts.netloc])
        with contextlib.closing(http.client.HTTPConnection(host, port, timeout=60)) as upstream:
            headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP_BY_HOP}
            upstream.request(self.command, f"{parts.path}?{parts.query}".rstrip("?"), body, headers)
            answer = upstream.getresponse()
            data = answer.read()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                    self.send_header(name, value)
            self.send_header("content-length", answer.getheader("content-length") or str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    do_POST = do_HEAD = do_PATCH = do_PUT = do_DELETE = do_GET

    def _admitted(self) -> bool:
        self.server.requests.append((self.command, self.path))
        wanted = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if not self.server.with_login or self.headers.get("proxy-authorization") == wanted:
            return True
        self.server.refused += 1
        self.rfile.read(int(self.headers.get("content-length") or 0))
        self.send_response(407)
        self.send_header("proxy-authenticate", 'Basic realm="company"')
        self.send_header("content-length", "0")
        self.end_headers()
        return False

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.partition(":")
    return host, int(port)


@contextmanager
def forward_proxy(routes: dict[str, str], *, with_login: bool = True) -> Iterator[ForwardProxy]:
    """Serve in a thread."""
    proxy = ForwardProxy(routes, with_login=with_login)
    with serving(proxy):
        yield proxy
