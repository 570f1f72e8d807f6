"""The connections of a download: how many, and what comes of it when they stall, break off or are refused."""

import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
import urllib3

from dmrc.errors import CancelledError, RegistryError
from dmrc.models import Models
from dmrc.sources import ProgressEvent, Transfer
from dmrc.sources.connections import MOST_CONNECTIONS
from dmrc.sources.credentials import DockerCredentials
from dmrc.sources.oci import OciSource
from dmrc.store import Store
from tests.polling import eventually
from tests.sources.misbehaving import (
    BIG,
    LAYER,
    MODEL,
    Misbehaving,
    digest_of,
    range_of,
    respond,
    respond_range,
    serve,
    serve_big,
)
from tests.sources.partial_blobs import BLOB, PIECE_BYTES, Counted, content, kept_bytes, ranges


def test_a_token_that_expires_in_the_middle_is_renewed(source: OciSource, store: Store) -> None:
    left = {"token-0": 0}

    def first(handler: BaseHTTPRequestHandler) -> bool:
        if handler.path.startswith("/token"):
            left[f"token-{len(left)}"] = 3
            respond(handler, 200, f'{{"token": "token-{len(left) - 1}"}}'.encode())
            return True
        token = handler.headers.get("Authorization", "Bearer token-0").removeprefix("Bearer ")
        left[token] -= 1
        if left[token] >= 0:
            return False
        respond(handler, 401, WWW_Authenticate=f'Bearer realm="http://{handler.headers["Host"]}/token"')
        return True

    with Misbehaving(serve_big(first=first)) as server:
        source.fetch(f"{server.address}/a/b", Transfer(store))

    assert content(store) == BIG
    assert len(left) > 2


@pytest.mark.slow("waits as the server asks")
def test_429_in_the_middle_is_waited_out(source: OciSource, store: Store) -> None:
    refused: list[float] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        first, _ = range_of(handler) or (0, 0)
        if first and not refused:
            refused.append(time.monotonic())
            respond(handler, 429, Retry_After="2")
        else:
            respond_range(handler, BIG)

    with Misbehaving(serve_big(answer)) as server:
        source.fetch(f"{server.address}/a/b", Transfer(store))

    assert content(store) == BIG
    assert time.monotonic() - refused[0] >= 2


def test_429_for_an_hour_ends_the_pull_and_keeps_what_came(source: OciSource, store: Store) -> None:
    first_is_sent = threading.Event()

    def answer(handler: BaseHTTPRequestHandler) -> None:
        if range_of(handler) == (0, PIECE_BYTES):
            respond_range(handler, BIG)
            first_is_sent.set()
        else:
            first_is_sent.wait(10)
            respond(handler, 429, Retry_After="3600")

    with Misbehaving(serve_big(answer)) as server, pytest.raises(RegistryError, match="asks to wait 3600 seconds"):
        source.fetch(f"{server.address}/a/b", Transfer(store))

    assert 0 < kept_bytes(store) <= PIECE_BYTES


@pytest.mark.slow("waits for a time limit")
def test_a_connection_that_falls_silent_is_replaced(
    source: OciSource, store: Store, monkeypatch: pytest.MonkeyPatch, no_delay: None
) -> None:
    monkeypatch.setattr("dmrc.sources.http._TIMEOUT", urllib3.Timeout(3))
    silent = iter([True])

    def answer(handler: BaseHTTPRequestHandler) -> None:
        respond_range(handler, BIG, cut_after=1000 if (stalls := next(silent, False)) else None)
        if stalls:
            handler.rfile.read(1)

    counted = Counted(answer)
    with Misbehaving(serve_big(counted)) as server:
        source.fetch(f"{server.address}/a/b", Transfer(store))

    assert content(store) == BIG
    assert counted.sent_bytes == len(BIG)


@pytest.mark.slow("waits for a time limit")
def test_a_connection_that_all_but_stops_is_replaced(
    source: OciSource, store: Store, monkeypatch: pytest.MonkeyPatch, no_delay: None
) -> None:
    monkeypatch.setattr("dmrc.sources.download._STALL_SECONDS", 0.5)
    slow = iter([True])

    def answer(handler: BaseHTTPRequestHandler) -> None:
        if not next(slow, False):
            respond_range(handler, BIG)
            return
        respond_range(handler, BIG, cut_after=1000)
        for byte in BIG[1000:2000]:
            handler.wfile.write(bytes([byte]))
            time.sleep(0.05)

    with Misbehaving(serve_big(answer)) as server:
        source.fetch(f"{server.address}/a/b", Transfer(store))

    assert content(store) == BIG


def test_a_server_that_never_gets_further_is_given_up(source: OciSource, store: Store, no_delay: None) -> None:
    answer = serve_big(lambda handler: respond_range(handler, BIG, cut_after=10))

    with Misbehaving(answer) as server, pytest.raises(RegistryError, match="Check the network"):
        source.fetch(f"{server.address}/a/b", Transfer(store))

    assert 6 <= len(ranges(server)) <= 6 * 3
    assert kept_bytes(store) > 0


