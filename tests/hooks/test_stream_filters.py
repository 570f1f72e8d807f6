"""Filters of answers on their way: they change, fail, end and cut them, and what plugins answer in pieces."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from dmrc import AnswerCut
from dmrc.hooks.filters import filter_stream, for_plugins_answers
from dmrc.hooks.pieces import pieces_of
from dmrc.hooks.plugins import Plugins
from dmrc.hooks.streams import PassingAnswer
from tests.hooks.written import EXCHANGE, PASSES, PROJECT, errors, loaded

pytestmark = pytest.mark.usefixtures("short_limit")


async def engine(*chunks: bytes, fails: bool = False) -> AsyncGenerator[bytes]:
    for chunk in chunks:
        yield chunk
    if fails:
        raise ConnectionResetError("the engine died")


def streamed(plugins: Plugins, stream: AsyncGenerator[bytes]) -> tuple[list[bytes], list[str]]:
    got: list[bytes] = []
    changed_by: list[str] = []

    async def read() -> None:
        implementations = plugins.implementations("dmrc_response_stream", (PROJECT,))
        async for chunk in filter_stream(implementations, PassingAnswer(exchange=EXCHANGE), stream, changed_by):
            got.append(chunk)

    try:
        asyncio.run(read())
    except ConnectionResetError as error:
        got.append(str(error).encode())
    return got, changed_by


def stream_filter(body: str, before: str = "") -> str:
    return f"""
@hookimpl
async def dmrc_response_stream(exchange, stream):
    {before or "pass"}
    async for chunk in stream:
        {body}
"""


def test_a_stream_passes_all_its_filters(tmp_path: Path) -> None:
    nothing = "@hookimpl\ndef dmrc_response_stream(stream):\n    return None"
    plugins = loaded(tmp_path, stream_filter("yield chunk + b'1'"), stream_filter("yield chunk + b'2'"), nothing)

    assert streamed(plugins, engine(b"a", b"b")) == ([b"a21", b"b21"], ["two", "one"])


@pytest.mark.parametrize(
    ("source", "got"),
    [
        (stream_filter("yield chunk.upper() if chunk == b'a' else 1 / 0"), [b"A", b"b", b"c"]),
        (stream_filter("yield 7"), [b"a", b"b", b"c"]),
        (stream_filter("yield chunk.upper(); await asyncio.sleep(2 * (chunk == b'b'))"), [b"A", b"B", b"c"]),
        (stream_filter("yield chunk", before="raise SystemExit"), [b"a", b"b", b"c"]),
        ("@hookimpl\ndef dmrc_response_stream(stream):\n    return 7", [b"a", b"b", b"c"]),
        ("@hookimpl\ndef dmrc_response_stream(stream):\n    raise ValueError", [b"a", b"b", b"c"]),
    ],
)
def test_a_stream_goes_on_where_its_filter_failed(tmp_path: Path, source: str, got: list[bytes]) -> None:
    plugins = loaded(tmp_path, source)

    assert streamed(plugins, engine(b"a", b"b", b"c"))[0] == got
    assert errors(plugins) == 1


def test_a_filter_may_end_a_stream(tmp_path: Path) -> None:
    plugins = loaded(tmp_path, stream_filter("yield chunk; return"))

    assert streamed(plugins, engine(b"a", b"b"))[0] == [b"a"]
    assert errors(plugins) == 0


HIDES = """
@hookimpl
async def dmrc_response_stream(stream):
    try:
        async for chunk in stream:
            yield chunk
    except OSError:
        yield b"fine"
"""


def test_the_death_of_an_engine_is_not_the_filters_fault_and_not_hidden(tmp_path: Path) -> None:
    for number, source in enumerate((stream_filter("yield chunk"), HIDES)):
        (tmp_path / str(number)).mkdir()
        plugins = loaded(tmp_path / str(number), source)

        got, _ = streamed(plugins, engine(b"a", fails=True))

        assert got[-1] == b"the engine died"
        assert errors(plugins) == 0


@pytest.mark.slow("an engine that takes a second")
def test_the_time_that_an_engine_takes_is_not_the_filters(tmp_path: Path) -> None:
    plugins = loaded(tmp_path, stream_filter("yield chunk.upper()"))

    async def slow() -> AsyncGenerator[bytes]:
        await asyncio.sleep(1)
        yield b"a"

    assert streamed(plugins, slow())[0] == [b"A"]
    assert errors(plugins) == 0


CUTS = """
from dmrc import AnswerCut
@hookimpl
async def dmrc_response_stream(stream, answered_by):
    yield (answered_by or "engine").encode()
    async for chunk in stream:
        yield chunk
        raise AnswerCut("on purpose")
"""


def test_a_filter_breaks_an_answer_off_and_none_around_it_hides_that(tmp_path: Path) -> None:
    plugins = loaded(tmp_path, HIDES, CUTS)
    got: list[bytes] = []

    async def read() -> None:
        implementations = plugins.implementations("dmrc_response_stream", (PROJECT,))
        async for chunk in filter_stream(implementations, PassingAnswer(exchange=EXCHANGE), engine(b"a", b"b"), []):
            got.append(chunk)

    with pytest.raises(AnswerCut, match="on purpose"):
        asyncio.run(read())

    assert got == [b"engine", b"a"]
    assert (errors(plugins, "one"), errors(plugins, "two")) == (0, 0)


def test_what_plugins_answer_is_changed_by_those_only_that_ask_whose_answer_it_is(tmp_path: Path) -> None:
    plugins = loaded(tmp_path, stream_filter("yield chunk"), CUTS)

    chosen = for_plugins_answers(plugins.implementations("dmrc_response_stream", (PROJECT,)))

    assert [one.plugin.name for one in chosen] == ["two"]


def pieces(body: AsyncIterator[bytes], plugins: Plugins, length: int | None = None) -> list[bytes]:
    (answerer,) = plugins.implementations("dmrc_request", (PROJECT,))

    async def read() -> list[bytes]:
        return [piece async for piece in pieces_of(body, answerer, length)]

    return asyncio.run(read())


def test_an_answer_in_pieces_is_closed_when_nobody_reads_on(tmp_path: Path) -> None:
    plugins = loaded(tmp_path, PASSES)
    closed: list[str] = []

    async def body() -> AsyncGenerator[bytes]:
        try:
            yield b"a"
            yield b"b"
        finally:
            closed.append("closed")

    async def read_one() -> None:
        (answerer,) = plugins.implementations("dmrc_request", (PROJECT,))
        async with aclosing(pieces_of(body(), answerer)) as read:
            assert await anext(read) == b"a"

    asyncio.run(read_one())

    assert closed == ["closed"]


@pytest.mark.parametrize(
    ("length", "told"),
    [(3, "ends after 2 bytes, and its content-length is 3"), (1, "longer than its content-length, 1"), (None, "")],
)
def test_pieces_have_the_length_that_was_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, length: int | None, told: str
) -> None:
    plugins = loaded(tmp_path, PASSES)

    if told:
        with pytest.raises(AnswerCut, match="plugin 'one' broke its answer off"):
            pieces(engine(b"a", b"", b"b"), plugins, length)
        assert told in caplog.text
    else:
        assert pieces(engine(b"a", b"", b"b"), plugins) == [b"a", b"b"]
