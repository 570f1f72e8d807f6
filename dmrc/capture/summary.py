"""An exchange for people, in the cells of one line, and for programs, as JSON. Pure."""

from __future__ import annotations

import base64
import math
import time
from dataclasses import dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from dmrc.capture.reading import ESTIMATED, text_of_request
from dmrc.capture.rows import CONTENT_COLUMNS
from dmrc.errors import DmrcError
from dmrc.exchange import DIFF_NOTE, FAULT, KEY_SCOPE, REPLAYED, Exchange, JsonValue
from dmrc.figures import count_text, share_text, span_text
from dmrc.reference import Reference

if TYPE_CHECKING:
    from dmrc.capture.live import Started  # it imports asyncio, which most commands do without

_BODIES = ("request_body", "response_body")
_HEADERS = ("request_headers", "response_headers")
_LONGEST_WORDS = 200
_LONGEST_NAME = 40
_GENERATING = ("chat", "completion", "response")


@dataclass(frozen=True, slots=True)
class Cells:
    """One request as a person scans it, a field for each cell; "" is what is not known yet.

    What callers wrote cannot move the cursor or change colours.
    """

    time: str
    """`14:03:07`; with the day when that is not today: `11-23 14:03`."""
    id: str
    """Its short id."""
    who: str
    """`project/service`, else the address."""
    model: str
    """Key in the project, else its name as `dmrc list` has it; "" where the request named none."""
    place: str = ""
    """The node whose replica answered, else the replica; "" where one server answers all."""
    status: str = ""
    """`200`, `200 cancelled`, `200 broken`, `404`."""
    tokens: str = ""
    """In and out: `325.4k→84.3k`; `25→~12` where the answer broke off and its pieces were counted."""
    context: str = ""
    """How much of its context it used: `12 %`."""
    first_token: str = ""
    """`117 ms`."""
    took: str = ""
    """The whole time: `1.20 s`."""
    rate: str = ""
    """`104 tok/s`."""
    fault: str = ""
    """`made on purpose: cut`; "" where nothing was."""
    error: str = ""
    """Why it failed; "" when it did not."""
    words: str = ""
    """The first words of the prompt."""


def cells(exchange: Exchange, excerpt: str | None = None, today: datetime | None = None) -> Cells:
    """Return what a line shows.

    `excerpt` has the first words that were asked; None: they are read from the request. `today` None is now.
    """
    name = exchange.model_requested or exchange.model_reference
    return Cells(
        time=_clock(exchange.received_at, today or datetime.now()),
        id=short_id(exchange.id),
        who=who(exchange.project, exchange.service, exchange.client_address),
        model=plain(exchange.model_key or (model_name(name) if name else ""), _LONGEST_NAME),
        place=plain(exchange.node or exchange.replica or "", _LONGEST_NAME),
        status=_status(exchange),
        tokens=_tokens(exchange),
        context=share_text(context_share(exchange)),
        first_token=span_text(exchange.first_token_ms),
        took=span_text(exchange.total_ms),
        rate=_rate(exchange.completion_tokens_per_second),
        fault=made_on_purpose(exchange),
        error=plain(exchange.error_message or "", _LONGEST_WORDS),
        words=plain(_marked(exchange, text_of_request(exchange) if excerpt is None else excerpt), _LONGEST_WORDS),
    )


def made_on_purpose(exchange: Exchange) -> str:
    """Return which fault a request met that was made on purpose: `made on purpose: rate_limit`; "" for none."""
    fault = exchange.annotations.get(FAULT)
    return f"made on purpose: {plain(fault, _LONGEST_NAME)}" if isinstance(fault, str) else ""


def running_cells(started: Started, status: str, took: str = "") -> Cells:
    """Return what a line shows of a request that still runs."""
    return Cells(
        time=time.strftime("%H:%M:%S", time.localtime(started.received_at)),
        id=short_id(started.id),
        who=who(started.project, started.service, started.client_address),
        model=plain(model_name(started.model) if started.model else "", _LONGEST_NAME),
        status=status,
        took=took,
        words=plain(started.prompt, _LONGEST_WORDS),
    )


