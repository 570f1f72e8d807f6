"""A tiny model for real children, and stories about the runners' HTTP client."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest
import uvloop

from tests.engines.certificates import Authority
from tests.tiny_gguf import write_tiny_llama

_T = TypeVar("_T")
_SECONDS = 20


@pytest.fixture(params=["asyncio", "uvloop"])
def play(request: pytest.FixtureRequest) -> Callable[[Awaitable[_T]], _T]:
    """Run a story on the daemon's kind of event loop, and on Python's own."""
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop

    def run(story: Awaitable[_T]) -> _T:
        complaints: list[dict[str, object]] = []

        async def main() -> _T:
            asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
            return await asyncio.wait_for(story, _SECONDS)

        with asyncio.Runner(loop_factory=factory) as runner:
            result = runner.run(main())
        assert not complaints
        return result

    return run


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory, needs_engine: None) -> Path:
    return write_tiny_llama(tmp_path_factory.mktemp("models") / "tiny.gguf", context_length=2048)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory, needs_process: None) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def trusted(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """The same, which this process trusts."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    return authority
