"""What the page of one request shows, and the panel beside the list: one set of values for both."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from dmrc.capture.bodies import ParsedBodies
from dmrc.capture.conversation import answered, asked
from dmrc.capture.database import ExchangeDatabase
from dmrc.capture.exports import FORMS, is_whole
from dmrc.capture.live import Started
from dmrc.capture.parameters import parameters_of, tools_of
from dmrc.capture.reading import ESTIMATED, text_of_request
from dmrc.capture.summary import cells, outcome, plain, running_cells
from dmrc.exchange import FAULT, FAULT_PLANNED, FAULT_SKIPPED, REPLAYED, Exchange
from dmrc.figures import count_text, share_text, span_text
from dmrc.lens.record import look
from dmrc.ui.cache import cache_view
from dmrc.ui.messages import message_views
from dmrc.ui.pieces import pieces
from dmrc.ui.timeline import segments, ticks

_LONGEST_TITLE = 160
_LONGEST_FACT = 300
_LONGEST_FAULT = 40
_COPIES = {"curl": "curl", "python": "Python", "node": "JavaScript"}
_OPERATIONS = {
    "chat": "Chat",
    "completion": "Completion",
    "embedding": "Embedding",
    "response": "Response",
    "rerank": "Ranking",
    "count_tokens": "Count of tokens",
}
# Notes of dmrc's own, which are told in words elsewhere.
_OWN_NOTES = frozenset({ESTIMATED, FAULT, FAULT_PLANNED, REPLAYED, "request_body_bytes", "response_body_bytes"})


@dataclass(frozen=True, slots=True)
class Fact:
    """A name and a value."""

    name: str
    """What it is."""
    value: str
    """For people."""
    href: str = ""
    """Where it leads: to the requests that have the same."""
    is_code: bool = False
    """Whether it is a name of machines."""


@dataclass(frozen=True, slots=True)
class Badge:
    """A state in a word."""

    style: str
    """`done`, `failed`, `cancelled`, `replayed` or `fault`."""
    text: str
    """`Failed 404`."""


@dataclass(frozen=True, slots=True)
class ContextUse:
    """How much of its context a request used."""

    used: int
    """Tokens of the prompt and the answer."""
    whole: int
    """Tokens that there are."""

    @property
    def text(self) -> str:
        """Return it for people: `116 of 4,096 tokens (3 %)`."""
        return f"{self.used:,} of {self.whole:,} tokens ({share_text(self.used / self.whole)})"


def detail_values(database: ExchangeDatabase, exchange: Exchange) -> dict[str, object]:
    """Return what `request_detail.html` shows. It blocks: it reads what may be long, and what was asked before."""
    request = ParsedBodies().whole(exchange.request_body)
    cache = cache_view(look(database, exchange))
    told = asked(exchange)
    mark = cache.mark_among(len(told)) if cache else None
    messages = message_views(told, exchange.request_media, mark)
    said = answered(exchange)
    return {
        "exchange": exchange,
        "base": f"/ui/requests/{exchange.id}",
        "row": cells(exchange),
        "title": _title(exchange),
        "badges": badges(exchange),
        "facts": _facts(exchange),
        "links": _links(exchange),
        "received": time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(exchange.received_at)),
        "segments": segments(exchange),
        "ticks": ticks(exchange),
        "tokens": _tokens(exchange),
        "context": _context(exchange),
        "parameters": parameters_of(exchange, request),
        "tools": tools_of(request),
        "cache": cache,
        "mark": mark,
        "messages": messages,
        "answers": message_views(said, {}, first=len(told) + 1),
        "pieces": pieces(exchange),
        "copies": {name: label for name, label in _COPIES.items() if FORMS[name].accepts(exchange)},
        "is_whole": is_whole(exchange),
        "notes": _notes(exchange),
    }


def running_values(started: Started, tokens: int | None) -> dict[str, object]:
    """Return what `request_running.html` shows of a request that has not ended.

    `tokens` are those that it has so far; None: it waits for its model.
    """
    return {
        "started": started,
        "title": plain(started.prompt, _LONGEST_TITLE) or _OPERATIONS.get(started.operation, started.operation),
        "row": running_cells(started, ""),
        "tokens": tokens,
        "neighbours": None,
        "exchange": None,
    }


def badges(exchange: Exchange) -> list[Badge]:
    """Return the states of a request, how it ended first."""
    status = exchange.status
    match outcome(exchange):
        case "cancelled":
            found = [Badge("cancelled", "Cancelled")]
        case "failed" if (status or 0) < 400:
            found = [Badge("failed", "Broken off")]
        case "failed":
            found = [Badge("failed", f"Failed {status}")]
        case _:
            found = [Badge("done", "Done")]
    if REPLAYED in exchange.annotations:
        found.append(Badge("replayed", "Replayed"))
    if isinstance(fault := exchange.annotations.get(FAULT), str):
        found.append(Badge("fault", f"Fault: {plain(fault, _LONGEST_FAULT)}"))
    return found


def _title(exchange: Exchange) -> str:
    """Return what was asked, in the words of a person, else what kind of request it is."""
    return plain(text_of_request(exchange), _LONGEST_TITLE) or _OPERATIONS[exchange.operation]


def _tokens(exchange: Exchange) -> list[Fact]:
    estimated = exchange.annotations.get(ESTIMATED) == "completion_tokens"
    out = count_text(exchange.completion_tokens)
    known = (
        ("Tokens in", count_text(exchange.prompt_tokens)),
        ("From the cache", count_text(exchange.cached_tokens)),
        ("Tokens out", f"about {out}" if out and estimated else out),
        ("First token", span_text(exchange.first_token_ms)),
        ("Prefill", _rate(exchange.prompt_tokens_per_second)),
        ("Decode", _rate(exchange.completion_tokens_per_second)),
    )
    return [Fact(name, value) for name, value in known if value]


def _rate(value: float | None) -> str:
    return f"{text} tok/s" if (text := count_text(value)) else ""


def _context(exchange: Exchange) -> ContextUse | None:
    if not exchange.context_tokens or exchange.prompt_tokens is None:
        return None
    return ContextUse(exchange.prompt_tokens + (exchange.completion_tokens or 0), exchange.context_tokens)


def _facts(exchange: Exchange) -> list[Fact]:
    """Return where a request came from and who answered, of which only what is known is told."""
    told = {
        "Project": Fact("Project", exchange.project or "", _filter(project=exchange.project)),
        "Service": Fact("Service", exchange.service or "", _filter(project=exchange.project, service=exchange.service)),
        "Model": Fact("Model", exchange.model_reference or "", _filter(model=exchange.model_reference)),
        "Asked for": Fact("Asked for", exchange.model_requested or ""),
        "Digest": Fact("Digest", (exchange.model_digest or "")[:19], is_code=True),
        "Engine": Fact("Engine", exchange.engine or ""),
        "Replica": Fact("Replica", exchange.replica or ""),
        "Node": Fact("Node", exchange.node or "", _filter(node=exchange.node)),
        "Finish reason": Fact("Finish reason", exchange.finish_reason or ""),
        "Route": Fact("Route", f"{exchange.method} {exchange.path}", is_code=True),
        "Container": Fact("Container", (exchange.container or "")[:12], is_code=True),
        "Address": Fact("Address", exchange.client_address or "", is_code=True),
        "Client": Fact("Client", exchange.user_agent or ""),
        "Session": Fact("Session", exchange.session_id or "", _filter(session=exchange.session_id), is_code=True),
        "Trace": Fact("Trace", exchange.trace_id or "", _filter(trace=exchange.trace_id), is_code=True),
        "ID": Fact("ID", exchange.id, is_code=True),
    }
    return [
        Fact(one.name, plain(one.value, _LONGEST_FACT), one.href, one.is_code) for one in told.values() if one.value
    ]


def _filter(**given: str | None) -> str:
    known = {name: value for name, value in given.items() if value}
    return f"/ui/requests?{urlencode(known)}" if known else ""


def _links(exchange: Exchange) -> Mapping[str, str]:
    """Return where the service and the model of a request lead."""
    return {
        "service": _filter(project=exchange.project, service=exchange.service),
        "model": _filter(model=exchange.model_key or exchange.model_reference or exchange.model_requested),
    }


def _notes(exchange: Exchange) -> dict[str, str]:
    """Return the notes of plugins, each as text: a word as it is, anything else as JSON."""
    notes = {name: value for name, value in exchange.annotations.items() if name not in _OWN_NOTES}
    skipped = notes.pop(FAULT_SKIPPED, None)
    told = {name: value if isinstance(value, str) else json.dumps(value, indent=2) for name, value in notes.items()}
    return told if skipped is None else {**told, "fault that was skipped": str(skipped)}
