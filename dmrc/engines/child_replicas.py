"""The replicas behind a child of ours that serves none itself, as a bridge to a cluster.

Such a child has `GET /replicas`, an answer without an end: at its beginning and at each change one line of JSON, as
`{"slots": 8, "replicas": [{"name": "llm-1", "node": "box", "state": "ready", "slots": 4, "in_use": 1}]}`; and
`GET /replicas/NAME/log?lines=N`, which is text. Each other answer may say who gave it: `x-dmrc-replica`,
`x-dmrc-node`, and in `x-dmrc-instead-of` who had the request before and sent nothing, as `llm-1: why; llm-2: why`,
and in `x-dmrc-waited-ms` how long the request has waited there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import closing
from typing import cast
from urllib.parse import quote

from dmrc.answer import Answer, Replica
from dmrc.engines.http_client.connectors import Connector
from dmrc.engines.http_client.http_answer import HttpAnswer
from dmrc.engines.http_client.session import HttpSession
from dmrc.engines.replicas import ReplicaState, ReplicaStateName
from dmrc.errors import EngineError, NotFoundError
from dmrc.fields import JsonValue
from dmrc.json_values import parse_object

_LONGEST_LINE_BYTES = 1 << 20
_LONGEST_LOG_BYTES = 8 << 20
_STATES = ("starting", "ready", "draining")


class ChildReplicas:
    """What a child tells of its replicas; see `Replicas`."""

    def __init__(self, connector: Connector) -> None:
        """Ask by `connector`, at the first `changed`."""
        self.slots = 0
        self.notice: str | None = None
        self._states: Sequence[ReplicaState] = ()
        self._session = HttpSession(connector)
        self._news: HttpAnswer | None = None
        self._pieces: AsyncIterator[bytes] | None = None
        self._rest = b""

    def now(self) -> Sequence[ReplicaState]:
        """Return the replicas as the child last told them."""
        return self._states

    async def changed(self) -> None:
        """Wait for the child's next line; of several that have come, for the last one."""
        try:
            if self._pieces is None:
                self._rest, self._news = b"", await self._session.get("/replicas")
                if self._news.status != 200:
                    raise ConnectionError(f"it tells no replicas ({self._news.status})")
                self._pieces = aiter(self._news)
            self._read(await self._line(self._pieces))
        except ConnectionError:
            self._let_go()
            raise

    async def log(self, name: str, lines: int) -> str:
        """Ask the child for the log of a replica; see `Replicas`."""
        with closing(await self._session.get(f"/replicas/{quote(name, safe='')}/log?lines={lines}")) as answer:
            text = b""
            async for chunk in answer:
                text += chunk
                if len(text) > _LONGEST_LOG_BYTES:
                    break
        if answer.status == 404:
            raise NotFoundError(f"there is no replica '{name}'", remedy="Run: dmrc ps")
        if answer.status != 200:
            raise EngineError(f"the log of replica '{name}' cannot be read ({answer.status})", remedy="See: dmrc logs")
        return text.decode("utf-8", "replace")

    async def close(self) -> None:
        """End the connections: a child that is to end would wait for them."""
        self._let_go()
        await self._session.close()

    async def _line(self, pieces: AsyncIterator[bytes]) -> bytes:
        while b"\n" not in self._rest:
            try:
                self._rest += await anext(pieces)
            except StopAsyncIteration:
                raise ConnectionError("it tells no more of its replicas") from None
            if len(self._rest) > _LONGEST_LINE_BYTES:
                raise ConnectionError("what it tells of its replicas has no end")
        lines, _, self._rest = self._rest.rpartition(b"\n")
        return lines.rpartition(b"\n")[2]

    def _read(self, line: bytes) -> None:
        document = parse_object(line)
        slots, replicas = document.get("slots"), document.get("replicas")
        if not isinstance(slots, int) or not isinstance(replicas, list):
            raise ConnectionError("what it tells of its replicas cannot be read")
        self.slots = max(0, slots)
        self._states = [_state(one) for one in replicas if isinstance(one, dict)]

    def _let_go(self) -> None:
        if self._news is not None:
            self._news.close()
        self._news = self._pieces = None


class ReplicaSession:
    """The client of a child that says which of its replicas answers; see `Session`."""

    def __init__(self, session: HttpSession, replicas: ChildReplicas) -> None:
        """Speak by `session`."""
        self.model = session.model
        self._session = session
        self._replicas = replicas

    async def post(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send a request; see `Session`."""
        answer = await self._session.post(path, headers, body)
        answer.replica = _replica(answer.headers)
        return answer

    async def get(self, path: str) -> Answer:
        """Ask for a document; see `Session`."""
        return await self._session.get(path)

    async def close(self) -> None:
        """End the connections, and that for news of the replicas."""
        await self._replicas.close()
        await self._session.close()


def _state(told: Mapping[str, JsonValue]) -> ReplicaState:
    node, state = told.get("node"), told.get("state")
    return ReplicaState(
        name=str(told.get("name") or ""),
        node=node if isinstance(node, str) and node else None,
        state=cast(ReplicaStateName, state if state in _STATES else "starting"),
        slots=_count(told.get("slots")),
        in_use=_count(told.get("in_use")),
    )


def _count(told: JsonValue) -> int:
    return max(0, told) if isinstance(told, int) else 0


def _replica(headers: Mapping[str, str]) -> Replica | None:
    name = headers.get("x-dmrc-replica")
    if not name:
        return None
    before = (one.strip() for one in headers.get("x-dmrc-instead-of", "").split(";"))
    waited = headers.get("x-dmrc-waited-ms", "")
    return Replica(
        name,
        headers.get("x-dmrc-node") or None,
        tuple(one for one in before if one),
        float(waited) if waited.isdecimal() else 0,
    )
