"""A recorded request as the playground goes on with it. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from dmrc.capture.exports import is_whole
from dmrc.capture.media import MARKER
from dmrc.capture.summary import short_id
from dmrc.comparison.sendable import route_of
from dmrc.dialects.dialect import Call
from dmrc.dialects.table import OPENAI, dialect_of
from dmrc.errors import DmrcError, InputError
from dmrc.exchange import Exchange, JsonValue, changed
from dmrc.json_values import object_of, parse_object
from dmrc.projects import Registration

# The string that is in the place of a picture, with the key of what is no URL.
_MARKER = re.compile(rb'(?P<data>"data"\s*:\s*)?"%b"' % MARKER.pattern.encode())
_WITHOUT_URLS = ("anthropic", "ollama")
_REMEDY = "Send it again from its own page"
_NAMES = {"embedding": "an embedding", "rerank": "a ranking", "completion": "a completion without messages"}


@dataclass(frozen=True, slots=True)
class RecordedChat:
    """A recorded request that the playground goes on with."""

    exchange: Exchange
    """The record."""
    document: dict[str, JsonValue]
    """The same as a chat completion."""
    project: str | None
    """Whose models are asked; None: the store's."""
    notes: tuple[str, ...]
    """What is not as it was sent, in sentences."""

    def to_json(self) -> dict[str, JsonValue]:
        """Return it as the page's script reads it."""
        return {
            "id": self.exchange.id,
            "short": short_id(self.exchange.id),
            "project": self.project,
            "model_key": self.exchange.model_key,
            "model_reference": self.exchange.model_reference,
            "document": self.document,
            "notes": list(self.notes),
        }

    def written(self) -> str:
        """Return that as text; half a character, which callers may send and no UTF-8 has, is escaped.

        Raises:
            InputError: It has a number that is none, as `1e999`.
        """
        try:
            return json.dumps(self.to_json(), allow_nan=False)
        except ValueError as error:
            raise InputError(
                f"request {short_id(self.exchange.id)} has a number that is out of range", remedy=_REMEDY
            ) from error


def read_source(exchange: Exchange, project: Registration | None) -> RecordedChat:
    """Return a recorded request as a chat; `project` is its own, where that is up.

    Raises:
        InputError: It is no chat, or is not on record.
    """
    if exchange.operation not in ("chat", "response"):
        what = _NAMES.get(exchange.operation, f"'{exchange.operation}'")
        raise InputError(f"{what} cannot be opened in the playground", remedy=_REMEDY)
    exchange = _with_pictures(exchange)
    body = parse_object(exchange.request_body)
    if exchange.request_truncated or not body:
        why = "only its beginning" if exchange.request_truncated else "no content"
        raise InputError(f"of request {short_id(exchange.id)} {why} is on record", remedy="Record it with capture full")
    notes = []
    if not is_whole(exchange):
        notes.append("Secrets, pictures and sounds of it are masked in the record: put them in again before you send.")
    if exchange.project and project is None:
        notes.append(f"Project {exchange.project} is not up: the store's models are asked.")
    document = _chat_of(exchange, body, notes)
    return RecordedChat(exchange, document, None if project is None else project.name, tuple(notes))


def _with_pictures(exchange: Exchange) -> Exchange:
    """Return a request with the pictures in it that the record keeps."""

    def restored(match: re.Match[bytes]) -> bytes:
        encoded = object_of(exchange.request_media.get(match["hash"].decode())).get("base64")
        if not isinstance(encoded, str):
            return match[0]
        is_url = match["data"] is None and exchange.dialect not in _WITHOUT_URLS
        head = b"data:%b;base64," % match["kind"] if is_url else b""
        return b'%b"%b%b"' % (match["data"] or b"", head, encoded.encode())

    if not exchange.request_media:
        return exchange
    return changed(exchange, {"request_body": _MARKER.sub(restored, exchange.request_body)})


def _chat_of(exchange: Exchange, body: dict[str, JsonValue], notes: list[str]) -> dict[str, JsonValue]:
    """Return a request of any dialect as a chat completion."""
    if dialect_of(exchange.dialect, exchange.operation) is OPENAI:
        return body
    route = route_of(exchange)
    try:
        call = None if route is None else route.call(body, exchange.request_body, exchange.project)
    except DmrcError as error:
        raise InputError(f"request {short_id(exchange.id)} is not a whole chat: {error.message}") from error
    if not isinstance(call, Call):
        raise InputError("a request without messages cannot be opened in the playground", remedy=_REMEDY)
    notes.append(f"It was sent in the form of {exchange.dialect}, and is shown and sent as a chat completion.")
    return {**call.document, **(call.of_llama_cpp if exchange.engine == "llama.cpp" else {})}