def test_a_redirect_is_followed_once_until_its_target_expires(source: OciSource, store: Store) -> None:
    uses: dict[str, int] = {}

    def storage(handler: BaseHTTPRequestHandler) -> None:
        uses[handler.path] = uses.get(handler.path, 0) + 1
        if uses[handler.path] > 2:
            respond(handler, 403)
        else:
            respond_range(handler, BIG)

    with Misbehaving(storage) as other:
        asked: list[str] = []

        def answer(handler: BaseHTTPRequestHandler) -> None:
            asked.append(handler.path)
            respond(handler, 307, Location=f"http://{other.address}/signed/{len(asked)}")

        with Misbehaving(serve_big(answer)) as server:
            source.fetch(f"{server.address}/a/b", Transfer(store))

    assert content(store) == BIG
    assert uses["/signed/1"] >= 2


def test_an_interrupted_pull_goes_on_where_it_ended(source: OciSource, store: Store) -> None:
    stop = threading.Event()

    def hear(event: ProgressEvent) -> None:
        if event.current_bytes > 20_000_000:
            stop.set()

    answer = Counted(lambda handler: respond_range(handler, BIG, cut_after=None if stop.is_set() else 8_000_000))
    with Misbehaving(serve_big(answer)) as server:
        with pytest.raises(CancelledError):
            source.fetch(f"{server.address}/a/b", Transfer(store, hear, stop.is_set))
        before = kept_bytes(store)
        eventually(lambda: answer.running == 0, "end of the answers")
        sent = answer.sent_bytes
        source.fetch(f"{server.address}/a/b", Transfer(store))

    assert before > 20_000_000
    assert answer.sent_bytes - sent == len(BIG) - before
    assert content(store) == BIG


@pytest.mark.slow("many pulls at once")
def test_a_process_uses_a_few_connections_for_all_its_pulls(tmp_path: Path, docker_config: Path) -> None:
    blobs = {digest_of(data): data for data in (bytes([number]) + BIG[1:] for number in range(6))}
    layers = [{**LAYER, "digest": digest, "size": len(data)} for digest, data in blobs.items()]
    lock, now, most, all_are_there = threading.Lock(), [0], [0], threading.Event()

    def layer(handler: BaseHTTPRequestHandler) -> bool:
        data = blobs.get(handler.path.rpartition("/")[2])
        if data is None:
            return False
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
            if now[0] == MOST_CONNECTIONS:
                all_are_there.set()
        all_are_there.wait(10)
        time.sleep(0.3)  # one too many would come meanwhile
        with lock:
            now[0] -= 1
        respond_range(handler, data)
        return True

    models = Models(Store(tmp_path / "store"), lambda: [OciSource(DockerCredentials(docker_config))])
    with (
        Misbehaving(serve(manifest={**MODEL, "layers": layers[:3]}, first=layer)) as one,
        Misbehaving(serve(manifest={**MODEL, "layers": layers[3:]}, first=layer)) as other,
    ):
        names = [f"{server.address}/a/b" for server in (one, other)]
        threads = [threading.Thread(target=models.pull, args=(name,)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)

    assert most[0] == MOST_CONNECTIONS
    assert all(content(Store(tmp_path / "store"), digest) == data for digest, data in blobs.items())


def test_threads_that_pull_the_same_blob_share_one_download(tmp_path: Path, docker_config: Path) -> None:
    events: list[ProgressEvent] = []
    another_waits = threading.Event()

    def hear(event: ProgressEvent) -> None:
        events.append(event)
        if event.status.startswith("Waiting for another pull"):
            another_waits.set()

    def slow(handler: BaseHTTPRequestHandler) -> None:
        another_waits.wait(10)
        respond_range(handler, BIG)

    answer = Counted(slow)
    store = Store(tmp_path / "store")
    models = Models(store, lambda: [OciSource(DockerCredentials(docker_config))])

    with Misbehaving(serve_big(answer)) as server:
        names = [f"{server.address}/a/{name}" for name in ("b", "c", "d")]
        threads = [threading.Thread(target=models.pull, args=(name, hear)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)

    assert len(store.models()[0].tags) == 3
    assert answer.sent_bytes == len(BIG)
    assert ProgressEvent(f"Waiting for another pull of {BLOB}", BLOB, 0, len(BIG)) in events


@pytest.mark.slow("waits a second for bytes to be written")
def test_a_pull_of_a_silent_server_ends_at_once_when_cancelled(source: OciSource, store: Store) -> None:
    connections = 3
    answered, cancelled, times = threading.Barrier(connections), threading.Event(), list[float]()

    def cancel() -> None:
        times.append(time.monotonic())
        cancelled.set()

    def answer(handler: BaseHTTPRequestHandler) -> None:
        respond_range(handler, BIG, cut_after=1000)
        if answered.wait(30) == 0:
            threading.Timer(1, cancel).start()  # until then the last one's bytes are written
        handler.rfile.read(1)

    with Misbehaving(serve_big(answer)) as server:
        with pytest.raises(CancelledError):
            source.fetch(f"{server.address}/a/b", Transfer(store, cancelled=cancelled.is_set))
        seconds = time.monotonic() - times[0]

    assert seconds < 5
    assert kept_bytes(store) == connections * 1000
