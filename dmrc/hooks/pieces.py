"""The body of an answer that a plugin gives in pieces."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Protocol, runtime_checkable

from dmrc.hooks.event_types import AnswerCut
from dmrc.hooks.plugin import Implementation


@runtime_checkable
class Closes(Protocol):
    """What can be told that nobody reads on, as an async generator."""

    async def aclose(self) -> None:
        """Let go of it; may be called more than once."""


async def pieces_of(
    body: AsyncIterator[bytes], answerer: Implementation, length: int | None = None
) -> AsyncGenerator[bytes]:
    """Yield the pieces that are not empty, as they come; what they come from is closed with this one.

    `length` is what they have together, where the plugin has told the caller.

    Raises:
        AnswerCut: The plugin wants it so; or it failed, which is counted and logged.
    """
    sent = 0
    try:
        async for piece in body:
            if not isinstance(piece, bytes):
                raise TypeError(f"a piece of its answer is {type(piece).__name__}, not bytes")
            sent += len(piece)
            if length is not None and sent > length:
                raise ValueError(f"its answer is longer than its content-length, {length}")
            if piece:
                yield piece
        if length is not None and sent < length:
            raise ValueError(f"its answer ends after {sent} bytes, and its content-length is {length}")
    except AnswerCut:
        raise
    except (Exception, SystemExit) as error:  # the border: third-party code may raise anything
        answerer.plugin.count_error(answerer.hook, error)
        raise AnswerCut(f"plugin '{answerer.plugin.name}' broke its answer off", remedy="See: dmrc logs") from error
    finally:
        if isinstance(body, Closes):
            await body.aclose()
