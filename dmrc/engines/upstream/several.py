"""The HTTP client of several upstreams: a request goes to one, and to another one where the first sends nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from dmrc.answer import Replica, WrappedAnswer
from dmrc.engines.http_client.connectors import UnreachableError
from dmrc.engines.upstream.replica import UpstreamReplica
from dmrc.engines.upstream.replicas import UpstreamReplicas
from dmrc.engines.upstream.session import UpstreamAnswer
from dmrc.errors import UpstreamError
from dmrc.streaming import Sink, Through

_MOST_SENT = 3
"""How many upstreams get one request: what ends the first one may end them all."""
_AT_ONCE_BYTES = 64 << 10
_REFUSALS = (429, 503)


@dataclass(slots=True)
class _Request:
    """One request, and where it has been."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    model: str
    """What the body calls the model."""
    tried: list[UpstreamReplica] = field(default_factory=list)
    """Upstreams that had it in vain, or could not be reached."""
    whys: list[str] = field(default_factory=list)
    """Why, one for each."""
    sent: int = 0
    """How many may have read it."""
    has_asked_all: bool = False
    """Whether those that were left out have been asked for it whether they are back."""

    async def body_for(self, replica: UpstreamReplica) -> bytes:
        """Return the body under the name that an upstream has for the model; a long one comes from a thread."""
        if replica.model == self.model:
            return self.body
        if len(self.body) <= _AT_ONCE_BYTES:
            return self._under(replica.model)
        return await asyncio.to_thread(self._under, replica.model)

    def _under(self, model: str) -> bytes:
        return json.dumps({**json.loads(self.body), "model": model}).encode()

    def failed(self, replica: UpstreamReplica, why: str) -> None:
        """Note that an upstream sent nothing of an answer."""
        self.tried.append(replica)
        self.whys.append(why)


class SeveralAnswer(WrappedAnswer):
    """The answer of one of several upstreams; until its first chunk it may become another one's. See `Answer`."""

    def __init__(self, session: SeveralSession, request: _Request, taken: _Taken) -> None:
        """Read what `taken` gives."""
        super().__init__(taken.answer)
        self._session = session
        self._request = request
        self._taken = taken
        self._has_begun = False

    @property
    def replica(self) -> Replica:
        """Return the upstream that answers, and those that had the request before it."""
        replica = self._taken.replica
        return Replica(replica.name, replica.node, tuple(self._request.whys))

    async def into(self, sink: Sink) -> None:
        """Give the body as it comes."""
        begun = Through(self, sink)
        while True:
            taken = self._taken
            try:
                await taken.answer.into(begun)
            except UpstreamError as error:
                self._session.let_fail(taken, error)
                if self._has_begun:
                    raise
                self._taken = await self._again(error)
            else:
                taken.replica.failures = 0
                return

    def feed(self, chunk: bytes) -> bytes:
        """Note that the body has begun; see `Transform`."""
        self._has_begun = True
        return chunk

    def end(self) -> bytes:
        """Return nothing: nothing was held back."""
        return b""

    async def _again(self, error: UpstreamError) -> _Taken:
        """Ask another one. The status is told already: it must be the same.

        Raises:
            UpstreamError: None is left, or it answers otherwise.
        """
        self._request.failed(self._taken.replica, error.message)
        taken = await self._session.take(self._request)
        if taken.answer.status == self.status and _kind(taken.answer) == _kind(self):
            return taken
        taken.close()
        raise UpstreamError(
            f"{error.message}; {taken.replica.session.name}, asked in its place, answered {taken.answer.status}",
            remedy="Try again",
        )

    def close(self) -> None:
        """Let go of it."""
        self._taken.close()


class _Taken:
    """An answer that was begun, and the slot that it holds of its upstream."""

    def __init__(self, replica: UpstreamReplica, answer: UpstreamAnswer) -> None:
        self.replica = replica
        self.answer = answer
        self._is_closed = False

    def close(self) -> None:
        """Let go of both; a second time changes nothing."""
        if not self._is_closed:
            self._is_closed = True
            self.replica.in_use -= 1
            self.answer.close()


