"""A model whose chat template has no end: its child is ended, whether it takes the processor or the memory."""

from __future__ import annotations

import asyncio
import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from dmrc.engines.llama_cpp.engine import LlamaCpp
from dmrc.scheduler.budget import needs
from dmrc.scheduler.lease import Lease
from dmrc.scheduler.states import RunnerState
from dmrc.scheduler.supervision import most_bytes
from tests.scheduler.conftest import Workshop, children, play, until, use
from tests.tiny_gguf import write_tiny_llama

pytestmark = pytest.mark.engine

_LOOPS = "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}"
_EATS = "{% for a in range(100000) %}{% for b in range(100000) %}{{ 'much of nothing ' * 64 }}{% endfor %}{% endfor %}"
_EVIL = (
    "{% if messages[0].content == 'EVIL' %}" + _LOOPS + "{% endif %}"
    "{% if messages[0].content == 'EAT' %}" + _EATS + "{% endif %}{{ messages[0].content }}"
)


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("evil") / "evil.gguf"
    return write_tiny_llama(path, context_length=4096, chat_template=_EVIL)


async def _say(lease: Lease, word: str) -> None:
    body = json.dumps({"messages": [{"role": "user", "content": word}], "max_tokens": 4}).encode()
    with closing(
        await lease.session.post("/v1/chat/completions", {"content-type": "application/json"}, body)
    ) as answer:
        async for _ in answer:
            pass


def test_a_child_that_computes_for_nobody_is_ended(
    workshop: Workshop, evil: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    scheduler = workshop.scheduler()
    monkeypatch.setattr("dmrc.scheduler.supervision.LOOK_SECONDS", 1.0)
    monkeypatch.setattr("dmrc.scheduler.supervision.BUSY_SECONDS", 1.0)

    async def story() -> None:
        async with scheduler.lease(workshop.target(gguf=evil)) as lease:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await _say(lease, "EVIL")
        (child,) = children()

        await until(lambda: not scheduler.runners(), "the child is ended", seconds=30)

        assert lease.runner.state is RunnerState.FAILED
        assert not child.is_running()
        (death,) = scheduler.backoff.latest
        assert "was ended: it kept the processor busy" in death.cause
        assert lease.runner.failure == death.cause
        await use(scheduler, workshop.target(gguf=evil))  # whoever asks for something else is served

    play(scheduler, story)

    assert "without a request" in caplog.text


def test_a_child_that_computes_for_somebody_or_rests_is_left_alone(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler = workshop.scheduler()
    monkeypatch.setattr("dmrc.scheduler.supervision.LOOK_SECONDS", 0.05)
    monkeypatch.setattr("dmrc.scheduler.supervision.BUSY_SECONDS", 0.2)

    async def story() -> None:
        first = children()
        for _ in range(20):
            await use(scheduler, workshop.target())
            first = first or children()
        await asyncio.sleep(1)

        assert children() == first

    play(scheduler, story)


def test_a_child_far_over_its_estimate_is_ended_under_its_caller_who_hears_why(
    workshop: Workshop, evil: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler = workshop.scheduler()
    monkeypatch.setattr("dmrc.scheduler.supervision.LOOK_SECONDS", 0.2)
    monkeypatch.setattr("dmrc.scheduler.supervision.most_bytes", lambda *_: 200 << 20)

    async def story() -> None:
        async with scheduler.lease(workshop.target(gguf=evil)) as lease:
            with pytest.raises(ConnectionError):
                await _say(lease, "EAT")

        assert "was ended: it took " in str(lease.runner.failure)
        assert "MB of memory, and by the estimate it takes " in str(lease.runner.failure)

    play(scheduler, story)


def test_the_bound_follows_the_estimate(workshop: Workshop) -> None:
    (need,) = needs(LlamaCpp(None), workshop.target())

    assert most_bytes(need, 0) > need.memory.bare_bytes * 1.5
    assert most_bytes(need, 0) < 2 << 30

    roomy = replace(need, memory=replace(need.memory, prompt_cache_bytes=8 << 30))
    assert most_bytes(roomy, 3) - most_bytes(roomy, 0) == 3 * 2 * need.memory.kv_bytes
    assert most_bytes(need, 0, loaded_bytes=5 << 30) == (5 << 30) + (1 << 30), "a driver's RAM is no request's doing"
    assert most_bytes(roomy, 1 << 40) == most_bytes(roomy, 0) + (8 << 30)
