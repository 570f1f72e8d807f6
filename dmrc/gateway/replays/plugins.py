"""The two plugins of a run: one answers requests from cassettes, the other writes into cassettes what models answer."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial

from dmrc import hookimpl
from dmrc.cassettes.errors import CassetteError
from dmrc.cassettes.interaction import Asked, route_of
from dmrc.cassettes.runs import Miss, ReplayRun
from dmrc.cassettes.turns import Taken
from dmrc.engines.recorded.server import NOT_RECORDED
from dmrc.errors import DmrcError
from dmrc.exchange import KEY_SCOPE, REPLAYED, Exchange
from dmrc.gateway.replays.asking import AT_ONCE_BYTES, MeantModel, RequestReader, UnrecordableError, only_loads
from dmrc.gateway.replays.playing import PlayedPieces
from dmrc.gateway.server.page_sessions import is_of_page
from dmrc.hooks.event_types import Refusal, Request, Response, StandIn
from dmrc.project import RECORDED_ENGINE, Project, Replay

_HANG_UP_LOOKS, _HANG_UP_SECONDS = 10, 0.002


class Answering:
    """Answers requests with what was answered to equal ones."""

    dmrc_filter_seconds = 60.0
    """To look for the nearest recorded request takes a second among ten thousand."""

    def __init__(self, run: ReplayRun, replay: Replay, reader: RequestReader) -> None:
        """Answer out of `run`, as `replay` says."""
        self._run = run
        self._replay = replay
        self._reader = reader

    @hookimpl(trylast=True)
    async def dmrc_request(
        self, exchange: Exchange, request: Request, project: Project | None
    ) -> Response | Refusal | None:
        """Answer from a cassette; what is in none is refused where no model may be asked, and passes elsewhere."""
        began = asyncio.get_running_loop().time() - (exchange.total_ms or 0.0) / 1000
        if is_of_page(exchange):
            return None  # what a person tries takes no answer away from the application
        model = self._reader.meant(exchange, request, project)
        if model is None:
            return None  # the caller is told, as always, that there is no such model for it
        service = _service(exchange)
        try:
            asked = await self._reader.asked(exchange, request, model)
            is_long = len(exchange.request_body) > AT_ONCE_BYTES
            key = await asyncio.to_thread(self._run.key, asked) if is_long else self._run.key(asked)
            await self._heard_of_hang_ups(service, key)
            taken = await self._take(service, asked, key, stream=exchange.stream)
        except (UnrecordableError, CassetteError) as error:
            return self._unanswered(exchange, request, model, error)
        if taken is not None:
            return self._response(taken, model, began)
        if self._passes(exchange, request):
            return None
        miss = await asyncio.to_thread(self._run.miss, service, asked)
        return _refusal(miss.message)

    async def _take(self, service: str | None, asked: Asked, key: str, *, stream: bool) -> Taken | None:
        """Return the answer to a request; None where no cassette has it. A long one is read in a thread."""
        turn = self._run.turn(service, asked, key, stream=stream)
        if turn is None:
            return None
        try:
            read = partial(turn.read, asked, stream=stream)
            return Taken(turn, read() if turn.size_bytes <= AT_ONCE_BYTES else await asyncio.to_thread(read))
        except BaseException:
            turn.released()
            raise

    async def _heard_of_hang_ups(self, service: str | None, key: str) -> None:
        """Wait a moment where an equal request is being answered.

        Its caller may have hung up, and ask again already: the answer that was not delivered is this one's then. The
        end of a connection and the request on the next one come at once, in either order.
        """
        for _ in range(_HANG_UP_LOOKS):
            if not self._run.is_under_way(service, key):
                return
            await asyncio.sleep(_HANG_UP_SECONDS)

    def _passes(self, exchange: Exchange, request: Request) -> bool:
        """Return whether a request goes on that no cassette answers: a model may be asked, or it wants no words."""
        return self._replay.needs_models or only_loads(exchange, request)

    def _unanswered(self, exchange: Exchange, request: Request, model: MeantModel, why: DmrcError) -> Refusal | None:
        """Refuse what cannot be looked for, or given. Its text may hold what must not be recorded: no report has it."""
        if self._passes(exchange, request):
            return None
        service = _service(exchange)
        who = f"service '{service}'" if service else "somebody"
        message = f"{who} asked what cannot be replayed: {why}"
        asked = Asked(
            dialect=exchange.dialect,
            operation=exchange.operation,
            path=route_of(exchange.path),
            model=model.key or model.name,
            body={},
        )
        self._run.missed(Miss(service, asked, message))
        return _refusal(message)

    def _response(self, taken: Taken, model: MeantModel, began: float) -> Response:
        answer = taken.answer
        headers = {**answer.headers, "content-type": answer.content_type, "x-dmrc-recorded": taken.place}
        if not answer.is_stream:
            headers["content-length"] = str(len(answer.body))
        return Response(
            body=PlayedPieces(taken, self._replay.speed, began),
            status=answer.status,
            headers=headers,
            annotations={REPLAYED: taken.place},
            stands_in=StandIn(engine=RECORDED_ENGINE, model_reference=answer.model or model.name, model_key=model.key),
        )


class Recording:
    """Writes what models answer into cassettes."""

    def __init__(self, run: ReplayRun) -> None:
        """Write into the cassettes of `run`."""
        self._run = run

    @hookimpl
    def dmrc_exchange_completed(self, exchange: Exchange) -> None:
        """Take a finished request in, or count why it is left out."""
        if REPLAYED not in exchange.annotations and not is_of_page(exchange):
            self._run.add(replace(exchange, service=_service(exchange)))


def _service(exchange: Exchange) -> str | None:
    """Return whose cassette it is; None for who is of no project, whatever key a person has made for it."""
    is_nobodys = exchange.project is None or exchange.project.startswith(KEY_SCOPE)
    return None if is_nobodys else exchange.service


def _refusal(message: str) -> Refusal:
    return Refusal(message=message, status=422, error_type=NOT_RECORDED, annotations={NOT_RECORDED: True})
