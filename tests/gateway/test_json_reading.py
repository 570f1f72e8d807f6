"""Long JSON is read as Python reads it, a few milliseconds at a time."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from dmrc.errors import HttpInputError, InputError
from dmrc.gateway.server import json_reading
from dmrc.gateway.server.json_reading import at_length, read_long, read_short, written

VALUES = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats(allow_nan=False, allow_infinity=False) | some.text(),
    lambda inner: some.lists(inner) | some.dictionaries(some.text(), inner),
    max_leaves=30,
)


def read(body: bytes) -> object:
    return asyncio.run(read_long(body))[0]


@pytest.fixture(params=[4096, 3], ids=["as it is", "nothing is short"])
def short(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_reading, "_SHORT", request.param)


@pytest.mark.slow("hundreds of documents")
@pytest.mark.usefixtures("short")
@given(VALUES, some.sampled_from([None, 2, "\t"]), some.booleans())
@settings(max_examples=200, suppress_health_check=list(HealthCheck))
def test_it_is_read_as_python_reads_it(value: object, indent: int | str | None, ascii_only: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)

    assert read(f" {text}\n".encode("utf-8", "surrogatepass")) == value


@pytest.mark.slow("hundreds of documents")
@given(VALUES)
def test_what_is_written_in_pieces_is_the_same_value(value: object) -> None:
    assert json.loads(b"".join(written(value))) == value


@pytest.mark.slow("measures time, on megabytes of JSON")
def test_others_run_while_a_long_request_is_worked_on() -> None:
    """The check of 160,000 messages took a quarter of a second on the loop, and so did writing them again."""
    document = {"messages": [{"role": "user", "content": "hi"}] * 160_000}
    steps = 0

    async def others() -> None:
        nonlocal steps
        while True:
            steps += 1
            await asyncio.sleep(0.001)

    async def ask() -> bytes:
        other = asyncio.create_task(others())
        try:
            return await at_length(bytes(300_000), lambda: b"".join(written(document)))
        finally:
            other.cancel()

    assert json.loads(asyncio.run(ask())) == document
    assert steps > 5


@pytest.mark.slow("hundreds of texts")
@pytest.mark.usefixtures("short")
@given(some.text(alphabet='[]{},:"0 1a\\n', max_size=20))
@settings(max_examples=500, suppress_health_check=list(HealthCheck))
def test_what_python_refuses_is_refused(text: str) -> None:
    try:
        expected = json.loads(text)
    except ValueError:
        with pytest.raises(InputError, match="not JSON"):
            read(text.encode())
    else:
        assert read(text.encode()) == expected


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("reader", [read, read_short])
@pytest.mark.parametrize(
    ("value", "why"),
    [
        (rb'"\ud83d"', r"\\ud83d is one half of a character"),
        (rb'["a", {"b": ["\ude00\ud83d"]}]', r"\\ude00 is one half"),
        (rb'{"\uD800": 1}', r"\\ud800 is one half"),
        (b'"\xed\xa0\x80"', "can't decode byte 0xed"),
        (b"[1, NaN]", "NaN is not a number"),
        (b'{"a": -Infinity}', "-Infinity is not a number"),
        ('{"a": 1}'.encode("utf-16"), "can't decode byte 0xff"),
        ('{"a": 1}'.encode("utf-32-be"), "."),
    ],
)
def test_what_no_engine_can_read_is_refused_with_the_reason(
    reader: Callable[[bytes], object], value: bytes, why: str
) -> None:
    """The engine's parser said `json.exception.parse_error.101`."""
    with pytest.raises(InputError, match=f"the request body is not JSON: .*{why}"):
        reader(value)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("reader", [read, read_short])
def test_whole_characters_are_read_however_they_are_written(reader: Callable[[bytes], object]) -> None:
    assert reader(b"\xef\xbb\xbf" + rb'{"\ud83d\ude00": ["\\ud83d", "\ud83d\ude00"]}') == {"😀": ["\\ud83d", "😀"]}


@pytest.mark.parametrize("body", [b"[" * 1_000_000, b'{"a":' * 300_000, b"\xff" * 300_000, b'"' + b"a" * 300_000, b""])
def test_what_is_no_json_is_refused_soon(body: bytes) -> None:
    with pytest.raises(InputError, match="not JSON"):
        read(body)


@pytest.mark.parametrize("reader", [read, read_short])
@pytest.mark.parametrize(
    ("begin", "inside", "end"), [(b"[", b"", b"]"), (b'{"a":', b"1", b"}"), (b'[0,{"a":', b"[]", b"}]")]
)
def test_what_is_nested_deeper_than_others_can_read_is_refused(
    reader: Callable[[bytes], object], begin: bytes, inside: bytes, end: bytes
) -> None:
    """A schema of 600 levels, which Python's own reader takes, was "dmrc made a mistake"."""
    levels = begin.count(b"[") + begin.count(b"{")
    most = (200 - inside.count(b"[")) // levels

    assert reader(begin * most + inside + end * most) == json.loads(begin * most + inside + end * most)
    for deep in (most + 1, 600, 100_000):
        with pytest.raises(InputError, match="nested deeper than 200 levels"):
            reader(begin * deep + inside + end * deep)


@pytest.mark.slow("600,000 values a case")
@pytest.mark.parametrize("item", [b"1", b"[]", b'{"a":1}', b'[[[["a", "b"]]]]'])
def test_more_values_than_fit_are_refused(item: bytes) -> None:
    with pytest.raises(HttpInputError, match="more than 500,000 values"):
        read(b"[%s]" % b",".join([item] * 600_000))


@pytest.mark.slow("measures time, on megabytes of JSON")
def test_others_run_while_long_json_is_read() -> None:
    async def story() -> float:
        gc.disable()  # a collection looks at all that the tests before this one have left
        body = json.dumps({"x": [{"role": "user", "content": "hi"}] * 150_000}).encode()
        done = asyncio.create_task(read_long(body))
        longest = 0.0
        while not done.done():
            began = time.process_time()
            await asyncio.sleep(0)
            longest = max(longest, time.process_time() - began)
        assert (await done)[1] > 300_000
        return longest

    try:
        assert asyncio.run(story()) < 0.1
    finally:
        gc.enable()