class SeveralSession:
    """The client of several upstreams; see `Session`.

    Until the first byte of an answer's body a request is repeated elsewhere: where its upstream cannot be reached,
    breaks off, or refuses it by 429 or 503. An upstream may then have worked on it in vain.
    """

    def __init__(self, replicas: UpstreamReplicas, model: str) -> None:
        """Choose among `replicas`; requests call the model `model`."""
        self.model: str | None = model
        self._model = model
        self._replicas = replicas

    async def post(self, path: str, headers: Mapping[str, str], body: bytes) -> SeveralAnswer:
        """Send a request; see `Session`.

        Raises:
            UpstreamError: None answers; each is named.
        """
        request = _Request(path, headers, body, self._model)
        return SeveralAnswer(self, request, await self.take(request))

    async def get(self, path: str) -> UpstreamAnswer:
        """Ask any of them for a document; see `Session`.

        Raises:
            UpstreamError: None is there.
        """
        replica = self._replicas.choose(None)
        if replica is None:
            raise self._replicas.none_answers()
        return await replica.session.get(path)

    async def close(self) -> None:
        """End the connections."""
        await self._replicas.close()

    async def take(self, request: _Request) -> _Taken:
        """Send a request to one after another, until one answers it; where all refuse it, return the last refusal.

        Raises:
            UpstreamError: None answers.
        """
        refusals: list[_Taken] = []
        try:
            while (taken := await self._next(request)) is not None:
                if taken.answer.status not in _REFUSALS:
                    return taken
                refusals.append(taken)
                self._let_rest(taken, request)
            if refusals:
                last = refusals.pop()
                del request.whys[request.tried.index(last.replica)]  # it had the request, but not in vain
                return last
        finally:
            for refusal in refusals:
                refusal.close()
        raise _in_vain(request) if request.sent >= _MOST_SENT else self._replicas.none_answers()

    def let_fail(self, taken: _Taken, error: UpstreamError) -> None:
        """Leave an upstream out whose answer broke off."""
        taken.close()
        taken.replica.failed(error.message)
        self._replicas.watch(taken.replica)

    async def _next(self, request: _Request) -> _Taken | None:
        """Return the answer of the next upstream that gives one; None when none is left that may have the request."""
        while request.sent < _MOST_SENT:
            replica = self._replicas.choose(request.headers.get("x-session-id"), request.tried)
            if replica is not None:
                try:
                    return await self._post(replica, request)
                except UpstreamError as error:
                    request.failed(replica, error.message)
            elif request.has_asked_all or not await self._replicas.first_ready(request.tried):
                break
            else:
                request.has_asked_all = True
        return None

    def _let_rest(self, refusal: _Taken, request: _Request) -> None:
        replica = refusal.replica
        request.failed(replica, replica.refused(refusal.answer))
        if not replica.is_ready:
            self._replicas.watch(replica)

    async def _post(self, replica: UpstreamReplica, request: _Request) -> _Taken:
        body = await request.body_for(replica)
        replica.take()
        try:
            answer = await replica.session.post(request.path, request.headers, body)
        except BaseException as error:
            replica.in_use -= 1
            if isinstance(error, UpstreamError):
                cause = error.__cause__
                request.sent += not isinstance(cause, UnreachableError) or cause.was_sent
                replica.failed(error.message)
                self._replicas.watch(replica)
            raise
        request.sent += answer.status not in _REFUSALS
        return _Taken(replica, answer)


def _in_vain(request: _Request) -> UpstreamError:
    return UpstreamError(
        f"{len(request.whys)} upstreams had the request in vain: {'; '.join(request.whys)}",
        remedy="It may be the request that ends them",
    )


def _kind(answer: UpstreamAnswer | SeveralAnswer) -> str:
    return answer.headers.get("content-type", "").partition(";")[0].strip().lower()
