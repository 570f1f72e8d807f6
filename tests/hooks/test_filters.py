"""Filters of requests and captures that work, raise, sleep, and return what nobody can use: the sinner is named."""

import asyncio
import logging
import time
from pathlib import Path

import pytest

from dmrc import Refusal, Request, Response, hookimpl
from dmrc.errors import PluginError
from dmrc.hooks import timeouts as limited
from dmrc.hooks.filters import FilteredRequest, filter_capture, filter_request
from dmrc.hooks.plugins import NOBODY, Plugins
from tests.hooks.written import EXCHANGE, PASSES, PROJECT, errors, load, loaded
from tests.polling import eventually

pytestmark = pytest.mark.usefixtures("short_limit")

ADDS = """
@hookimpl
def dmrc_request(exchange, request):
    request.body["messages"].append("added")
    return request.annotated(adds=True)
"""
ADDS_ASYNC = ADDS.replace("def ", "async def ").replace('"added"', '"added async"').replace("adds=", "adds_async=")
SPOILS_AND_RAISES = """
@hookimpl
def dmrc_request(request):
    request.body["messages"].clear()
    raise ValueError("no")
"""
ANSWERS = """
@hookimpl
async def dmrc_request(request):
    return Response(body={"asked": request.body["messages"]}, headers={"X-From": "plugin"})
"""
REFUSES = """
@hookimpl
def dmrc_request(request):
    return Refusal(message="not now", status=429, retry_after_seconds=3)
"""


def filtered(plugins: Plugins) -> FilteredRequest:
    request = Request(path="/v1/chat/completions", body={"model": "m", "messages": ["hi"]}, headers={"a": "b"})
    implementations = plugins.implementations("dmrc_request", (PROJECT,))
    return asyncio.run(filter_request(implementations, EXCHANGE, request, None))


def test_changes_chain_and_the_exchange_names_who_made_them(tmp_path: Path) -> None:
    done = filtered(loaded(tmp_path, ADDS, ADDS_ASYNC))

    assert done.request.body["messages"] == ["hi", "added async", "added"]
    assert done.answer is None
    assert done.annotations == {"adds": True, "adds_async": True, "request_changed_by": ["two", "one"]}


@pytest.mark.parametrize("answer", [ANSWERS, REFUSES])
def test_the_first_answer_wins(tmp_path: Path, answer: str) -> None:
    done = filtered(loaded(tmp_path, ADDS, answer, ADDS_ASYNC))

    assert done.answered_by == "two"
    assert done.annotations["request_changed_by"] == ["three"]
    if isinstance(done.answer, Response):
        assert done.answer.encoded() == b'{"asked": ["hi", "added async"]}'
    else:
        assert done.answer == Refusal(message="not now", status=429, retry_after_seconds=3)


def test_what_a_plugin_does_to_its_copy_without_returning_it_is_not_sent(tmp_path: Path) -> None:
    plugins = loaded(tmp_path, PASSES, SPOILS_AND_RAISES)

    done = filtered(plugins)

    assert done.request.body["messages"] == ["hi"]
    assert done.annotations == {"filters_skipped": ["two"]}
    assert (errors(plugins, "one"), errors(plugins, "two")) == (0, 1)


@pytest.mark.parametrize("sleep", ["time.sleep(60)", "await asyncio.sleep(60)"])
def test_a_filter_that_sleeps_is_skipped_in_time_and_blocks_nobody(tmp_path: Path, sleep: str) -> None:
    kind = "async def" if "await" in sleep else "def"
    plugins = loaded(tmp_path, f"@hookimpl\n{kind} dmrc_request(request):\n    {sleep}", ADDS)
    longest_pause = 0.0

    async def watch() -> None:
        nonlocal longest_pause
        while True:
            began = time.monotonic()
            await asyncio.sleep(0.01)
            longest_pause = max(longest_pause, time.monotonic() - began)

    async def both() -> FilteredRequest:
        watching = asyncio.create_task(watch())
        request = Request(path="/", body={"messages": []}, headers={})
        implementations = plugins.implementations("dmrc_request", (PROJECT,))
        try:
            return await filter_request(implementations, EXCHANGE, request, None)
        finally:
            watching.cancel()

    began = time.monotonic()
    done = asyncio.run(both())

    assert time.monotonic() - began < 10
    assert longest_pause < 5
    assert done.annotations == {"adds": True, "request_changed_by": ["two"], "filters_skipped": ["one"]}


@pytest.mark.slow("waits for a time limit")
def test_a_filter_that_never_comes_back_is_asked_no_more_until_it_does(tmp_path: Path) -> None:
    plugins = loaded(tmp_path, "@hookimpl\ndef dmrc_request(request):\n    time.sleep(60)")
    (plugin,) = plugins.all()
    for _ in range(4):
        filtered(plugins)
    # Each counts from its thread on, which may begin a moment after its caller waits.
    eventually(lambda: all(seconds > limited.LIMIT_SECONDS for seconds in plugin.running_seconds()), "four overdue")

    done = filtered(plugins)

    assert done.skipped == ["one"]
    assert len(plugin.running_seconds()) == 4