def context_share(exchange: Exchange) -> float | None:
    """Return which part of its context a request has used; None where one of the two is not known."""
    if not exchange.context_tokens or exchange.prompt_tokens is None:
        return None
    return (exchange.prompt_tokens + (exchange.completion_tokens or 0)) / exchange.context_tokens


def model_name(name: str | None) -> str:
    """Return one spelling of a model's name, however its caller wrote it: as `dmrc list` has it; `-` for none."""
    if not name:
        return "-"
    try:
        return Reference.parse(name).display()
    except DmrcError:
        return name


def outcome(exchange: Exchange) -> Literal["done", "failed", "cancelled"]:
    """Return how a request ended, in one word."""
    if exchange.was_cancelled:
        return "cancelled"
    return "failed" if exchange.error_type is not None or (exchange.status or 0) >= 400 else "done"


def short_id(id: str) -> str:
    """Return the last 8 hex digits, which `ExchangeDatabase.get` takes: the beginning of a UUIDv7 is only its time."""
    return plain(id, 36)[-8:]


def plain(text: str, longest: int) -> str:
    """Return the text in one line of at most `longest` characters, without anything a terminal acts on."""
    shown = " ".join(printable(text[: 4 * longest]).split())
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"


def printable(text: str) -> str:
    """Return the text with a space for each character that a terminal may act on, line ends included."""
    # isprintable() is False for controls, escapes, line separators, surrogates and the marks that reverse text.
    return "".join(char if char.isprintable() else " " for char in text)


def to_json(exchange: Exchange, with_content: bool) -> dict[str, JsonValue]:
    """Return the exchange as JSON, with the names of its fields as keys, in their order.

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


def from_json(document: dict[str, JsonValue]) -> Exchange:
    """Return the exchange that `to_json` wrote without content; keys that an exchange does not have are ignored."""
    known = {one.name for one in fields(Exchange)}
    return Exchange(**{name: value for name, value in document.items() if name in known})  # type: ignore[arg-type]


def _body(body: bytes) -> tuple[str, str | None]:
    try:
        return body.decode(), None
    except UnicodeDecodeError:
        return base64.b64encode(body).decode(), "base64"


def who(project: str | None, service: str | None, address: str | None) -> str:
    """Return who asks, in a word: `project/service`, else the address; `-` for nobody known."""
    is_key = (project or "").startswith(KEY_SCOPE)  # the service is in it
    names = (project, None if is_key else service)
    return plain("/".join(name for name in names if name) or address or "", _LONGEST_NAME)


def _marked(exchange: Exchange, words: str) -> str:
    """Return the words after what says that no application sent them: `(diff of aed47506) How large …`."""
    of = exchange.annotations.get(DIFF_NOTE)
    return f"(diff of {short_id(of)}) {words}" if isinstance(of, str) else words


def _clock(seconds: float, today: datetime) -> str:
    try:
        then = datetime.fromtimestamp(seconds)
    except (ValueError, OverflowError, OSError):
        return "--:--:--"
    return then.strftime("%H:%M:%S" if then.date() == today.date() else "%m-%d %H:%M")


def _status(exchange: Exchange) -> str:
    text, note = "" if exchange.status is None else str(exchange.status), ""
    if exchange.was_cancelled:
        note = "cancelled"
    elif exchange.error_type is not None and (exchange.status or 0) < 400:
        note = "broken"
    elif REPLAYED in exchange.annotations:
        note = "replayed"
    return f"{text} {note}".strip()


def _tokens(exchange: Exchange) -> str:
    given, made = exchange.prompt_tokens, exchange.completion_tokens
    if made is None or (made == 0 and exchange.operation not in _GENERATING):
        return count_text(given)
    mark = "~" if exchange.annotations.get(ESTIMATED) == "completion_tokens" else ""
    return f"{count_text(given)}→{mark}{count_text(made)}"


def _rate(value: float | None) -> str:
    return "" if value is None or not math.isfinite(value) else f"{value:.0f} tok/s"
