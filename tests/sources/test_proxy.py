"""Everything that dmrc asks goes through the proxy of the environment: a real one, which wants a password."""

from __future__ import annotations

import json
import socketserver
import ssl
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.cli.test_search import Places
from tests.dmrc_command import Dmrc
from tests.gateway.strange_upstream import KEY, strange_upstream
from tests.ports import free_port
from tests.registry import RegistryServer
from tests.serving import serving
from tests.sources.forward_proxy import PASSWORD, forward_proxy
from tests.sources.hugging_face import Repository, hugging_face
from tests.tiny_gguf import write_tiny_llama

_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def _no_proxy_of_the_user(dmrc: Dmrc) -> None:
    for name in _VARIABLES:
        dmrc.environment.pop(name, None)
        dmrc.environment.pop(name.lower(), None)


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_llama(tmp_path_factory.mktemp("gguf") / "tiny.gguf")


class _Files(BaseHTTPRequestHandler):
    """A server with one file, and an OpenAI-compatible one at once."""

    server: _TlsServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.paths.append(self.path)
        data = self.server.data
        start, end = 0, len(data) - 1
        if asked := self.headers.get("range"):
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, end = int(first), min(int(last or end), end)
        self.send_response(206 if asked else 200)
        self.send_header("content-length", str(end - start + 1))
        if asked:
            self.send_header("content-range", f"bytes {start}-{end}/{len(data)}")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data[start : end + 1])

    do_HEAD = do_GET

    def do_POST(self) -> None:
        self.server.paths.append(self.path)
        self.rfile.read(int(self.headers["content-length"]))
        data = b'data: {"choices": [{"delta": {"content": "hello by TLS"}}]}\n\ndata: [DONE]\n\n'
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


class _TlsServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, directory: Path, data: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Files)
        self.data, self.paths = data, list[str]()
        self.certificate = directory / "cert.pem"
        subject = ["-subj", "/CN=far.test", "-addext", "subjectAltName=DNS:far.test", "-days", "2"]
        keys = ["-newkey", "rsa:2048", "-nodes", "-keyout", directory / "key.pem", "-out", self.certificate]
        subprocess.run(["openssl", "req", "-x509", *keys, *subject], check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, directory / "key.pem")
        self.socket = context.wrap_socket(self.socket, server_side=True)


@pytest.fixture
def far(tmp_path: Path, gguf: Path) -> Iterator[_TlsServer]:
    """`https://far.test`, whose certificate `SSL_CERT_FILE` knows."""
    server = _TlsServer(tmp_path, gguf.read_bytes())
    with serving(server):
        yield server


def _words(dmrc: Dmrc) -> bytes:
    """All bytes that dmrc has written to its directory."""
    return b"".join(path.read_bytes() for path in dmrc.home.rglob("*") if path.is_file())


def test_a_model_is_pulled_and_pushed_through_the_proxy(dmrc: Dmrc, registry: RegistryServer, gguf: Path) -> None:
    digest = registry.push_model("ai/tiny:v1", gguf)
    with forward_proxy({"registry.test": registry.address}) as proxy:
        dmrc.environment |= {"http_proxy": proxy.url, "INSECURE_REGISTRY": "true"}
        pulled = dmrc.ok("pull", "registry.test/ai/tiny:v1").strip()
        dmrc.ok("tag", digest, "registry.test/ai/tiny:v2")
        dmrc.ok("push", "registry.test/ai/tiny:v2")

    assert pulled == digest
    assert proxy.targets() == {"registry.test"}
    assert proxy.refused == 0
    assert PASSWORD.encode() not in _words(dmrc)


