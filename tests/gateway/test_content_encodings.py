"""Request bodies that were compressed: read, bounded, or refused by name."""

from __future__ import annotations

import gzip
import http.client
import json
import zlib
from collections.abc import Callable

import pytest

from dmrc.decompression import zstd
from tests.gateway.conftest import MODEL, Gateway

CHAT = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 4}).encode()


def raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush()


def halves(compress: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    return lambda data: compress(data[:20]) + compress(data[20:])


WAYS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "gzip in two members": ("X-GZIP", halves(gzip.compress)),
    "deflate": ("deflate", zlib.compress),
    "raw deflate": ("deflate", raw_deflate),
    "zstd": ("zstd", zstd.compress),
    "zstd in two frames": ("zstd", halves(zstd.compress)),
    "both": ("gzip, zstd", lambda data: zstd.compress(gzip.compress(data))),
    "none": ("identity", lambda data: data),
}


def post(gateway: Gateway, path: str, encoding: str, body: bytes) -> tuple[http.client.HTTPResponse, dict]:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.dmrc.port, timeout=60)
    connection.request("POST", path, body, {"content-encoding": encoding, "content-type": "text/plain"})
    answer = connection.getresponse()
    document = json.loads(answer.read())
    connection.close()
    return answer, document


def test_encodings_may_stand_in_headers_of_their_own(gateway: Gateway) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.dmrc.port, timeout=60)
    body = zstd.compress(gzip.compress(CHAT))
    connection.putrequest("POST", "/v1/chat/completions")
    for name, value in (("content-encoding", "gzip"), ("content-encoding", "zstd"), ("content-length", str(len(body)))):
        connection.putheader(name, value)
    connection.endheaders(body)

    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    connection.close()


@pytest.mark.parametrize("way", WAYS)
def test_a_body_that_was_compressed_is_read(gateway: Gateway, way: str) -> None:
    encoding, compress = WAYS[way]

    answer, document = post(gateway, "/v1/chat/completions", encoding, compress(CHAT))

    assert answer.status == 200, document
    assert document["choices"][0]["message"]["content"]


def test_every_route_reads_it_and_the_record_has_what_was_meant(
    gateway: Gateway, recorded: Callable[[str], dict[str, object]]
) -> None:
    shown, document = post(gateway, "/api/show", "gzip", gzip.compress(json.dumps({"model": MODEL}).encode()))
    answer, _ = post(gateway, "/anthropic/v1/messages", "gzip", gzip.compress(CHAT))

    assert shown.status == 200, document
    exchange = recorded(answer.headers["x-dmrc-exchange-id"])
    shown_id = str(exchange["id"])
    body = json.loads(gateway.dmrc.ok("requests", "show", shown_id, "--json"))
    assert "Say hello." in json.dumps(body)
    assert "content-encoding" not in json.dumps(body["request_headers"])


@pytest.mark.parametrize("encoding", ["br", "compress", "gzip, br", "nonsense"])
def test_another_encoding_is_refused_by_name(gateway: Gateway, encoding: str) -> None:
    answer, document = post(gateway, "/v1/chat/completions", encoding, CHAT)

    assert answer.status == 415
    assert f"'{encoding.split()[-1]}'" in document["error"]["message"]
    assert answer.headers["accept-encoding"] == "gzip, deflate, zstd"


@pytest.mark.parametrize("way", ["gzip", "deflate", "raw deflate", "zstd"])
def test_what_is_cut_or_something_else_is_refused(gateway: Gateway, way: str) -> None:
    encoding, compress = WAYS[way]

    for body in (compress(CHAT)[:-9], b"{" + CHAT[1:]):
        answer, document = post(gateway, "/v1/chat/completions", encoding, body)
        assert answer.status == 400
        assert f"not {encoding}" in document["error"]["message"]


@pytest.mark.parametrize("way", ["gzip", "zstd"])
def test_what_grows_beyond_the_limit_is_refused(gateway: Gateway, way: str) -> None:
    encoding, compress = WAYS[way]
    grown = compress(b" " * (100 << 20))

    answer, document = post(gateway, "/v1/chat/completions", encoding, grown)

    assert answer.status == 413, document


@pytest.mark.parametrize("count", [4, 1000, 9000])
def test_encodings_one_inside_the_other_are_bounded(gateway: Gateway, count: int) -> None:
    """A thousand of them was "dmrc made a mistake": each one is a call inside the one before."""
    answer, document = post(gateway, "/v1/chat/completions", ",".join(["gzip"] * count), CHAT)

    assert answer.status == 415, document
    assert "more than 3 content-encodings" in document["error"]["message"]


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_a_body_in_very_many_parts_is_refused_at_once(gateway: Gateway, encoding: str) -> None:
    """Five million bytes of members that hold nothing stopped all others for a second."""
    empty = WAYS[encoding][1](b"")

    answer, document = post(gateway, "/v1/chat/completions", encoding, empty * 100_000)

    assert answer.status == 400
    assert "more than 1,000 parts" in document["error"]["message"]
