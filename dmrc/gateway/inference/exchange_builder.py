"""What is seen of one request while it runs; becomes its exchange at the end."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence

from starlette.types import Scope, Send

from dmrc.answer import Answer, Replica
from dmrc.capture.live import Started
from dmrc.capture.masking import mask_credentials
from dmrc.dialects.chat.messages import shown
from dmrc.dialects.dialect import RequestClock, Route
from dmrc.errors import DmrcError, InputError
from dmrc.event_stream import STREAM_TYPES
from dmrc.exchange import Exchange, JsonValue, new_exchange_id
from dmrc.gateway.inference.engine_headers import of_callers, of_fault, of_plugins
from dmrc.gateway.inference.kept_requests import beginning_of, trace_of
from dmrc.gateway.inference.sent_body import SentBody
from dmrc.gateway.server.body_writer import writer_of
from dmrc.gateway.server.page_sessions import SERVICE
from dmrc.gateway.server.request_fields import fields_of
from dmrc.project import parse_keep_alive
from dmrc.projects import Caller
from dmrc.scheduler.lease import Lease
from dmrc.scheduler.target import Target

_LONGEST_LEFT_OUT = 500


class ExchangeBuilder:
    """Sends the answer of one request, and notes everything that passes."""

    def __init__(self, scope: Scope, route: Route, send: Send) -> None:
        """Begin with the request line and its headers."""
        self.id = new_exchange_id()
        self.started = False
        self.is_stream = False
        self.is_complete = False
        self.client_disconnected = False
        self.request_headers = {name: values[-1] for name, values in fields_of(scope).items()}
        self.request_body = b""
        self.document: dict[str, JsonValue] = {}
        self._read_body: bytes | None = None
        self.annotations: dict[str, JsonValue] = {}
        self.client_address: str | None = scope["client"][0] if scope.get("client") else None
        self._received_at = time.time()
        self._clock = time.perf_counter()
        self._send = send
        self._scope = scope
        self._page_service = SERVICE if "dmrc.page" in scope else None
        self.route = route
        self._forwarded: Mapping[str, str] | None = None
        self.caller: Caller | None = None
        self._target: Target | None = None
        self._model_key: str | None = None
        self.lease: Lease | None = None
        self._answer: Answer | None = None
        self._status: int | None = None
        self._error: DmrcError | None = None
        self._response_headers: dict[str, str] = {}
        self.body = SentBody(writer_of(scope, send), self._clock)
        """Takes a body whose length was not told, piece by piece, after `start` and until `send` has no more."""
        self.cancel: Callable[[], None] | None = None
        """Ends the request as a hang-up of its caller would, who is told; None where there is nothing to end."""
        self._left_out = ""
        self.asked: str | None = None
        """The beginning of what was asked, once somebody wanted to see it."""

    def saw_caller(self, caller: Caller | None) -> None:
        """Note whose key it was."""
        self.caller = caller

    def saw_document(self, document: JsonValue) -> None:
        """Note the body as it was read.

        Raises:
            InputError: It is no JSON object.
        """
        if not isinstance(document, dict):
            raise InputError("the request body is not a JSON object")
        self.document = document
        self._read_body = self.request_body

    def document_of(self, body: bytes) -> dict[str, JsonValue] | None:
        """Return what a request body that is recorded was read as; None where plugins wrote it, or it was cut."""
        return self.document if body is self._read_body else None

    def changed_request(self, document: dict[str, JsonValue], headers: Mapping[str, str]) -> None:
        """Note what plugins made of the request: it is what the engine gets, and what is recorded."""
        self.document = document
        self.request_body = json.dumps(document).encode()
        self._forwarded = headers

    def model(self) -> str:
        """Return the model that the request names.

        Raises:
            InputError: It names none, or what it gives is no name.
        """
        model = self.document.get("model")
        if model is not None and not isinstance(model, str):
            raise InputError(f"'model' must be a string, not {shown(model)}")
        if not model or not model.strip():
            raise InputError("the request names no model", remedy='Send "model": …, as in OPENAI_MODEL')
        return model

    @property
    def only_preloads(self) -> bool:
        """Return whether the model is only to be loaded: `docker model run` of Docker Model Runner asks so."""
        return self.request_headers.get("x-preload-only") == "true"

    def keep_alive_seconds(self) -> float | None:
        """Return how long the model shall stay after this request (`keep_alive`, Ollama's field); None: as configured.

        The body passes unchanged: llama.cpp's server ignores fields that it does not know.

        Raises:
            InputError: It is no duration.
        """
        return parse_keep_alive(self.document.get("keep_alive"), "keep_alive")

    def beginning(self) -> Started:
        """Return what can be told of the request before its answer."""
        model = self.document.get("model")
        return Started(
            id=self.id,
            received_at=self._received_at,
            project=self.caller.registration.name if self.caller else None,
            service=self.caller.service if self.caller else self._page_service,
            client_address=self.client_address,
            operation=self.route.operation,
            model=model if isinstance(model, str) else None,
            stream=self.document.get("stream", self.route.streams_unasked) is True,
        )

    def saw_target(self, target: Target, model_key: str | None) -> None:
        """Note what the request will run on."""
        self._target = target
        self._model_key = model_key

    def saw_lease(self, lease: Lease) -> None:
        """Note how long it waited."""
        self.lease = lease

    def saw_answer(self, answer: Answer) -> None:
        """Note who answers."""
        self._answer = answer

    @property
    def replica(self) -> Replica | None:
        """Return which of several servers answered; None where there is one."""
        return self._answer.replica if self._answer is not None else None

    @property
    def _queue_ms(self) -> float | None:
        """Return how long it waited: here, and where its replicas are; None where it never came so far."""
        there = self.replica.waited_ms if self.replica is not None else 0
        return None if self.lease is None else self.lease.queue_ms + there

    def saw_error(self, error: DmrcError) -> None:
        """Note why it failed."""
        self._error = error

    def note(self, name: str, value: JsonValue) -> None:
        """Note something for the record, under a name of its own."""
        self.annotations[name] = value

    def left_out(self, names: Sequence[str]) -> None:
        """Note which fields of the request have no effect; the caller is told by a header."""
        if names:
            # As JSON has them they are ASCII without line ends, as a header must be.
            self._left_out = ", ".join(json.dumps(name)[1:-1] for name in names)[:_LONGEST_LEFT_OUT]
            self.note("left_out", self._left_out)

    def forwarded_headers(self) -> dict[str, str]:
        """Return the headers that the engine gets; see `engine_headers`."""
        if self._forwarded is not None:
            return of_plugins(self._forwarded)
        return of_callers(self.request_headers)

    async def start(
        self, status: int, content_type: str, length: int | None, more: Mapping[str, str] | None = None
    ) -> None:
        """Send the status and the headers."""
        ids = dict.fromkeys(("x-dmrc-exchange-id", *self.route.dialect.id_headers), self.id)
        headers = {**(more or {}), **of_fault(self.annotations, status), "content-type": content_type, **ids}
        if content_type.startswith(STREAM_TYPES):
            self.is_stream = True
            headers["cache-control"] = "no-cache"
            headers["x-accel-buffering"] = "no"
        if length is not None:
            headers["content-length"] = str(length)
        if self._left_out:
            headers["x-dmrc-left-out"] = self._left_out
        if self.lease is not None:
            headers["x-dmrc-queue-ms"] = f"{self._queue_ms:.1f}"
            headers["x-dmrc-load-ms"] = f"{self.lease.load_ms:.1f}"
        self.started = True
        self._status = status
        self._response_headers = headers
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": raw})

    async def send(self, chunk: bytes, *, more: bool) -> None:
        """Send bytes of the body, after those that `body` took, and keep them for the record."""
        await self.body.writer.written()
        if chunk:
            self.body.note(chunk)
        await self._send({"type": "http.response.body", "body": chunk, "more_body": more})
        self.is_complete = not more

    @property
    def clock(self) -> RequestClock:
        """Return what tells how long it took so far."""
        return RequestClock(self._clock, self.lease.load_ms if self.lease else 0.0)

    @property
    def has_said_done(self) -> bool:
        """Return whether a stream's last event was sent: clients hang up then, before the stream itself has ended."""
        return self.route.last_event.search(b"".join(self.body.chunks)) is not None

    @property
    def chunks(self) -> int:
        """Return how many pieces of the answer were sent so far; of a stream each is about a token."""
        return len(self.body.offsets)

    @property
    def path(self) -> str:
        """Return the path of the request."""
        return str(self._scope["path"])

    def so_far(self) -> Exchange:
        """Return the exchange as plugins see it while it goes on: without credentials."""
        return mask_credentials(self.finished())

    def finished(self) -> Exchange:
        """Return the exchange, as far as it can be told without reading the answer."""
        caller, target, lease, error = self.caller, self._target, self.lease, self._error
        trace_id, span_id = trace_of(self.request_headers.get("traceparent"))
        beginning, body = self.beginning(), b"".join(self.body.chunks)
        was_cut = self.body.sent_bytes > len(body)
        asked = self.request_body if lease is not None else beginning_of(self.request_body)
        replica = self.replica
        return Exchange(
            id=self.id,
            trace_id=trace_id,
            span_id=span_id,
            session_id=self.request_headers.get("x-session-id"),
            project=beginning.project,
            service=beginning.service,
            key_id=caller.key_id if caller else None,
            client_address=self.client_address,
            user_agent=self.request_headers.get("user-agent"),
            method=self._scope["method"],
            path=self._scope["path"],
            dialect=self.route.dialect.name,
            operation=self.route.operation,
            model_requested=beginning.model,
            model_key=self._model_key,
            model_reference=target.reference if target else None,
            model_digest=target.digest if target else None,
            engine=target.engine if target else None,
            node=replica.node if replica else None,
            replica=replica.name if replica else None,
            stream=beginning.stream,
            received_at=self._received_at,
            queue_ms=self._queue_ms,
            load_ms=lease.load_ms if lease else None,
            total_ms=(time.perf_counter() - self._clock) * 1000,
            status=self._status,
            error_type=error.error_type if error else None,
            # What may quote the request is content; the answer's body tells it to the record, where that may have it.
            error_message=str(error) if error and not error.quotes_request else None,
            client_disconnected=self.client_disconnected,
            context_tokens=target.context_size if target and lease and lease.runner.knows_context else None,
            request_headers=self.request_headers,
            request_body=asked,
            request_truncated=len(asked) < len(self.request_body),
            response_headers=self._response_headers,
            response_body=body,
            chunk_offsets=tuple(self.body.offsets),
            response_truncated=was_cut,
            annotations=self._notes(len(asked), len(body)),
        )

    def _notes(self, asked_bytes: int, answered_bytes: int) -> dict[str, JsonValue]:
        """Return what was noted, with the sizes of what is not kept in full, and who had the request in vain."""
        notes = dict(self.annotations)
        if self.body.sent_bytes > answered_bytes:
            notes["response_body_bytes"] = self.body.sent_bytes
        if len(self.request_body) > asked_bytes:
            notes["request_body_bytes"] = len(self.request_body)
        if self.replica is not None and self.replica.instead_of:
            notes["instead_of"] = list(self.replica.instead_of)
        return notes
