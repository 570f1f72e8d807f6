"""An exchange for people, in one line, and for programs, as JSON. Pure."""

from __future__ import annotations

import base64
import math
from dataclasses import fields
from datetime import datetime

from dmrc.capture.reading import text_of_request
from dmrc.capture.rows import CONTENT_COLUMNS
from dmrc.exchange import Exchange, JsonValue

_BODIES = ("request_body", "response_body")
_HEADERS = ("request_headers", "response_headers")
_LONGEST_WORDS = 60
_LONGEST_NAME = 40


def line(exchange: Exchange, excerpt: str = "") -> str:
    """Return one line to scan: when, short id, who, model, status, tokens, first token, rate, first words.

    Shape: `14:03:07  1f0c9a3e  facts/python  smollm2  200  25→12 tok  117 ms  104 tok/s  Tell me a fact`.
    `excerpt` is for an exchange without content. What callers wrote cannot move the cursor or change colours.
    """
    who = "/".join(name for name in (exchange.project, exchange.service) if name) or exchange.client_address
    model = exchange.model_key or exchange.model_requested or exchange.model_reference
    words = plain(text_of_request(exchange) or excerpt, _LONGEST_WORDS)
    if exchange.error_message:
        words = f"{plain(exchange.error_message, _LONGEST_WORDS)}  {words}"
    parts = (
        _clock(exchange.received_at),
        short_id(exchange.id),
        plain(who or "-", _LONGEST_NAME),
        plain(model or "-", _LONGEST_NAME),
        _status(exchange),
        f"{_number(exchange.prompt_tokens)}→{_number(exchange.completion_tokens)} tok",
        f"{_number(exchange.first_token_ms)} ms",
        f"{_number(exchange.completion_tokens_per_second)} tok/s",
        words,
    )
    return "  ".join(parts).rstrip()


def short_id(id: str) -> str:
    """Return the last 8 hex digits, which `ExchangeDatabase.get` takes: the beginning of a UUIDv7 is only its time."""
    return plain(id, 36)[-8:]


def plain(text: str, longest: int) -> str:
    """Return the text in one line of at most `longest` characters, without anything a terminal acts on."""
    # isprintable() is False for controls, escapes, line separators, surrogates and the marks that reverse text.
    beginning = "".join(char if char.isprintable() else " " for char in text[: 4 * longest])
    shown = " ".join(beginning.split())
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"


def to_json(exchange: Exchange, with_content: bool) -> dict[str, JsonValue]:
    """Return the exchange as JSON, with the keys of DESIGN.md, section 9, in their order.

    A body is text where it is UTF-8; else it is base64 and `request_body_encoding` or `response_body_encoding` says so.
    Without content the keys of headers, bodies and chunk times are missing.
    """
    result: dict[str, JsonValue] = {}
    for name in (one.name for one in fields(exchange)):
        if name in CONTENT_COLUMNS and not with_content:
            continue
        value = getattr(exchange, name)
        if name in _BODIES:
            result[name], encoding = _body(value)
            if encoding is not None:
                result[f"{name}_encoding"] = encoding
        elif name in _HEADERS or name == "annotations":
            result[name] = dict(value)
        elif name == "chunk_offsets":
            result[name] = [[at, offset] for at, offset in value]
        else:
            result[name] = None if isinstance(value, float) and not math.isfinite(value) else value
    return result


def _body(body: bytes) -> tuple[str, str | None]:
    try:
        return body.decode(), None
    except UnicodeDecodeError:
        return base64.b64encode(body).decode(), "base64"


def _clock(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds).strftime("%H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return "--:--:--"


def _status(exchange: Exchange) -> str:
    text = "-" if exchange.status is None else str(exchange.status)
    if exchange.client_disconnected:
        return f"{text} cancelled"
    broke = exchange.error_type is not None and (exchange.status or 0) < 400
    return f"{text} broken" if broke else text


def _number(value: float | None) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:.0f}"
