"""What comes of a large blob when its server, or the network, misbehaves."""

from http.server import BaseHTTPRequestHandler

import pytest

from dmrc.errors import DigestMismatchError, RegistryError
from dmrc.sources import ProgressEvent, Transfer
from dmrc.sources.oci import OciSource
from dmrc.store import Store
from tests.sources.misbehaving import (
    BIG,
    Misbehaving,
    range_of,
    respond,
    respond_range,
    serve_big,
)
from tests.sources.partial_blobs import BLOB, PIECE_BYTES, Counted, content, keep, partial_files, ranges

LIE = bytes(len(BIG))


def whole(handler: BaseHTTPRequestHandler) -> None:
    respond(handler, 200, BIG)


def test_a_large_blob_comes_in_ranges_each_asked_once(source: OciSource, store: Store) -> None:
    with Misbehaving(serve_big()) as server:
        source.fetch(f"{server.address}/a/b", Transfer(store))

    starts = range(0, len(BIG), PIECE_BYTES)
    expected = [f"bytes={start}-{min(start + PIECE_BYTES, len(BIG)) - 1}" for start in starts]
    assert sorted(ranges(server)) == sorted(expected)
    assert content(store) == BIG
    assert partial_files(store) == []


@pytest.mark.slow("dozens of megabytes")
def test_connections_that_are_cut_every_5_mb_lose_no_byte(source: OciSource, store: Store) -> None:
    answer = Counted(lambda handler: respond_range(handler, BIG, cut_after=5_000_000))
    events: list[ProgressEvent] = []

    with Misbehaving(serve_big(answer)) as server:
        source.fetch(f"{server.address}/a/b", Transfer(store, events.append))

    assert content(store) == BIG
    assert answer.sent_bytes == len(BIG)
    amounts = [event.current_bytes for event in events if event.layer == BLOB]
    assert amounts == sorted(amounts)
    assert events[-1] == ProgressEvent("Pull complete", BLOB, len(BIG), len(BIG))


def test_a_server_that_knows_no_ranges_sends_one_stream_and_no_byte_twice(source: OciSource, store: Store) -> None:
    answer = Counted(whole)

    with Misbehaving(serve_big(answer)) as server:
        source.fetch(f"{server.address}/a/b", Transfer(store))

    assert content(store) == BIG
    assert answer.sent_bytes == len(BIG)


def test_what_is_there_stays_when_a_server_knows_no_ranges_on_the_second_attempt(
    source: OciSource, store: Store
) -> None:
    keep(store, BIG[: 20 << 20])

    with Misbehaving(serve_big(whole)) as server:
        source.fetch(f"{server.address}/a/b", Transfer(store))

    assert content(store) == BIG
    assert ranges(server) == [f"bytes={20 << 20}-{(32 << 20) - 1}"]


def test_a_server_that_forgets_ranges_half_way_is_followed(source: OciSource, store: Store) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        first, _ = range_of(handler) or (0, 0)
        (whole if first else lambda handler: respond_range(handler, BIG))(handler)

    with Misbehaving(serve_big(answer)) as server:
        source.fetch(f"{server.address}/a/b", Transfer(store))

    assert content(store) == BIG


@pytest.mark.parametrize("wrong", ["416", "another range", "no range"])
def test_a_server_that_answers_ranges_wrongly_is_asked_for_all(wrong: str, source: OciSource, store: Store) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        if "Range" not in handler.headers:
            whole(handler)
        elif wrong == "416":
            respond(handler, 416)
        elif wrong == "another range":
            respond(handler, 206, BIG[1:], Content_Range=f"bytes 1-{len(BIG) - 1}/{len(BIG)}")
        else:
            respond(handler, 206, BIG)

    with Misbehaving(serve_big(answer)) as server:
        source.fetch(f"{server.address}/a/b", Transfer(store))

    assert content(store) == BIG
    assert len(ranges(server)) == 2


def test_416_to_everything_is_an_error_and_no_loop(source: OciSource, store: Store) -> None:
    answer = serve_big(lambda handler: respond(handler, 416))

    with Misbehaving(answer) as server, pytest.raises(RegistryError, match="416"):
        source.fetch(f"{server.address}/a/b", Transfer(store))

    assert len(ranges(server)) == 2
    assert partial_files(store) == []


def test_a_whole_partial_with_other_bytes_does_not_block_the_pull(source: OciSource, store: Store) -> None:
    """Docker Model Runner asks for the byte after the last one then, and gets 416 for days (reference, 4.6)."""
    keep(store, LIE)

    with Misbehaving(serve_big()) as server:
        source.fetch(f"{server.address}/a/b", Transfer(store))

    assert content(store) == BIG
    assert partial_files(store) == []


def test_a_server_that_lies_about_a_digest_is_asked_once(source: OciSource, store: Store) -> None:
    answer = Counted(lambda handler: respond_range(handler, LIE))

    with Misbehaving(serve_big(answer)) as server, pytest.raises(DigestMismatchError, match=BLOB):
        source.fetch(f"{server.address}/a/b", Transfer(store))

    assert answer.sent_bytes == len(BIG)
    assert not store.has_blob(BLOB, len(BIG))
    assert partial_files(store) == []


def test_a_lie_after_an_interruption_is_given_one_more_try_and_no_second(source: OciSource, store: Store) -> None:
    keep(store, BIG[:PIECE_BYTES])
    answer = Counted(lambda handler: respond_range(handler, LIE))

    with Misbehaving(serve_big(answer)) as server, pytest.raises(DigestMismatchError, match=BLOB):
        source.fetch(f"{server.address}/a/b", Transfer(store))

    assert answer.sent_bytes == len(BIG) - PIECE_BYTES + len(BIG)
    assert partial_files(store) == []


def test_a_blob_of_another_size_is_refused_before_it_comes(source: OciSource, store: Store) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        respond(handler, 206, Content_Range=f"bytes 0-{PIECE_BYTES - 1}/{1 << 40}")

    with (
        Misbehaving(serve_big(answer)) as server,
        pytest.raises(DigestMismatchError, match=f"should have {len(BIG)} bytes, but the server has {1 << 40}"),
    ):
        source.fetch(f"{server.address}/a/b", Transfer(store))

    assert partial_files(store) == []
