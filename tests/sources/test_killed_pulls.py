"""Pulls that are killed, interrupted or robbed of their registry, each in a process of its own."""

import random
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

import pytest

from dmrc.store import Store
from tests.dmrc_command import Dmrc
from tests.polling import eventually
from tests.registry import RegistryServer
from tests.sources.counting_proxy import CountingProxy, counting_proxy
from tests.sources.misbehaving import BIG, Misbehaving, digest_of, respond_range, serve_big
from tests.sources.partial_blobs import BLOB, Counted, content, kept_bytes
from tests.tiny_gguf import write_tiny_llama

MOST_REPEATED_BYTES = 8 << 20
KILLS = 20
LARGE_BYTES = 200 << 20


@contextmanager
def pulling(dmrc: Dmrc, name: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run `dmrc pull NAME`; at the end it is killed, should it still run."""
    command = [dmrc.program, "pull", name]
    with subprocess.Popen(command, env=dmrc.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def store_of(dmrc: Dmrc) -> Store:
    return Store(dmrc.home / "store")


def slowly(handler: BaseHTTPRequestHandler) -> None:
    """Send the range that was asked for at 20 MB/s."""
    send = handler.wfile.write

    def write(data: bytes) -> int:
        time.sleep(len(data) / 20e6)
        return send(data)

    handler.wfile.write = write
    respond_range(handler, BIG)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A model that loads, with much behind its tensors."""
    path = write_tiny_llama(tmp_path_factory.mktemp("large") / "tiny.gguf")
    return path.read_bytes() + random.Random(5).randbytes(LARGE_BYTES)


@pytest.fixture
def proxy(registry: RegistryServer) -> Iterator[CountingProxy]:
    with counting_proxy(registry.address) as proxy:
        yield proxy


def kill_after(proxy: CountingProxy, process: subprocess.Popen[bytes], more_bytes: int) -> int:
    """Kill the process when so many more bytes were sent, and return how many were, in the end."""
    before = proxy.sent_bytes
    # By the thread that sends: what came until another one had seen it was more, and 20 times that all of the blob.
    proxy.on_sent = lambda total: process.kill() if total >= before + more_bytes else None
    eventually(lambda: process.poll() is not None, "end of a pull")
    eventually(lambda: proxy.open_connections == 0, "end of the connections")
    return proxy.sent_bytes - before


@pytest.mark.timeout(600)
def test_a_pull_that_is_killed_20_times_repeats_at_most_8_mib_each_time(
    registry: RegistryServer, proxy: CountingProxy, dmrc: Dmrc, large: bytes
) -> None:
    registry.push_model("ai/large:latest", large)
    name, digest, moments = f"{proxy.address}/ai/large", digest_of(large), random.Random()
    kept, repeated = 0, []

    for _ in range(KILLS):
        with pulling(dmrc, name) as process:
            sent = kill_after(proxy, process, moments.randrange(1 << 20, 2 * LARGE_BYTES // (3 * KILLS)))
        before, kept = kept, kept_bytes(store_of(dmrc), digest, len(large))
        repeated.append(sent - (kept - before))
    proxy.on_sent = lambda _total: None
    dmrc.ok("pull", name)

    assert content(store_of(dmrc), digest) == large
    assert max(repeated) <= MOST_REPEATED_BYTES
    assert store_of(dmrc).partials.leftovers() == []


def test_a_registry_that_is_killed_and_started_again_ends_no_pull(
    registry: RegistryServer, proxy: CountingProxy, dmrc: Dmrc, large: bytes
) -> None:
    registry.push_model("ai/large:latest", large)
    proxy.bytes_per_second = 25e6
    half = threading.Event()
    proxy.on_sent = lambda total: half.set() if total > LARGE_BYTES // 2 else None

    with pulling(dmrc, f"{proxy.address}/ai/large") as process:
        assert half.wait(60)
        registry.kill()
        time.sleep(1)
        registry.start()
        _, errors = process.communicate(timeout=120)

    assert process.returncode == 0, errors.decode()
    assert content(store_of(dmrc), digest_of(large)) == large
    assert proxy.sent_bytes - len(large) <= MOST_REPEATED_BYTES


def test_a_pull_waits_for_another_of_the_same_blob_and_takes_over_when_that_is_killed(dmrc: Dmrc) -> None:
    answer = Counted(slowly)

    with Misbehaving(serve_big(answer)) as server, pulling(dmrc, f"{server.address}/a/first") as first:
        eventually(lambda: answer.sent_bytes > 8 << 20, "half of the blob")
        with pulling(dmrc, f"{server.address}/a/second") as second:
            eventually(lambda: any("/a/second/blobs" in path for path, _ in server.requests), "the second pull")
            first.kill()
            _, errors = second.communicate(timeout=60)

    assert second.returncode == 0, errors.decode()
    assert content(store_of(dmrc)) == BIG
    assert answer.sent_bytes - len(BIG) <= MOST_REPEATED_BYTES


def test_processes_that_pull_the_same_blob_share_one_download(dmrc: Dmrc) -> None:
    answer = Counted(slowly)

    with (
        Misbehaving(serve_big(answer)) as server,
        pulling(dmrc, f"{server.address}/a/one") as one,
        pulling(dmrc, f"{server.address}/a/two") as two,
    ):
        assert [process.wait(60) for process in (one, two)] == [0, 0]

    assert answer.sent_bytes == len(BIG)
    assert len(store_of(dmrc).models()[0].tags) == 2


@pytest.mark.parametrize("where", ["the manifest", "the blob", "the middle of the blob"])
def test_ctrl_c_is_answered_within_a_second(where: str, dmrc: Dmrc) -> None:
    asked = threading.Event()

    def hang(handler: BaseHTTPRequestHandler) -> bool:
        wanted = "/manifests/" if where == "the manifest" else "/blobs/" + BLOB
        if wanted not in handler.path:
            return False
        if where == "the middle of the blob":
            respond_range(handler, BIG, cut_after=1 << 20)
        asked.set()
        handler.rfile.read(1)
        return True

    def seconds_until_it_ends() -> float:
        asked.clear()
        with Misbehaving(serve_big(first=hang)) as server, pulling(dmrc, f"{server.address}/a/b") as process:
            assert asked.wait(20)
            time.sleep(0.3)
            interrupted = time.monotonic()
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=20)
            seconds = time.monotonic() - interrupted
        assert (process.returncode, errors.decode().strip()) == (130, "dmrc: interrupted")
        return seconds

    # The machine may be busy with other things for once.
    assert any(seconds_until_it_ends() < 1 for _ in range(10))
    left = store_of(dmrc).partials.leftovers()
    assert len(left) == (1 if where == "the middle of the blob" else 0)
    assert sum(leftover.size_bytes for leftover in left) < len(BIG)
