"""Prompts out of the record, with what a request only names: the responses and the context that it goes on from."""

from __future__ import annotations

import re
from collections.abc import Sequence

from dmrc.capture.bodies import ParsedBodies
from dmrc.capture.conversation import answered
from dmrc.capture.database import ExchangeDatabase
from dmrc.dialects.ollama.context import messages_of
from dmrc.dialects.table import dialect_of
from dmrc.errors import InputError, NotFoundError
from dmrc.exchange import Exchange
from dmrc.fields import JsonObject, JsonValue
from dmrc.json_values import items_of
from dmrc.lens.former import KnownPrompt
from dmrc.lens.prompt import Prompt

_MOST_BYTES = 48 << 20
"""Of request bodies that one reader reads."""

_RESPONSE_ID = re.compile(rb'"id"\s{0,8}:\s{0,8}"(resp_[\w-]{1,100})"')
_ALONE = ("prompt", "input")


class UnreadableError(Exception):
    """The texts of a prompt are not on record; the message says why, to follow "not compared:"."""


class PromptReader:
    """Reads prompts from the record, each once. For one look, and one thread."""

    def __init__(self, database: ExchangeDatabase, earlier: Sequence[Exchange]) -> None:
        """Read from this record; `earlier` are the requests that one may go on from, the newest first."""
        self._database = database
        self._earlier = list(earlier)
        self._known: dict[str, KnownPrompt | None] = {}
        self._whole: dict[str, Exchange | None] = {}
        self._said: dict[str, list[JsonObject]] = {}
        self._responses: dict[str, Exchange] = {}
        self._left = _MOST_BYTES

    def known(self, exchange: Exchange) -> KnownPrompt | None:
        """Return the prompt of an exchange of a list; None where it cannot be read, or too much was read already."""
        if exchange.id not in self._known:
            try:
                self._known[exchange.id] = self.read(exchange)
            except UnreadableError:
                self._known[exchange.id] = None
        return self._known[exchange.id]

    def read(self, exchange: Exchange) -> KnownPrompt:
        """Return the prompt of an exchange, which may be of a list.

        Raises:
            UnreadableError: Its texts are not on record.
        """
        whole = self._with_content(exchange)
        request = ParsedBodies().whole(whole.request_body)
        if not whole.request_body:
            raise UnreadableError("only what was measured is on record, not the texts")
        if whole.request_truncated or not request:
            raise UnreadableError("only the beginning of the request is on record")
        messages = self._messages(whole, request)
        if not messages:
            raise UnreadableError("the request has no messages in words")
        return KnownPrompt(whole, Prompt.of(messages, request))

    def _with_content(self, exchange: Exchange) -> Exchange:
        """Return an exchange with its content.

        Raises:
            UnreadableError: It was deleted just now, or too much was read already.
        """
        if exchange.id not in self._whole:
            whole = None
            if self._left > 0:
                try:
                    whole = self._database.get(exchange.id)
                except NotFoundError:
                    whole = None
            self._left -= 0 if whole is None else len(whole.request_body)
            self._whole[exchange.id] = whole
            if whole is not None and (match := _RESPONSE_ID.search(whole.response_body)) is not None:
                self._responses[match[1].decode()] = whole
        if (found := self._whole[exchange.id]) is None:
            raise UnreadableError("it is not on record any more")
        return found

    def _messages(self, exchange: Exchange, request: JsonObject) -> list[JsonObject]:
        """Return all messages that the model gets, in OpenAI's words, those among them that the request only names."""
        own = dialect_of(exchange.dialect, exchange.operation).messages(request)
        if exchange.operation == "response":
            system = own[:1] if request.get("instructions") else []
            own = [*self._went_before(exchange, request), *map(_as_user, own[len(system) :])]
            self._said[exchange.id] = own
            return [*system, *own]
        if exchange.dialect == "ollama":
            before = _context(request.get("context"))
            if before and request.get("system"):
                before = [one for one in before if one.get("role") != "system"]
            system = own[:1] if before and request.get("system") else []
            return [*system, *before, *map(_as_user, own[len(system) :])]
        return own

    def _went_before(self, exchange: Exchange, request: JsonObject) -> list[JsonObject]:
        """Return what was said up to the response that a request goes on from, and that response."""
        name = request.get("previous_response_id")
        if not isinstance(name, str):
            return []
        former = self._response(name, exchange)
        if former is None:
            raise UnreadableError("it goes on from a response that is not among the last on record")
        if former.id not in self._said:
            self.read(former)
        said = [
            _message(one.role, one.text, one.reasoning, [(call.name, call.arguments) for call in one.calls])
            for one in answered(former)
        ]
        return [*self._said[former.id], *said]

    def _response(self, name: str, exchange: Exchange) -> Exchange | None:
        for one in self._earlier:
            if name in self._responses:
                break
            if one.dialect == exchange.dialect and one.id < exchange.id and one.id not in self._whole:
                try:
                    self._with_content(one)
                except UnreadableError:
                    continue
        found = self._responses.get(name)
        return found if found is not None and found.id < exchange.id else None


def _context(value: JsonValue) -> list[JsonObject]:
    try:
        return items_of(messages_of(value))
    except InputError:  # another server's: the request was refused
        return []


def _as_user(message: JsonObject) -> JsonObject:
    """Return a message with the role that words without one get in a chat."""
    return {**message, "role": "user"} if message.get("role") in _ALONE else message


def _message(role: str, text: str, reasoning: str, calls: Sequence[tuple[str, str]]) -> JsonObject:
    asked: list[JsonValue] = [{"function": {"name": name, "arguments": arguments}} for name, arguments in calls]
    return {"role": role, "content": text, "reasoning_content": reasoning, "tool_calls": asked}