def test_searches_and_hugging_face_go_through_the_proxy(dmrc: Dmrc, gguf: Path) -> None:
    places = Places()
    repository = Repository({"tiny-Q4_K_M.gguf": gguf.read_bytes()})
    with places.server, hugging_face({"org/tiny": repository}) as hub:
        routes = {"hub.test": places.server.address, "hf.test": hub.url.removeprefix("http://")}
        routes["found.test"] = places.server.address
        with forward_proxy(routes) as proxy:
            dmrc.environment |= {"ALL_PROXY": proxy.url, "HF_ENDPOINT": "http://found.test"}
            found = json.loads(dmrc.ok("search", "tiny", "--json", "--hub-url", "http://hub.test"))
            dmrc.environment["HF_ENDPOINT"] = "http://hf.test"
            dmrc.ok("pull", "hf.co/org/tiny")

    assert {each["Source"] for each in found} == {"Docker Hub", "HuggingFace"}
    assert proxy.targets() == {"hub.test", "found.test", "hf.test"}
    assert proxy.refused == 0


def test_a_file_and_a_server_by_https_are_reached_through_a_tunnel(dmrc: Dmrc, far: _TlsServer) -> None:
    with forward_proxy({"far.test:443": f"127.0.0.1:{far.server_port}"}) as proxy:
        dmrc.environment |= {"HTTPS_PROXY": proxy.url, "SSL_CERT_FILE": str(far.certificate)}
        dmrc.ok("pull", "https://far.test/tiny.gguf")
        said = dmrc.ok("run", "--openaiurl", "https://far.test/v1", "any", "Hi")

    assert said == "hello by TLS\n"
    assert {method for method, _ in proxy.requests} == {"CONNECT"}
    assert proxy.targets() == {"far.test:443"}
    assert proxy.refused == 0
    assert "/v1/chat/completions" in far.paths


def test_a_server_by_http_is_asked_through_the_proxy(dmrc: Dmrc) -> None:
    with strange_upstream() as server, forward_proxy({"far.test:81": server.url("").split("/")[2]}) as proxy:
        dmrc.environment |= {"HTTP_PROXY": proxy.url, "OPENAI_API_KEY": KEY}
        dmrc.ok("list", "--openaiurl", "http://far.test:81/plain/v1")

    assert proxy.requests == [("GET", "http://far.test:81/plain/v1/models")]


@pytest.mark.parametrize("is_secure", [False, True])
def test_an_upstream_is_asked_through_the_proxy(dmrc: Dmrc, far: _TlsServer, tmp_path: Path, is_secure: bool) -> None:
    with strange_upstream() as server:
        near = f"127.0.0.1:{far.server_port}" if is_secure else server.url("").split("/")[2]
        host = "far.test:443" if is_secure else "far.test"
        url = "https://far.test/v1" if is_secure else "http://far.test/plain/v1"
        with forward_proxy({host: near}) as proxy:
            environment = {"HTTP_PROXY": proxy.url, "HTTPS_PROXY": proxy.url, "SSL_CERT_FILE": str(far.certificate)}
            dmrc.environment |= {**environment, "UPSTREAM_KEY": KEY}
            options = f"upstream: {{url: '{url}', model: 'vendor/Big-1', key: UPSTREAM_KEY}}"
            (tmp_path / "compose.yaml").write_text(
                "name: far\nservices: {app: {image: none, models: [llm]}}\n"
                f"models: {{llm: {{model: far, x-dmrc: {{{options}}}}}}}\n"
            )
            given = json.loads(dmrc.ok("env", "app", "--format", "json", cwd=tmp_path))
            own = {"OPENAI_API_KEY": given["OPENAI_API_KEY"]}
            said = dmrc.run("run", "--openaiurl", given["OPENAI_BASE_URL"], "far", "Hi", env=own)
            dmrc.ok("stop-runner")

    assert said.returncode == 0, said.stderr
    assert proxy.targets() == {host}
    assert proxy.refused == 0
    assert PASSWORD.encode() not in _words(dmrc)


