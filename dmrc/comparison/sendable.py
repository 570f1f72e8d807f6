"""Which recorded requests can be sent again exactly as they were, and why the others cannot."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from dmrc.capture.replacing import REDACTED
from dmrc.comparison.wanted_form import WantedForm
from dmrc.dialects.dialect import Call, Route
from dmrc.dialects.table import dialect_of
from dmrc.errors import DmrcError
from dmrc.exchange import DIFF_HEADER, DIFF_NOTE, FAULT, REPLAYED, Exchange, JsonValue
from dmrc.json_values import object_of, parse_object

MASKED = "has something masked"
"""Why a request is left out that can be sent with the mask."""

_IN_WORDS = ("chat", "completion", "response")
_PRELOADS = "x-preload-only"
_MEDIA = b'"[media '
# What says how a body is to be read; all else of the headers is about who asked.
_HEADERS = ("anthropic-version", "anthropic-beta", "openai-beta")
_OF_AN_ENGINE = re.compile(r"/engines/(?!v1(?:/|$))[^/]+/")


@dataclass(frozen=True, slots=True)
class Sendable:
    """A request that can be sent again."""

    then: Exchange
    """The request, with the answer of then."""
    document: dict[str, JsonValue]
    """Its body."""
    form: WantedForm | None
    """The form that it wants its answer in."""

    @property
    def path(self) -> str:
        """Return its route; one that names an engine becomes the one of any engine."""
        return _OF_AN_ENGINE.sub("/engines/", self.then.path, count=1)

    def body(self, model: str, temperature: float | None = None) -> bytes:
        """Return the body for another model; None leaves the temperature as it is."""
        document = {**self.document, "model": model}
        if temperature is not None and self.then.dialect == "ollama":
            document["options"] = {**object_of(document.get("options")), "temperature": temperature}
        elif temperature is not None:
            document["temperature"] = temperature
        return json.dumps(document).encode()

    def headers(self) -> dict[str, str]:
        """Return the headers, without a key."""
        kept = {name: value for name in _HEADERS if (value := self.then.request_headers.get(name)) is not None}
        return {**kept, "content-type": "application/json", "user-agent": "dmrc-diff", DIFF_HEADER: self.then.id}


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A request that cannot be sent again, or whose answer of then is none to compare with."""

    then: Exchange
    """The request."""
    why: str
    """What is said of the request: `has something masked`."""


def is_of_a_diff(exchange: Exchange) -> bool:
    """Return whether a request was one of `dmrc diff`, and none of an application."""
    return DIFF_NOTE in exchange.annotations


def sendable(exchange: Exchange, *, with_redacted: bool = False) -> Sendable | LeftOut:
    """Return how a recorded request, with its content, is sent again; `with_redacted`: with what masked it, too."""
    if why := _no_answer(exchange) or _no_request(exchange, with_redacted=with_redacted):
        return LeftOut(exchange, why)
    document = parse_object(exchange.request_body)
    route = route_of(exchange)
    if not document or route is None:
        return LeftOut(exchange, "has a form that this version does not know")
    try:
        call = route.call(document, exchange.request_body, None)
    except DmrcError:
        return LeftOut(exchange, "continues a response that only its project can read")
    if not isinstance(call, Call):
        return LeftOut(exchange, "not a chat or a completion")
    return Sendable(exchange, document, WantedForm.of(call.document))


def _no_answer(exchange: Exchange) -> str | None:
    """Return why there is nothing to compare with."""
    notes = exchange.annotations
    if exchange.operation not in _IN_WORDS or exchange.request_headers.get(_PRELOADS) == "true":
        return "not a chat or a completion"
    if notes.get(REPLAYED):
        return "was answered from a recording"
    if notes.get(FAULT):
        return "met a fault that was made on purpose"
    if exchange.client_disconnected:
        return "was cancelled by its caller"
    if (exchange.status or 0) >= 400 or exchange.error_type is not None:
        return "it failed"
    if exchange.model_reference is None:
        return "was answered by a plugin"
    return "has a longer answer than is recorded" if exchange.response_truncated else None


def _no_request(exchange: Exchange, *, with_redacted: bool) -> str | None:
    """Return why the request is not on record as it was sent."""
    body = exchange.request_body
    if not body or not exchange.response_body:
        return "was recorded without content"
    if exchange.request_truncated:
        return "is longer than is recorded"
    if _MEDIA in body:
        return "has pictures or sounds, which are not recorded"
    if REDACTED.encode() in body and not with_redacted:
        return MASKED
    return None


def route_of(exchange: Exchange) -> Route | None:
    """Return the route that a request took, wherever the routes of its dialect begin."""
    routes = dialect_of(exchange.dialect, exchange.operation).routes().items()
    fitting = [(path, route) for path, route in routes if route.operation == exchange.operation]
    ending = [route for path, route in fitting if exchange.path.endswith(path.rpartition("}")[2])]
    return ending[0] if ending else None
