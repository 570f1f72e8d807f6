"""The TLS listener, against callers that are slow, many, or speak no TLS at all."""

from __future__ import annotations

import http.client
import logging
import shutil
import socket
import ssl
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dmrc.gateway.server.certificates import CertificateFiles
from dmrc.gateway.server.connection_shares import ConnectionShares
from dmrc.gateway.server.input_limits import InputLimits
from dmrc.gateway.server.tls_entrance import Tls
from tests.engines.certificates import Authority
from tests.gateway.listening import ask, connect, listening, rest
from tests.polling import eventually

pytestmark = pytest.mark.process

QUICK = InputLimits(handshake_seconds=2.0, head_seconds=2.0)
HELLO = bytes.fromhex("16030100c8010000c40303")
"""How a hello of TLS begins, and no more of it."""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def certificates(authority: Authority) -> CertificateFiles:
    return CertificateFiles(*authority.issue("box"))


@pytest.fixture
def tls(certificates: CertificateFiles) -> Tls:
    return Tls(certificates, ConnectionShares(100, 100))


@pytest.fixture(scope="module")
def client(authority: Authority) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=authority.certificate)


def get(port: int, client: ssl.SSLContext, path: str = "/", body: bytes = b"", host: str = "localhost") -> bytes:
    connection = http.client.HTTPSConnection(host, port, timeout=20, context=client)
    try:
        connection.request("POST", path, body)
        return connection.getresponse().read()
    finally:
        connection.close()


def names_at(port: int, client: ssl.SSLContext) -> list[str]:
    with (
        socket.create_connection(("127.0.0.1", port), timeout=20) as plain,
        client.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        return [str(value) for _, value in connection.getpeercert()["subjectAltName"]]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_a_large_body_comes_and_goes_unchanged(version: ssl.TLSVersion, tls: Tls, authority: Authority) -> None:
    client = ssl.create_default_context(cafile=authority.certificate)
    client.minimum_version = client.maximum_version = version
    body = bytes(range(256)) * 20_000

    with listening(tls=tls) as port:
        assert get(port, client, "/length", body) == b"POST /length\n" + body
        assert get(port, client, "/chunks", body) == b"POST /chunks\n" + body


def test_tls_1_1_is_refused(tls: Tls) -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1

    with listening(tls=tls) as port, pytest.raises(ssl.SSLError, match=r"(?i)version|EOF"):
        get(port, old)


@pytest.mark.parametrize("sent", [b"", HELLO], ids=["nothing", "half a hello"])
def test_a_handshake_that_does_not_end_is_cut(sent: bytes, tls: Tls, client: ssl.SSLContext) -> None:
    since = time.monotonic()
    with listening(tls=tls, limits=QUICK) as port, connect(port, sent) as slow:
        assert get(port, client) == b"POST /\n"
        assert rest(slow) == b""
        assert 1.9 < time.monotonic() - since < 9


def test_handshakes_are_bounded_and_the_oldest_makes_room(tls: Tls, client: ssl.SSLContext) -> None:
    handshakes = ConnectionShares(4, 4)
    with listening(tls=Tls(tls.certificates, handshakes)) as port, ExitStack() as stack:
        silent = [stack.enter_context(connect(port)) for _ in range(12)]

        assert all(get(port, client) == b"POST /\n" for _ in range(5))
        for each in silent[:8]:
            with suppress(ConnectionResetError):
                assert rest(each) == b""
    assert not handshakes._count  # nothing is counted twice, or for ever


def test_nobody_who_has_not_shaken_hands_keeps_the_listener_from_its_end(tls: Tls) -> None:
    with ExitStack() as stack:
        with listening(tls=tls) as port:
            for _ in range(5):
                stack.enter_context(connect(port, HELLO))
            since = time.monotonic()
        assert time.monotonic() - since < 9


def test_plain_http_is_told_to_use_https(tls: Tls) -> None:
    with listening(tls=tls) as port:
        answer = ask(port, b"GET /engines/v1/models HTTP/1.1\r\nHost: box\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"https://" in answer


def test_what_follows_a_handshake_is_read_as_carefully_as_elsewhere(tls: Tls, client: ssl.SSLContext) -> None:
    with listening(tls=tls, limits=QUICK) as port:
        for sent, status in ((b"\x00garbage\r\n\r\n", b"400"), (b"GET / HTTP/1.1\r\nX: ", b"408")):
            with client.wrap_socket(connect(port), server_hostname="localhost") as connection:
                connection.sendall(sent)
                assert connection.recv(65536).split()[1] == status


def test_a_renewed_certificate_is_for_those_who_connect_now(
    authority: Authority, client: ssl.SSLContext, tmp_path: Path
) -> None:
    certificate, key = tmp_path / "live.pem", tmp_path / "live.key"
    for source, to in zip(authority.issue("old", "DNS:localhost,DNS:old.test"), (certificate, key), strict=True):
        shutil.copy(source, to)
    with listening(tls=Tls(CertificateFiles(certificate, key), ConnectionShares(9, 9))) as port:
        before = http.client.HTTPSConnection("localhost", port, timeout=20, context=client)
        before.request("GET", "/length")
        assert before.getresponse().read() == b"GET /length\n"
        assert "old.test" in names_at(port, client)

        for source, to in zip(authority.issue("new", "DNS:localhost,DNS:new.test"), (certificate, key), strict=True):
            shutil.copy(source, to)

        eventually(lambda: "new.test" in names_at(port, client), "the new certificate")
        before.request("GET", "/length")
        assert before.getresponse().read() == b"GET /length\n"
        before.close()


def test_garbage_ends_its_own_connection_and_nothing_else(
    tls: Tls, client: ssl.SSLContext, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    limits = InputLimits(handshake_seconds=10)
    hello_of_a_client = first_bytes(client)
    with listening(tls=tls, limits=limits) as port:

        @settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
        @given(
            st.one_of(
                st.binary(min_size=1, max_size=2000),
                st.binary(max_size=200).map(lambda more: HELLO + more),
                st.tuples(st.integers(0, len(hello_of_a_client) - 1), st.integers(0, 255)).map(
                    lambda change: changed(hello_of_a_client, *change)
                ),
            )
        )
        def send(sent: bytes) -> None:
            with connect(port) as connection, suppress(ConnectionError):
                connection.sendall(sent)
                connection.shutdown(socket.SHUT_WR)
                rest(connection)

        send()

        assert get(port, client) == b"POST /\n"
    assert not caplog.messages


def changed(sent: bytes, place: int, byte: int) -> bytes:
    return sent[:place] + bytes([byte]) + sent[place + 1 :]


def first_bytes(client: ssl.SSLContext) -> bytes:
    """Return the hello of a real client."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        client.wrap_bio(incoming, outgoing, server_hostname="localhost").do_handshake()
    return outgoing.read()
