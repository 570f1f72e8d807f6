"""Connections that are open and say nothing, against the limit of descriptors of the daemon."""

from __future__ import annotations

import http.client
import json
import resource
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import psutil
import pytest

from dmrc.gateway.server.connection_shares import ConnectionShares
from tests.dmrc_command import Dmrc
from tests.polling import eventually


def answers(dmrc: Dmrc) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", dmrc.port, timeout=20)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


@contextmanager
def serving(dmrc: Dmrc, soft: int, hard: int) -> Iterator[psutil.Process]:
    """A daemon whose parent had these limits of descriptors."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    with (
        (dmrc.home / "stderr").open("wb") as stderr,
        subprocess.Popen([dmrc.program, "serve"], env=dmrc.environment, stderr=stderr, preexec_fn=limit) as process,
    ):
        eventually(lambda: answers(dmrc))
        yield psutil.Process(process.pid)
        process.terminate()


@pytest.mark.skipif(not hasattr(psutil.Process, "rlimit"), reason="the system does not tell limits")
def test_the_daemon_raises_its_soft_limit_of_descriptors(dmrc: Dmrc) -> None:
    with serving(dmrc, 256, 2048) as process:
        assert process.rlimit(resource.RLIMIT_NOFILE) == (2048, 2048)


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET / HT", b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99\r\n\r\nhalf"],
    ids=["nothing", "half a head", "half a body"],
)
def test_more_idle_connections_than_descriptors_shut_out_nobody(dmrc: Dmrc, sent: bytes) -> None:
    with serving(dmrc, 256, 256) as process, ExitStack() as stack:
        for _ in range(400):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", dmrc.port), timeout=5))
            connection.sendall(sent)

        assert all(answers(dmrc) for _ in range(20))
        assert json.loads(dmrc.ok("status", "--json"))["pid"] == process.pid
        assert process.num_fds() < 256
    assert "too many of 127.0.0.1" in (dmrc.home / "stderr").read_text()


class Idle:
    """A connection that closes a moment after it was asked to, as one of the event loop does."""

    def __init__(self) -> None:
        self.was_asked = 0

    def give_way(self) -> None:
        self.was_asked += 1


@pytest.mark.parametrize(("in_all", "of_an_address"), [(3, 9), (9, 3)])
def test_several_that_come_at_once_do_not_count_on_the_place_of_the_same_one(in_all: int, of_an_address: int) -> None:
    shares = ConnectionShares(in_all, of_an_address)
    first, second, busy = Idle(), Idle(), Idle()
    for connection in (first, second, busy):
        assert shares.join(connection, "10.0.0.1")
    shares.works(busy, "10.0.0.1")

    assert [shares.join(Idle(), "10.0.0.1") for _ in range(2)] == [True, True]
    assert (first.was_asked, second.was_asked, busy.was_asked) == (1, 1, 0)

    for connection in (first, second):
        shares.leave(connection, "10.0.0.1")
    assert shares.join(Idle(), "10.0.0.1")
