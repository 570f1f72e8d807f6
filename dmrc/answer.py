"""Who answers a request, and the answer while it comes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:  # asyncio is heavy, and the command line only knows what an answer is
    from dmrc.streaming import Sink

ServerKind = Literal["llama-server", "vllm", "upstream", "other"]
"""Whose server answers: llama.cpp's or vLLM's, of which it is known what they leave out in silence and what they cannot
do; somebody else's, which refuses itself what it does not know; or another one, of which nothing but OpenAI's routes is
known."""


@dataclass(frozen=True, slots=True)
class Replica:
    """One of several servers of the same model behind one runner."""

    name: str
    """What `dmrc ps` calls it: `llm-2`; of an upstream its URL."""
    node: str | None = None
    """The machine that it is on, where that is known."""
    instead_of: tuple[str, ...] = ()
    """Replicas that had the same request before it and sent nothing, with why: `llm-1: it closed the connection`."""
    waited_ms: float = 0
    """How long the request waited for it, outside of the queue of the model here."""

    def __str__(self) -> str:
        """Return it as messages name it."""
        return f"replica '{self.name}'" + (f" on node '{self.node}'" if self.node else "")


class Answer(Protocol):
    """The answer to one request, whose status and headers have come: `into` gives its body, or `async for`.

    Chunks come as they are read, and are no further read than they are taken, so a slow caller slows the engine down
    instead of filling memory.
    """

    @property
    def status(self) -> int:
        """Return the HTTP status."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Return the headers; their names are in lower case."""

    @property
    def replica(self) -> Replica | None:
        """Return who answers, where there are several; it may be another one until the first chunk has come."""

    async def into(self, sink: Sink) -> None:
        """Give the chunks that are left to a sink, as they come, and return at the end of the body.

        What the sink raises is raised, and what came after that chunk is there for the next `into`.

        Raises:
            ConnectionError: The answer broke off before its end.
        """

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Return the chunks that are left, none of which is empty; it raises as `into` does."""

    def close(self) -> None:
        """Let go of it. Before its end that ends the connection, by which the engine stops computing."""


class WrappedAnswer:
    """An answer whose body is given otherwise than as it comes; see `Answer`."""

    def __init__(self, answer: Answer) -> None:
        """Tell what `answer` does of itself."""
        self._answer = answer
        self.status = answer.status
        self.headers = answer.headers

    @property
    def replica(self) -> Replica | None:
        return self._answer.replica

    async def into(self, sink: Sink) -> None:
        """Give the body; see `Answer`."""
        await self._answer.into(sink)

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Return the body as it comes."""
        from dmrc.streaming import chunks_of

        return chunks_of(self.into)

    def close(self) -> None:
        """Let go of it."""
        self._answer.close()
