"""The plugin by itself: what is let in, what is refused, and for how long. dmrc's own tests run it in a daemon."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dmrc import Exchange, Project, Refusal, Service
from dmrc.hooks.plugins import Plugins
from dmrc.project import LocalPlugin

FILE = Path(__file__).parent.parent / "dmrc_limits.py"
EXCHANGE = Exchange(
    id="1", method="POST", path="/v1/chat/completions", operation="chat", received_at=0.0, project="shop", service="web"
)


class Limited:
    """The plugin in a project with limits, and a clock that stands still."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, limits: object) -> None:
        self.now = 1000.0
        plugins = Plugins()
        assert plugins.load_local("shop", LocalPlugin.of(FILE)).state == "loaded"
        (self._request,) = plugins.implementations("dmrc_request", ("shop",))
        (self._completed,) = plugins.implementations("dmrc_exchange_completed", ("shop",))
        extensions = {} if limits is None else {"x-dmrc-limits": limits}
        services = {"web": Service("web", extensions=extensions), "other": Service("other")}
        self.project = Project("shop", Path("/"), (), {}, services)
        monkeypatch.setattr(time, "monotonic", lambda: self.now)

    def ask(self, exchange: Exchange = EXCHANGE) -> int | None:
        """Return the seconds to wait for, or None where the request is let in."""
        answer = self._request({"exchange": exchange, "project": self.project})
        refusal = asyncio.run(answer)  # type: ignore[arg-type]
        assert refusal is None or (isinstance(refusal, Refusal) and refusal.status == 429)
        return refusal.retry_after_seconds if refusal else None

    def end(self, **counts: int) -> None:
        """Tell of a request that has ended."""
        self._completed({"exchange": Exchange(**{**{name: getattr(EXCHANGE, name) for name in NAMES}, **counts})})


NAMES = ("id", "method", "path", "operation", "received_at", "project", "service")


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch) -> Callable[[object], Limited]:
    return lambda limits: Limited(monkeypatch, limits)


def test_requests_beyond_the_limit_wait_until_the_first_is_a_minute_old(limited: Callable[[object], Limited]) -> None:
    shop = limited({"requests_per_minute": 2})

    assert shop.ask() is None
    shop.now += 10
    assert (shop.ask(), shop.ask()) == (None, 50)
    shop.now += 49.5
    assert shop.ask() == 1
    shop.now += 0.5
    assert (shop.ask(), shop.ask()) == (None, 10)


def test_tokens_are_counted_when_a_request_ends_and_cached_ones_are_free(limited: Callable[[object], Limited]) -> None:
    shop = limited({"tokens_per_minute": 100})

    assert shop.ask() is None
    shop.end(prompt_tokens=80, cached_tokens=30, completion_tokens=40)
    assert shop.ask() is None
    shop.now += 20
    shop.end(prompt_tokens=200, completion_tokens=10)
    assert shop.ask() == 60
    shop.now += 60
    assert shop.ask() is None


def test_a_service_without_the_field_and_a_caller_without_a_key_have_no_limit(
    limited: Callable[[object], Limited], monkeypatch: pytest.MonkeyPatch
) -> None:
    free = limited(None)
    assert [free.ask() for _ in range(100)] == [None] * 100
    none_at_all = limited({"requests_per_minute": 0})
    assert none_at_all.ask() == 60
    none_at_all.project = None
    assert none_at_all.ask() is None


@pytest.mark.parametrize("limits", [7, {"requests": 7}, {"requests_per_minute": "many"}, {"tokens_per_minute": -1}])
def test_a_field_that_cannot_be_meant_is_said(limited: Callable[[object], Limited], limits: object) -> None:
    with pytest.raises(ValueError, match="x-dmrc-limits"):
        limited(limits).ask()