@pytest.mark.parametrize("login", ["", "us%20er:wrong@"])
def test_a_proxy_that_wants_another_password_is_named(dmrc: Dmrc, login: str) -> None:
    with forward_proxy({}) as proxy:
        value = f"http://{login}{proxy.address}"
        dmrc.environment |= {"HTTP_PROXY": value, "HTTPS_PROXY": value}
        runs = [
            dmrc.run("pull", "ai/none"),
            dmrc.run("pull", "http://far.test/a.gguf", env={"INSECURE_REGISTRY": "true"}),
            dmrc.run("run", "--openaiurl", "https://far.test/v1", "any", "Hi"),
            dmrc.run("run", "--openaiurl", "http://far.test/v1", "any", "Hi"),
        ]

    for run in runs:
        *_, line = run.stderr.splitlines()
        assert run.returncode in (4, 5)
        assert f"through proxy '{proxy.address}'" in line
        assert f"=http://USER:PASSWORD@{proxy.address}" in line
        assert "wrong" not in run.stderr
        assert "Traceback" not in run.stderr


def test_a_proxy_that_is_away_is_named(dmrc: Dmrc) -> None:
    address = f"127.0.0.1:{free_port()}"
    dmrc.environment |= {"ALL_PROXY": f"http://user:secret@{address}", "HF_ENDPOINT": "http://hf.test"}

    for arguments in (
        ["pull", "ai/none"],
        ["pull", "hf.co/org/none"],
        ["run", "--openaiurl", "http://far.test/v1", "x", "Hi"],
    ):
        done = dmrc.run(*arguments)

        assert done.returncode in (4, 5)
        assert f"through proxy '{address}'" in done.stderr.splitlines()[-1]
        assert "Connection refused" in done.stderr
        assert "secret" not in done.stderr


class _Odd(socketserver.BaseRequestHandler):
    """A proxy that reads a request and writes what the server has to say."""

    def handle(self) -> None:
        self.request.recv(65536)
        self.request.sendall(self.server.says)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("says", "words"),
    [
        (b"", "Remote end closed connection"),
        (b"\x15\x03\x01\x00\x02\x02\x50", "its answer is not HTTP"),
        (b"HTTP/1.1 200 OK\r\n\r\n<html>", "TLS fails ("),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "403 Forbidden. Ask who runs it to let this host through"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "502 Bad Gateway. Check the network"),
    ],
)
def test_a_proxy_that_fails_is_named_in_one_line(dmrc: Dmrc, says: bytes, words: str) -> None:
    with serving(server := socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Odd)):
        server.says = says  # type: ignore[attr-defined]
        address = f"127.0.0.1:{server.server_address[1]}"

        done = dmrc.run("pull", "registry.test/ai/none", env={"HTTPS_PROXY": address})

    assert (done.returncode, done.stdout) == (4, "")
    *_, line = done.stderr.splitlines()
    assert f"cannot be reached through proxy '{address}': {words}" in line
    assert line.isprintable()


@pytest.mark.parametrize(
    "value", ["socks5://user:secret@127.0.0.1:1080", "http://user:secret@127.0.0.1:99999", "some garbage"]
)
@pytest.mark.parametrize(
    "arguments",
    [
        ["pull", "ai/none"],
        ["inspect", "--remote", "ai/none"],
        ["search", "x"],
        ["pull", "hf.co/org/none"],
        ["run", "--openaiurl", "https://far.test/v1", "x", "Hi"],
    ],
    ids=" ".join,
)
def test_what_is_no_proxy_is_one_line(dmrc: Dmrc, value: str, arguments: list[str]) -> None:
    done = dmrc.run(*arguments, env={"HTTPS_PROXY": value})

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("dmrc: HTTPS_PROXY ")
    assert done.stderr.count("\n") == 1
    assert "secret" not in done.stderr


def test_what_no_proxy_names_is_asked_directly(dmrc: Dmrc, registry: RegistryServer, gguf: Path) -> None:
    """By the machine's own loopback, which is never proxied, and by a network in CIDR form."""
    registry.push_model("ai/tiny:v1", gguf)
    with forward_proxy({}) as proxy:
        dmrc.environment |= {"ALL_PROXY": proxy.url}
        dmrc.ok("pull", f"{registry.address}/ai/tiny:v1")
        away = dmrc.run("pull", "192.0.2.1:1/ai/none", env={"NO_PROXY": "192.0.0.0/16", "INSECURE_REGISTRY": "true"})

    assert proxy.requests == []
    assert away.returncode == 4