@pytest.mark.parametrize(
    "answer",
    [
        "7",
        "request.body",
        'Request(path="/", body=[], headers={})',
        'Request(path="/", body={"x": {1, 2}}, headers={})',
        'Request(path="/", body={}, headers={"x": "a\\r\\nb: c"})',
        "Response(body={}, status=99)",
        'Response(body={}, headers={"x": "☃"})',
        'Response(body={}, headers={"Content-Length": "-1"})',
        'Response(body={}, stands_in="cache")',
        'Refusal(message="m", status=200)',
        "Refusal(message=None)",
        'Refusal(message="m", retry_after_seconds=-1)',
        'Refusal(message="m").annotated(x=object())',
    ],
)
def test_what_nobody_can_send_is_not_sent(tmp_path: Path, answer: str) -> None:
    plugins = loaded(tmp_path, f"@hookimpl\ndef dmrc_request(request):\n    return {answer}")

    done = filtered(plugins)

    assert (done.skipped, done.answer, done.request.body["model"]) == (["one"], None, "m")
    assert errors(plugins) == 1


def test_failures_are_logged_once_a_minute_with_a_count(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugins = loaded(tmp_path, SPOILS_AND_RAISES)
    now = time.monotonic()
    caplog.set_level(logging.WARNING)

    for _ in range(3):
        filtered(plugins)
    monkeypatch.setattr(time, "monotonic", lambda: now + 61)
    filtered(plugins)

    assert [record.getMessage() for record in caplog.records] == [
        "plugin 'one' failed in dmrc_request: ValueError: no",
        "plugin 'one' failed in dmrc_request: ValueError: no (3 times since the last report)",
    ]


CAPTURES = {
    "changed": "return exchange.annotated(seen=True)",
    "none": "return None",
    "raises": "raise ValueError",
    "wrong": "return 7",
    "sleeps": "time.sleep(2)",
}


@pytest.mark.parametrize("name", CAPTURES)
def test_a_capture_is_dropped_unless_its_filter_returns_one(tmp_path: Path, name: str) -> None:
    plugins = loaded(tmp_path, f"@hookimpl\ndef dmrc_filter_capture(exchange):\n    {CAPTURES[name]}")

    kept = filter_capture(plugins.implementations("dmrc_filter_capture", (PROJECT,)), EXCHANGE)

    assert kept == (EXCHANGE.annotated(seen=True) if name == "changed" else None)
    assert errors(plugins) == (name not in ("changed", "none"))


def test_calls_whose_callers_hung_up_count_from_their_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forty callers who hung up left forty threads that nobody counted."""
    monkeypatch.setattr(limited, "LIMIT_SECONDS", 0.3)
    hangs = "import time\n@hookimpl\ndef dmrc_request(request):\n    time.sleep(60)\n"
    plugins = loaded(tmp_path, hangs)
    (implementation,) = plugins.implementations("dmrc_request", (PROJECT,))

    async def story() -> None:
        arguments = {"exchange": EXCHANGE, "request": None}
        for _ in range(4):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(limited.call(implementation, arguments), 0.05)
        await asyncio.sleep(0.5)
        with pytest.raises(limited.PluginError, match="4 earlier calls, given up, still run"):
            await limited.call(implementation, arguments)

    asyncio.run(story())


@pytest.mark.parametrize("seconds", ["2", "0", "-1", "True", "'9'", "float('inf')"])
def test_a_plugin_says_how_long_its_filters_may_take(tmp_path: Path, seconds: str) -> None:
    plugins = Plugins()
    sleeps = PASSES.replace("def", "async def") + "    await asyncio.sleep(0.7)"

    plugin = load(plugins, tmp_path / "one.py", f"dmrc_filter_seconds = {seconds}\n{sleeps}")

    if seconds == "2":
        assert filtered(plugins).skipped == []
    else:
        assert plugin.state == "failed"
        assert str(plugin.reason).endswith("Write a number of seconds above 0")


def test_an_object_is_a_plugin_of_its_project_and_of_no_other_until_it_is_removed(tmp_path: Path) -> None:
    class Answers:
        @hookimpl
        async def dmrc_request(self, request: Request) -> Response:
            return Response(body=b"object")

    plugins = loaded(tmp_path, ADDS)
    added = plugins.add("answers", Answers(), PROJECT)
    with pytest.raises(PluginError, match="another plugin has this name"):
        plugins.add("answers", Answers(), PROJECT)
    plugins.add("answers", Answers(), NOBODY)

    assert plugins.implementations("dmrc_request", ("other",)) == ()
    assert filtered(plugins).answered_by == "answers"
    assert [plugin.name for plugin in plugins.unload_project(PROJECT)] == ["one"]
    assert filtered(plugins).answered_by == "answers"
    plugins.remove(added)
    assert filtered(plugins).answered_by is None
    assert len(plugins.implementations("dmrc_request", (NOBODY,))) == 1
