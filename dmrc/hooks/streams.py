"""One filter around the stream of one answer: its chunks while it works, the engine's own after it failed."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass

from dmrc.errors import PluginError
from dmrc.exchange import Exchange, JsonValue
from dmrc.hooks.event_types import Annotate, AnswerCut
from dmrc.hooks.plugin import Implementation, first_line
from dmrc.hooks.timeouts import call, limit_of, too_long

_END = object()


def _unheard(**_notes: JsonValue) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PassingAnswer:
    """What filters are told of an answer on its way."""

    exchange: Exchange
    """The exchange so far."""
    answered_by: str | None = None
    """The plugin whose answer it is; None: it is an engine's."""
    annotate: Annotate = _unheard
    """Leaves notes for the exchange."""

    def arguments(self) -> dict[str, object]:
        """Return it as arguments of the hook."""
        return {"exchange": self.exchange, "answered_by": self.answered_by, "annotate": self.annotate}


class StreamFilter:
    """One implementation of `dmrc_response_stream`, at work on one answer."""

    def __init__(self, implementation: Implementation, passing: PassingAnswer, stream: AsyncIterator[bytes]) -> None:
        """Begin with nothing read."""
        self._implementation = implementation
        self._passing = passing
        self._stream = stream
        self._longest = limit_of(implementation)
        self._taken: list[bytes] = []
        self._limit = asyncio.timeout(None)
        self._broken: BaseException | None = None
        self._seconds = 0.0

    async def chunks(self, changed_by: list[str]) -> AsyncGenerator[bytes]:
        """Yield the answer. A plugin that wants this one is added to `changed_by`.

        Raises:
            Exception: What reading the engine's stream raised, and nothing of the plugin's but `AnswerCut`.
        """
        plugin = self._implementation.plugin
        try:
            answer = await call(self._implementation, {**self._passing.arguments(), "stream": self._source()})
            if answer is not None:
                changed_by.insert(0, plugin.name)  # the filter nearest to the engine is asked last
                async with contextlib.aclosing(self._of_plugin(answer)) as chunks:
                    async for chunk in chunks:
                        yield chunk
                return
        except PluginError as error:  # counted and logged: the engine's own chunks follow
            if isinstance(error.__cause__, AnswerCut):
                raise error.__cause__ from None
            for chunk in self._taken:
                yield chunk
        finally:
            plugin.count_call(self._seconds, calls=0)
        async for chunk in self._stream:
            yield chunk

    async def _of_plugin(self, answer: object) -> AsyncGenerator[bytes]:
        """Yield what the plugin makes of the stream.

        Raises:
            PluginError: It failed; counted and logged already.
            AnswerCut: It breaks the answer off.
        """
        if not isinstance(answer, AsyncIterator):
            raise self._failed(f"it returned {type(answer).__name__}, not an async iterator")
        try:
            while (chunk := await self._next(answer)) is not _END:
                if not isinstance(chunk, bytes):
                    raise self._failed(f"it yielded {type(chunk).__name__}, not bytes")
                self._taken.clear()
                yield chunk
        finally:
            if isinstance(answer, AsyncGenerator):
                await self._close(answer)
        if self._broken is not None:
            raise self._broken

    async def _next(self, answer: AsyncIterator[object]) -> object:
        """Return the plugin's next chunk; the time that it waits for the engine is not its own."""
        began = time.perf_counter()
        try:
            async with asyncio.timeout(self._longest) as self._limit:
                return await anext(answer, _END)
        except AnswerCut:
            raise
        except (Exception, SystemExit) as error:
            if self._broken is not None:
                raise self._broken from None
            raise self._failed(too_long(self._longest) if self._limit.expired() else error) from error
        finally:
            self._seconds += time.perf_counter() - began

    async def _source(self) -> AsyncGenerator[bytes]:
        """Yield the engine's chunks to the plugin, and remember those that it has not answered yet."""
        while True:
            self._set_limit(None)
            began = time.perf_counter()
            try:
                chunk = await anext(self._stream)
            except StopAsyncIteration:
                return
            except BaseException as error:
                self._broken = error
                raise
            finally:
                self._seconds -= time.perf_counter() - began
                self._set_limit(asyncio.get_running_loop().time() + self._longest)
            self._taken.append(chunk)
            yield chunk

    def _set_limit(self, when: float | None) -> None:
        with contextlib.suppress(RuntimeError):  # a plugin may read ahead, when no limit runs
            self._limit.reschedule(when)

    async def _close(self, answer: AsyncGenerator[object]) -> None:
        try:
            async with asyncio.timeout(self._longest):
                await answer.aclose()
        except (Exception, SystemExit) as error:  # noqa: BLE001 counted and logged
            self._failed(error)

    def _failed(self, problem: BaseException | str) -> PluginError:
        """Count and log a failure, and return the error for it."""
        self._implementation.plugin.count_error(self._implementation.hook, problem)
        return PluginError(first_line(problem))
