"""How requests reach a model on a host: through the one connection, which is made again where it broke."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import closing

from dmrc.answer import Replica, WrappedAnswer
from dmrc.engines.http_client.http_answer import HttpAnswer
from dmrc.engines.ssh.host import Host
from dmrc.engines.ssh.hosted_use import ENGINE, ERROR_HEADER, HOSTED, USE_HEADER, HostedModel, HostedUse
from dmrc.engines.ssh.link import Link
from dmrc.errors import DmrcError, ModelNotFoundError, UpstreamError
from dmrc.fields import JsonObject
from dmrc.project import host_name
from dmrc.streaming import Sink
from dmrc.told_errors import told_error


class HostAnswer(WrappedAnswer):
    """One answer of an engine on a host; see `Answer`."""

    def __init__(self, answer: HttpAnswer, link: Link, host: Host, on_close: Callable[[], None]) -> None:
        """Read `answer`, which came through `link`; `on_close` is called once."""
        super().__init__(answer)
        self._link = link
        self._host = host
        self._on_close: Callable[[], None] | None = on_close
        name = host_name(host.host)
        headers = answer.headers
        self._replica = Replica(headers.get("x-dmrc-replica") or name, headers.get("x-dmrc-node") or name)

    @property
    def replica(self) -> Replica:
        """Return the host under its name here, or that of its replicas which answers."""
        return self._replica

    async def into(self, sink: Sink) -> None:
        """Give the body as it comes."""
        try:
            await self._answer.into(sink)
        except ConnectionError as error:
            raise await broken(self._host, self._link) from error

    def close(self) -> None:
        """Let go of it, by which the engine there stops computing."""
        super().close()
        if self._on_close is not None:
            self._on_close()
            self._on_close = None


async def broken(host: Host, link: Link) -> ConnectionError:
    """Return the error for an answer that broke off: it was the connection, or the engine at its end."""
    if await link.is_broken():
        return ConnectionError(f"the connection to host '{host.host}' was cut")
    return ConnectionError(f"it ended on host '{host.host}'")


class HostSession:
    """The client of one model on a host; see `Session`. The connection stays for as long as there is one."""

    def __init__(self, host: Host, use: HostedUse) -> None:
        """Connect at the first request."""
        self.model: str | None = None
        self._host = host
        self._use = use
        self._headers = {USE_HEADER: use.header()}
        self._is_closed = False
        self.in_use = 0
        """Answers of which somebody has not let go yet."""
        host.enter()

    async def post(self, path: str, headers: Mapping[str, str], body: bytes) -> HostAnswer:
        """Send a request; see `Session`.

        Raises:
            UpstreamError: There is no connection, and none comes about.
            DmrcError: The dmrc there cannot serve it: its own words.
        """
        return await self._asked("POST", f"{ENGINE}{path}", {**headers, **self._headers}, body)

    async def get(self, path: str) -> HostAnswer:
        """Ask for a document, as `post` does."""
        return await self._asked("GET", f"{ENGINE}{path}", self._headers, b"")

    async def close(self) -> None:
        """Let go of the connection."""
        if not self._is_closed:
            self._is_closed = True
            self._host.leave()

    def _let_go(self) -> None:
        self.in_use -= 1

    async def told(self, what: str) -> HostedModel:
        """Ask what the dmrc there says of the model: to `describe` it, or to `load` it first.

        Raises:
            DmrcError: It cannot be loaded, or is not there.
        """
        document = await self._document(f"{HOSTED}/{what}", json.dumps(self._use.to_json()).encode())
        found = HostedModel.from_json(document)
        self.model = found.name_there
        return found

    async def log(self, lines: int) -> str:
        """Return the end of the log of its engine there.

        Raises:
            DmrcError: There is none.
        """
        body = json.dumps({**self._use.to_json(), "lines": lines}).encode()
        return str((await self._document(f"{HOSTED}/log", body))["log"])

    async def _document(self, path: str, body: bytes) -> JsonObject:
        answer = await self._asked("POST", path, {"content-type": "application/json"}, body)
        with closing(answer):
            text = b"".join([chunk async for chunk in answer])
        if answer.status >= 400:
            raise told_of(self._host.host, text)
        document = json.loads(text)
        return document if isinstance(document, dict) else {}

    async def _asked(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> HostAnswer:
        """Send a request; once more where the connection broke before any word of an answer."""
        is_again = False
        while True:
            link = await self._host.link()
            try:
                if method == "GET":
                    answer = await link.session.get(path, headers)
                else:
                    answer = await link.session.post(path, headers, body)
            except ConnectionError as error:
                why = await broken(self._host, link)
                if is_again or not link.ended.is_set():
                    raise why from error
                is_again = True
                continue
            if ERROR_HEADER not in answer.headers:
                self.in_use += 1
                return HostAnswer(answer, link, self._host, self._let_go)
            with closing(answer):
                raise told_of(self._host.host, b"".join([chunk async for chunk in answer]))


def told_of(host: str, text: bytes) -> DmrcError:
    """Return the error that the dmrc of a host told, with the name of the host."""
    try:
        document = json.loads(text)
    except ValueError:
        return UpstreamError(f"host '{host}' answered with no JSON", remedy="See: dmrc logs")
    error = told_error(document.get("error") if isinstance(document, dict) else None, f"host '{host}'")
    error.message = f"host '{host}': {error.message}"
    if isinstance(error, ModelNotFoundError):
        error.remedy = "Run dmrc up again, which pulls it there"
    return error
