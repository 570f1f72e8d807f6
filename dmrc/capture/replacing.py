"""What must not be recorded, replaced in every part of an exchange: for secrets, and for what plugins want hidden."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from dmrc.capture.bodies import ParsedBodies
from dmrc.capture.documents import Documents, Edit, Spans, apply, moved
from dmrc.capture.texts import rewrite, rewrite_named, texts_of
from dmrc.exchange import Exchange, JsonValue
from dmrc.secret_texts import merged

REDACTED = "[redacted]"
"""Stands where a secret stood."""

LARGEST_DOCUMENT_BYTES = 8 << 20
"""A body's JSON is taken apart as a whole; of a longer one only the bytes are searched."""

_TEXTS = (
    *("session_id", "user_agent", "path", "model_requested", "finish_reason", "error_type", "error_message"),
    *("trace_id", "span_id"),
)


class SecretFinder(Protocol):
    """Finds what must not be recorded."""

    def in_bytes(self, body: bytes) -> Spans:
        """Return the spans in a body as it is, escapes and all."""

    def in_text(self, text: str) -> Spans:
        """Return the spans in a text without escapes."""

    def finds_in(self, texts: Sequence[str]) -> bool:
        """Return whether `in_text` finds anything in one of the texts."""


class _Patterns:
    """Finds what a plugin's regular expressions match. They are made for texts, so bytes are left to `in_text`."""

    def __init__(self, patterns: Iterable[str | re.Pattern[str]]) -> None:
        self._patterns = [re.compile(pattern) for pattern in patterns]

    def in_bytes(self, _body: bytes) -> Spans:
        return ()

    def in_text(self, text: str) -> Spans:
        return merged(match.span() for pattern in self._patterns for match in pattern.finditer(text) if match[0])

    def finds_in(self, texts: Sequence[str]) -> bool:
        return any(map(self.in_text, texts))


def mask(
    exchange: Exchange, patterns: Iterable[str | re.Pattern[str]] = (), json_paths: Sequence[str] = ()
) -> Exchange:
    """Return the exchange with `[redacted]` for what a plugin wants hidden; for use in `dmrc_filter_capture`.

    `patterns` are regular expressions, matched against texts as a person reads them: unescaped, and joined over the
    events of a stream. `json_paths` name values in the bodies, and in each event of a stream: `messages.*.content`.
    """
    return mask_with(_Patterns(patterns), exchange, json_paths)


def mask_with(
    finder: SecretFinder, exchange: Exchange, json_paths: Sequence[str] = (), bodies: ParsedBodies | None = None
) -> Exchange:
    """Return the exchange with `[redacted]` for all that the finder finds, and at the paths; itself without any."""
    notes = _masked_notes(finder, exchange.annotations)
    texts = {name: value for name in _TEXTS if (value := getattr(exchange, name)) is not None}
    headers = [exchange.request_headers, exchange.response_headers]
    said = [*texts.values(), *(part for one in headers for part in (" ".join(one), *one.values()))]
    bodies = bodies or ParsedBodies()
    asked, answered = (
        None if json_paths else _texts(finder, body, bodies) for body in (exchange.request_body, exchange.response_body)
    )
    # Nearly all that is recorded holds nothing of what is looked for: it is searched at once.
    if asked is not None and answered is not None and not finder.finds_in([*said, *asked, *answered]):
        return exchange if notes is exchange.annotations else replace(exchange, annotations=notes)
    request, response, offsets = exchange.request_body, exchange.response_body, exchange.chunk_offsets
    if asked is None or finder.finds_in(asked):
        request, _ = _masked_body(finder, request, json_paths)
    if answered is None or finder.finds_in(answered):
        response, edits = _masked_body(finder, response, json_paths)
        for made in edits:
            offsets = moved(offsets, made)
    masked: dict[str, Any] = {name: masked_text(finder, value) for name, value in texts.items()}
    return replace(
        exchange,
        **masked,
        request_headers=_masked_headers(finder, exchange.request_headers),
        request_body=request,
        response_headers=_masked_headers(finder, exchange.response_headers),
        response_body=response,
        chunk_offsets=offsets,
        annotations=notes,
    )


def _texts(finder: SecretFinder, body: bytes, bodies: ParsedBodies) -> list[str] | None:
    """Return the texts of a body; None where there is something to replace beside them."""
    if len(body) > LARGEST_DOCUMENT_BYTES:
        return None
    documents = bodies.of(body)
    if finder.in_bytes(body if documents.shorter is None else documents.shorter):
        return None
    return texts_of(documents) if documents.documents else [body.decode("utf-8", "surrogateescape")]


def _masked_body(finder: SecretFinder, body: bytes, json_paths: Sequence[str]) -> tuple[bytes, list[list[Edit]]]:
    """Return the body, masked, and the edits in the order in which they were made."""
    made = []
    if edits := [Edit(start, end, REDACTED.encode()) for start, end in finder.in_bytes(body)]:
        made.append(edits)
        body = apply(body, edits)
    # Read for itself alone, since it is changed.
    documents = Documents.of(body) if len(body) <= LARGEST_DOCUMENT_BYTES else Documents(body)
    if not documents.documents:
        text = body.decode("utf-8", "surrogateescape")
        changed = _replaced(text, finder.in_text(text))
        return (changed.encode("utf-8", "surrogateescape") if changed != text else body), made
    rewrite(documents, finder.in_text, REDACTED)
    for path in json_paths:
        documents.put(path, REDACTED)
    if made or documents.is_changed:
        # The tokens of an answer, one by one and as numbers, say the same as its text.
        documents.drop("logprobs")
    rewrite_named(documents, REDACTED)
    if rewritten := documents.edits():
        made.append(rewritten)
        body = apply(body, rewritten)
    return body, made


def masked_text(finder: SecretFinder, text: str) -> str:
    """Return a text with `[redacted]` for what the finder finds in it."""
    return _replaced(text, finder.in_text(text))


def _replaced(text: str, spans: Spans) -> str:
    parts, position = [], 0
    for start, end in spans:
        parts += [text[position:start], REDACTED]
        position = end
    return "".join([*parts, text[position:]]) if parts else text


def _masked_headers(finder: SecretFinder, headers: Mapping[str, str]) -> dict[str, str]:
    if finder.in_text(" ".join(headers)):
        headers = {masked_text(finder, name): value for name, value in headers.items()}
    return {name: masked_text(finder, value) for name, value in headers.items()}


def _masked_notes(finder: SecretFinder, notes: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
    if not notes:
        return notes
    documents = Documents.of(json.dumps(_renamed(finder, dict(notes))).encode())
    rewrite(documents, finder.in_text, REDACTED)
    rewrite_named(documents, REDACTED)
    (document,) = documents.documents
    return document.value if isinstance(document.value, dict) and document.value != notes else notes


def _renamed(finder: SecretFinder, value: JsonValue) -> JsonValue:
    """Return a value without secrets in its keys."""
    if isinstance(value, dict):
        return {masked_text(finder, name): _renamed(finder, inner) for name, inner in value.items()}
    return [_renamed(finder, inner) for inner in value] if isinstance(value, list) else value
