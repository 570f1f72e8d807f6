"""What is put right in an answer of an engine before its reply says it: OpenAI's words in, and out, as values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from dmrc.answer import Answer
from dmrc.dialects.chat.events import ChatEvent, ChatEvents
from dmrc.fields import JsonObject
from dmrc.json_values import items_of, object_of

# Number and commit of a build: `b6123-79c1160b`.
_LLAMA_CPP = re.compile(r"b\d+-\w+\Z")


class Fix(Protocol):
    """One thing that is put right in the answer to one request; it remembers what came before."""

    def whole(self, document: JsonObject) -> JsonObject:
        """Return an answer that is no stream, put right."""

    def event(self, document: JsonObject) -> Iterator[JsonObject]:
        """Yield what stands in a stream in the place of one event: itself, other ones, or nothing."""


def is_stream(answer: Answer) -> bool:
    """Return whether an answer is a stream of server-sent events."""
    return answer.headers.get("content-type", "").startswith("text/event-stream")


def put_right(events: ChatEvents, fixes: Sequence[Fix]) -> ChatEvents:
    """Return events of a stream, with all put right that `fixes` are about, in their order."""
    return [new for event in events for new in _fixed(event, fixes)] if fixes else events


def _fixed(event: ChatEvent, fixes: Sequence[Fix]) -> Iterable[ChatEvent]:
    if isinstance(event, str) or "error" in event:
        return (event,)
    documents = [event]
    for fix in fixes:
        documents = [new for old in documents for new in fix.event(old)]
    return documents


class WithoutBeginning:
    """Leaves the beginning that the caller gave out of an answer: llama.cpp's server repeats it, but in streams."""

    def __init__(self, beginning: str, *, is_certain: bool = True) -> None:
        """Know what the caller gave, as an assistant's last message.

        Where it is not certain that llama.cpp's server answers, the answer tells.
        """
        self._beginning = beginning
        self._is_certain = is_certain

    def whole(self, document: JsonObject) -> JsonObject:
        """Return the answer, from where the caller's own words end."""
        if not self._is_certain and not _LLAMA_CPP.match(str(document.get("system_fingerprint"))):
            return document
        for choice in items_of(document.get("choices")):
            message = object_of(choice.get("message"))
            content = message.get("content")
            if isinstance(content, str):
                message["content"] = _after(content, self._beginning)
        return document

    def event(self, document: JsonObject) -> Iterator[JsonObject]:
        """Yield the event itself."""
        yield document


def _after(text: str, beginning: str) -> str:
    """Return a text without its beginning; a template may have trimmed the end of that, or the engine its start."""
    for said in (beginning, beginning.rstrip(), beginning.strip()):
        if said and text.startswith(said):
            return text[len(said) :]
    return text
