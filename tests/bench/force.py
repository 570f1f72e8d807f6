"""What one caller can do to the others: large heads, idle connections, large bodies. Their longest wait, and memory."""

from __future__ import annotations

import http.client
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from threading import Event, Thread

import psutil

from tests.bench.figure import Figure
from tests.dmrc_command import Dmrc, temporary_dmrc
from tests.polling import eventually

_MIB = 1 << 20
_WAIT_BAR_MS = 100.0
_MEMORY_BAR_MIB = 300.0
_DESCRIPTORS = 1024
_IDLE = 1100
_POST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n"


def _text() -> bytes:
    return b'{"model":"nope","messages":[{"role":"user","content":"%s"}]}' % (b"word " * (19 * _MIB))


def _messages() -> bytes:
    return b'{"model":"nope","messages":[%s]}' % b",".join([b'{"role":"user","content":"hi"}'] * 3_080_000)


def _keys() -> bytes:
    return b'{"model":"nope","x":{%s}}' % b",".join(b'"k%d":1' % number for number in range(6_000_000))


_HEADS: dict[str, Callable[[], bytes]] = {
    "one header of 60 MB": lambda: b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 60_000_000 + b"\r\n\r\n",
    "1,000,000 headers": lambda: b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: aaaaaaaaaa\r\n" * 1_000_000 + b"\r\n",
    "a URL of 60 MB": lambda: b"GET /" + b"a" * 60_000_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "10,000 requests in advance": lambda: b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 10_000,
}
_BODIES: dict[str, Callable[[], bytes]] = {
    "95 MiB, one text": _text,
    "91 MiB of short messages": _messages,
    "79 MiB, 6,000,000 keys": _keys,
    "95 MiB of [": lambda: b"[" * (95 * _MIB),
    "30 MiB of short messages": lambda: (
        b'{"model":"nope","messages":[%s]}' % b",".join([b'{"role":"user","content":"hi"}'] * 1_000_000)
    ),
    "13 MiB, 1,000,000 keys": lambda: (
        b'{"model":"nope","x":{%s}}' % b",".join(b'"k%d":1' % number for number in range(1_000_000))
    ),
    "8 MiB, one text": lambda: b'{"model":"nope","messages":[{"role":"user","content":"%s"}]}' % (b"word " * 1_600_000),
    "40 MiB, a picture": lambda: (
        b'{"model":"nope","messages":[{"role":"user","content":[{"type":"image_url",'
        b'"image_url":{"url":"data:image/png;base64,%s"}}]}]}' % (b"QUJD" * 10 * _MIB)
    ),
}


def measure() -> list[Figure]:
    """Return, for each kind of force, what others waited and what memory it took."""
    figures = []
    for name, head in _HEADS.items():
        with _daemon() as (dmrc, process):
            figures += _under(dmrc, process, name, partial(_send, sent=head()))
    for name, body in _BODIES.items():
        with _daemon() as (dmrc, process):
            sent = body()
            figures += _under(dmrc, process, name, partial(_send, sent=_POST % len(sent) + sent))
    with _daemon() as (dmrc, process):
        sent = _keys()
        figures += _under(dmrc, process, "8 × 79 MiB at once", lambda port: _eight(port, _POST % len(sent) + sent))
    with _daemon() as (dmrc, process):
        figures.append(_idle(dmrc))
    return figures


def _under(dmrc: Dmrc, process: psutil.Process, name: str, force: Callable[[int], str]) -> list[Figure]:
    before = _seconds(process)
    with _waits(dmrc.port) as waits, _peak(process) as peak:
        answer = force(dmrc.port)
        time.sleep(1.5)
    said = f"{answer}, {_seconds(process) - before:.2f} s of processor"
    resident = process.memory_info().rss / _MIB
    return [
        Figure(name=f"{name}: longest wait of others", value=max(waits), unit="ms", bar=_WAIT_BAR_MS, ours=said),
        Figure(
            name=f"{name}: memory after",
            value=resident,
            unit="MB",
            bar=_MEMORY_BAR_MIB,
            ours=f"peak {max(peak):.0f} MB",
        ),
    ]


def _idle(dmrc: Dmrc) -> Figure:
    """Return how many of 20 calls are answered while more connections are open and idle than there are descriptors."""
    with ExitStack() as stack:
        for _ in range(_IDLE):
            try:
                stack.enter_context(socket.create_connection(("127.0.0.1", dmrc.port), timeout=2))
            except OSError:
                break
        answered = sum(_ask(dmrc.port) is not None for _ in range(20))
        status = dmrc.run("status")
    said = "dmrc status: " + (status.stdout or status.stderr).splitlines()[0]
    name = f"{_IDLE} idle connections at {_DESCRIPTORS} descriptors: answered of 20"
    return Figure(name=name, value=float(answered), unit="", bar=20.0, better="higher", ours=said)


def _eight(port: int, sent: bytes) -> str:
    with ThreadPoolExecutor(8) as pool:
        return " ".join(sorted(pool.map(lambda _: _send(port, sent), range(8))))


def _send(port: int, sent: bytes) -> str:
    """Send bytes, and return the status of the answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=90) as connection:
        with suppress(OSError):  # refused before the end of it
            connection.sendall(sent)
        try:
            return connection.recv(100).split(b" ")[1].decode()
        except (OSError, IndexError) as error:
            return type(error).__name__


def _ask(port: int) -> float | None:
    """Return how many milliseconds one `GET /` takes; None where it is not answered."""
    began = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", "/")
        connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return (time.perf_counter() - began) * 1000


@contextmanager
def _waits(port: int) -> Iterator[list[float]]:
    """Ask for `/` all the time, in a process of its own, since this one is busy; yield what each answer took."""
    program = (
        "import sys, time\nfrom tests.bench.force import _ask\n"
        "while True:\n"
        "    print(_ask(int(sys.argv[1])), flush=True)\n"
        "    time.sleep(0.02)\n"
    )
    waits: list[float] = []
    command = [sys.executable, "-c", program, str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield waits
        process.terminate()
        waits += [float(line) if "None" not in line else 60_000.0 for line in process.stdout.read().splitlines()]


@contextmanager
def _peak(process: psutil.Process) -> Iterator[list[float]]:
    """Yield what the process has in memory, looked at often until the end of the block."""
    ended, sizes = Event(), [0.0]

    def watch() -> None:
        while not ended.wait(0.02):
            sizes.append(process.memory_info().rss / _MIB)

    thread = Thread(target=watch)
    thread.start()
    yield sizes
    ended.set()
    thread.join()


def _seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


@contextmanager
def _daemon() -> Iterator[tuple[Dmrc, psutil.Process]]:
    """Yield a daemon with the usual limit of descriptors, as hard one too."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (_DESCRIPTORS, _DESCRIPTORS))

    with temporary_dmrc() as dmrc:
        log = subprocess.DEVNULL
        with subprocess.Popen(
            [dmrc.program, "serve"], env=dmrc.environment, stdout=log, stderr=log, preexec_fn=limit
        ) as process:
            eventually(lambda: _ask(dmrc.port) is not None)
            yield dmrc, dmrc.daemon()
            process.terminate()
