"""An answer that a grammar has made `{"name": "…", "arguments": {…}}`, told as the call of a tool that it is."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator

from dmrc.dialects.chat.answers import json_object
from dmrc.exchange import JsonValue
from dmrc.fields import JsonObject
from dmrc.json_values import items_of, object_of

_HEAD = re.compile(r'\s*\{\s*"name"\s*:\s*(?P<name>"(?:[^"\\]|\\.)*")\s*,\s*"arguments"\s*:\s*')
_TAIL = " \t\r\n}"


class ForcedCalls:
    """Tells each choice of an answer as a call; see `Fix`."""

    def __init__(self) -> None:
        """Nothing has come yet."""
        self._calls: dict[JsonValue, _Call] = {}

    def whole(self, document: JsonObject) -> JsonObject:
        """Return the answer, with calls in the place of words."""
        for choice in items_of(document.get("choices")):
            message = object_of(choice.get("message"))
            call = _Call()
            told = [*call.read(str(message.get("content") or "")), *call.rest()]
            if not told:
                continue  # it was cut before the name of the function was told
            arguments = "".join(str(object_of(part["function"])["arguments"]) for part in told)
            function: JsonObject = {"name": object_of(told[0]["function"])["name"], "arguments": arguments}
            message |= {
                "content": None,
                "tool_calls": [{"id": told[0]["id"], "type": "function", "function": function}],
            }
            choice["message"] = message
            choice["finish_reason"] = _reason(choice.get("finish_reason"))
        return document

    def event(self, document: JsonObject) -> Iterator[JsonObject]:
        """Yield an event with the parts of calls in the place of words; one of which nothing is left is left out."""
        choices = items_of(document.get("choices"))
        for choice in choices:
            call = self._calls.setdefault(choice.get("index"), _Call())
            delta = object_of(choice.get("delta"))
            text = delta.pop("content", None)
            told = list(call.read(text)) if isinstance(text, str) else []
            if choice.get("finish_reason"):
                told += call.rest()
                choice["finish_reason"] = _reason(choice["finish_reason"])
                if not call.is_told:
                    delta["content"] = call.text
            elif not delta and not told:
                continue
            yield from self._events(document, choice, delta, told)
        if not choices:
            yield document

    def _events(
        self, document: JsonObject, choice: JsonObject, delta: JsonObject, told: list[JsonObject]
    ) -> Iterator[JsonObject]:
        """Yield one event for what is no call, and one for each part of a call; the reason comes with the last one."""
        deltas: list[JsonObject] = [{"tool_calls": [{"index": 0, **part}]} for part in told]
        if delta or not deltas:
            deltas.insert(0, delta)
        for number, one in enumerate(deltas):
            is_last = number == len(deltas) - 1
            reason = choice.get("finish_reason") if is_last else None
            yield {**document, "choices": [{**choice, "delta": one, "finish_reason": reason}]}


class _Call:
    """One answer while it is written."""

    def __init__(self) -> None:
        self.text = ""
        self.is_told = False
        self._arguments = ""

    def read(self, text: str) -> Iterator[JsonObject]:
        """Yield the parts of the call that are certain with this text: its name first, then its arguments."""
        self.text += text
        if not self.is_told:
            if (head := _HEAD.match(self.text)) is None:
                return
            self.is_told = True
            self.text = self.text[head.end() :]
            function: JsonObject = {"name": json.loads(head["name"]), "arguments": ""}
            yield {"id": f"call_{uuid.uuid4().hex}", "type": "function", "function": function}
        # The end of what came so far may be the end of the whole, and not of the arguments.
        if certain := self.text.rstrip(_TAIL):
            yield from self._part(certain)
            self.text = self.text[len(certain) :]

    def rest(self) -> Iterator[JsonObject]:
        """Yield what is left of the arguments; a last bracket that is not theirs ends the whole."""
        if not self.is_told:
            return
        left = self.text.rstrip()
        is_complete = json_object((self._arguments + left).encode()) or left == "}"
        yield from self._part(left if is_complete else left.removesuffix("}").rstrip())

    def _part(self, text: str) -> Iterator[JsonObject]:
        if text:
            self._arguments += text
            yield {"function": {"arguments": text}}


def _reason(reason: JsonValue) -> JsonValue:
    return "tool_calls" if reason == "stop" else reason
