"""What is put right in an answer of an engine before its dialect reads it: OpenAI's words in, and out."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from typing import Protocol

from dmrc.answer import Answer
from dmrc.dialects.chat.answers import json_object
from dmrc.event_stream import EventReader
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


class FixedAnswer:
    """The answer to a request, with all that is put right in it; see `Answer`."""

    def __init__(self, answer: Answer, fixes: Sequence[Fix]) -> None:
        """Put right what `fixes` are about, in their order."""
        self._answer = answer
        self._fixes = fixes
        self.status = answer.status
        self.headers: Mapping[str, str] = answer.headers

    def close(self) -> None:
        """Let go of it."""
        self._answer.close()

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Return the chunks."""
        return self._stream() if is_stream(self._answer) else self._whole()

    async def _whole(self) -> AsyncGenerator[bytes]:
        body = b"".join([chunk async for chunk in self._answer])
        document = json_object(body)
        if not document:
            yield body
            return
        for fix in self._fixes:
            document = fix.whole(document)
        yield _encoded(document)

    async def _stream(self) -> AsyncGenerator[bytes]:
        reader = EventReader()
        async for chunk in self._answer:
            if fixed := b"".join(self._event(event.data) for event in reader.read(chunk)):
                yield fixed

    def _event(self, data: bytes) -> bytes:
        document = json_object(data)
        if not document or "error" in document:
            return b"" if data == b"null" else b"data: " + data + b"\n\n"
        documents = [document]
        for fix in self._fixes:
            documents = [new for old in documents for new in fix.event(old)]
        return b"".join(b"data: " + _encoded(one) + b"\n\n" for one in documents)


def _encoded(document: JsonObject) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


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
