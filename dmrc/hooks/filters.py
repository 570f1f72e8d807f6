"""Filters: what is asked while a request, its answer or its capture passes. Nothing here runs where none is loaded."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from dmrc.errors import PluginError
from dmrc.exchange import Exchange, JsonValue
from dmrc.hooks.event_types import Refusal, Request, Response, StandIn
from dmrc.hooks.plugin import Implementation
from dmrc.hooks.streams import PassingAnswer, StreamFilter
from dmrc.hooks.timeouts import call, call_blocking
from dmrc.project import Project

_LONGEST_RETRY_SECONDS = 86_400
_LONG_BYTES = 256 << 10
"""To copy what is longer takes a thread: 160,000 messages are half a second."""


@dataclass(slots=True)
class FilteredRequest:
    """A request after its filters."""

    request: Request
    """What goes to the engine, where there is no answer."""
    answer: Response | Refusal | None = None
    """What goes to the caller in place of the engine's answer."""
    changed_by: list[str] = field(default_factory=list)
    """Plugins that changed the request, in order."""
    answerer: Implementation | None = None
    """Who gave the answer."""
    skipped: list[str] = field(default_factory=list)
    """Plugins that failed, and were passed over."""

    @property
    def answered_by(self) -> str | None:
        """Return the name of the plugin that gave the answer."""
        return self.answerer.plugin.name if self.answerer else None

    @property
    def annotations(self) -> dict[str, JsonValue]:
        """Return the notes of the plugins, and which plugin did what."""
        notes = {**self.request.annotations, **(self.answer.annotations if self.answer else {})}
        if self.changed_by:
            notes["request_changed_by"] = list(self.changed_by)
        if self.answered_by:
            notes["answered_by"] = self.answered_by
        if self.skipped:
            notes["filters_skipped"] = list(self.skipped)
        return notes


async def filter_request(
    implementations: Sequence[Implementation], exchange: Exchange, request: Request, project: Project | None
) -> FilteredRequest:
    """Ask each implementation of `dmrc_request` in turn. Never raises for what a plugin does."""
    filtered = FilteredRequest(request)
    for one in implementations:
        # A copy for each: what one changes before it fails, or after its time is over, must not be sent.
        body = filtered.request.body
        is_long = len(exchange.request_body) > _LONG_BYTES
        copied = await asyncio.to_thread(copy.deepcopy, body) if is_long else copy.deepcopy(body)
        offered = replace(filtered.request, body=copied)
        try:
            answer = await call(one, {"exchange": exchange, "request": offered, "project": project})
        except PluginError:
            filtered.skipped.append(one.plugin.name)
            continue
        if (wrong := _wrong(answer)) is not None:
            one.plugin.count_error(one.hook, wrong)
            filtered.skipped.append(one.plugin.name)
        elif isinstance(answer, Request):
            _take(filtered, answer, one.plugin.name)
        elif isinstance(answer, Response | Refusal):
            filtered.answer, filtered.answerer = answer, one
            break
    return filtered


def filter_stream(
    implementations: Sequence[Implementation],
    passing: PassingAnswer,
    stream: AsyncIterator[bytes],
    changed_by: list[str],
) -> AsyncGenerator[bytes]:
    """Return the stream of an answer as the implementations of `dmrc_response_stream` leave it; at least one.

    The first one is the nearest to the engine, or to the plugin that answers. Whoever takes part is added to
    `changed_by` when the stream is read. What reading `stream` raises comes through, and `AnswerCut`.
    """
    first, *others = implementations
    filtered = StreamFilter(first, passing, stream).chunks(changed_by)
    for one in others:
        filtered = StreamFilter(one, passing, filtered).chunks(changed_by)
    return filtered


def for_plugins_answers(implementations: Sequence[Implementation]) -> Sequence[Implementation]:
    """Return those implementations of `dmrc_response_stream` that are also for what plugins answer: who asks whose."""
    return [one for one in implementations if "answered_by" in one.argument_names]


def filter_capture(implementations: Sequence[Implementation], exchange: Exchange) -> Exchange | None:
    """Return what `dmrc_filter_capture` leaves of an exchange; None, too, when one fails. Blocks for their time."""
    for one in implementations:
        try:
            kept = call_blocking(one, {"exchange": exchange})
        except PluginError:
            return None
        if not isinstance(kept, Exchange):
            if kept is not None:
                one.plugin.count_error(one.hook, f"it returned {type(kept).__name__}, not an Exchange")
            return None
        exchange = kept
    return exchange


def _take(filtered: FilteredRequest, answer: Request, name: str) -> None:
    before = filtered.request
    if (answer.body, dict(answer.headers)) != (before.body, dict(before.headers)):
        filtered.changed_by.append(name)
    filtered.request = replace(before, body=answer.body, headers=answer.headers, annotations=answer.annotations)


def _wrong(answer: object) -> str | None:
    """Return what is wrong with what a plugin returned from `dmrc_request`; None when nothing is."""
    match answer:
        case None:
            return None
        case Request(body=body, headers=headers, annotations=notes) if isinstance(body, dict):
            return _not_json(body) or _not_headers(headers) or _not_json(dict(notes))
        case Response(body=body, status=status, headers=headers, annotations=notes) if _is_status(status, 200):
            wrong = None if isinstance(body, bytes | AsyncIterator) else _not_json(body)
            wrong = wrong or _not_headers(headers) or _no_length(headers)
            return wrong or _not_json(dict(notes)) or _not_whose(answer)
        case Refusal(message=str(), status=status, annotations=notes) if _is_status(status, 400):
            seconds = answer.retry_after_seconds
            if seconds is not None and not (isinstance(seconds, int) and 0 <= seconds <= _LONGEST_RETRY_SECONDS):
                return f"its retry_after_seconds are {seconds!r}"
            return _not_json(dict(notes))
        case Request() | Response() | Refusal():
            return f"it returned a {type(answer).__name__} with a body, status or message that cannot be"
    return f"it returned {type(answer).__name__}, not a Request, Response, Refusal or None"


def _is_status(status: object, lowest: int) -> bool:
    return isinstance(status, int) and lowest <= status < 600


def _not_json(value: object) -> str | None:
    try:
        json.dumps(value)
    except (TypeError, ValueError, RecursionError) as error:
        return f"what it returned is not JSON: {error}"
    return None


def _not_whose(answer: Response) -> str | None:
    return None if isinstance(answer.stands_in, StandIn | None) else "its stands_in is not a StandIn"


def _no_length(headers: Mapping[str, str]) -> str | None:
    length = next((value for name, value in headers.items() if name.lower() == "content-length"), "0")
    return None if length.isdecimal() else f"its content-length is {length!r}"


def _not_headers(headers: Mapping[str, str]) -> str | None:
    for name, value in headers.items():
        try:
            text = f"{name}:{value}".encode("latin-1")
        except UnicodeEncodeError:
            return f"header {name!r} is not latin-1"
        if b"\r" in text or b"\n" in text or not (isinstance(name, str) and isinstance(value, str)):
            return f"header {name!r} is not one line of text"
    return None
