"""A toy dialect, as a stranger would write it: one file, and its entry in `DIALECTS`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

from dmrc.dialects.chat.answers import ChatAnswer
from dmrc.dialects.chat.events import ChatEvents
from dmrc.dialects.chat.tool_arguments import ArgumentPlace
from dmrc.dialects.dialect import AnswerReader, Call, Clock, Dialect, Route
from dmrc.dialects.table import DIALECTS
from dmrc.errors import DmrcError, InputError
from dmrc.exchange import JsonValue, Operation
from dmrc.json_values import items_of

_Document = dict[str, JsonValue]


class ToyReply:
    """Lines `{"says": "Hel"}`, and a last one with the counts; an answer that is no stream is the two in one."""

    stream_type = "application/x-ndjson"

    def __init__(self) -> None:
        self._answer = ChatAnswer()

    def whole(self, document: _Document, clock: Clock) -> bytes:
        said = "".join(piece.text for piece in self._answer.whole(document))
        return json.dumps({"says": said, **self._over()}).encode()

    def stream(self, events: ChatEvents, clock: Clock) -> bytes:
        pieces = self._answer.stream(events)
        return b"".join(json.dumps({"says": piece.text}).encode() + b"\n" for piece in pieces)

    def stream_end(self, clock: Clock) -> bytes:
        self._answer.check_end()
        return json.dumps(self._over()).encode() + b"\n"

    def _over(self) -> _Document:
        counts = [self._answer.prompt_tokens, self._answer.completion_tokens]
        return {"over": self._answer.reason, "counts": counts}


class ToyRoute:
    """`POST /toy/talk`: `{"model": "m", "talk": [{"by": "me", "line": "Hi"}], "slowly": true}`."""

    operation: Operation = "chat"
    streams_unasked = False
    last_event = re.compile(rb'"over": [^\n]*\n\Z')

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect

    def call(self, document: _Document, body: bytes, project: str | None) -> Call:
        if not (messages := self.dialect.messages(document)):
            raise InputError("nobody talks", remedy="Say something")
        chat: _Document = {"model": document["model"], "messages": [*messages], "stream": bool(document.get("stream"))}
        return Call("/v1/chat/completions", chat, ToyReply())


class ToyDialect:
    name = "toy"
    id_headers = ("x-toy-id",)

    def __init__(self) -> None:
        self._routes: Mapping[str, Route] = {"/toy/talk": ToyRoute(self)}

    def routes(self) -> Mapping[str, Route]:
        return self._routes

    def owns(self, path: str) -> bool:
        return path.startswith("/toy/")

    def error(self, error: DmrcError) -> dict[str, object]:
        return {"sorry": str(error)}

    def last_words(self, error: DmrcError) -> bytes:
        return json.dumps(self.error(error)).encode() + b"\n"

    def messages(self, request: Mapping[str, JsonValue]) -> list[_Document]:
        lines = items_of(request.get("talk"))
        return [{"role": "user" if one.get("by") == "me" else "assistant", "content": one.get("line")} for one in lines]

    def reader(self, operation: Operation) -> AnswerReader:
        return _read

    def tool_arguments(self, answer: _Document) -> Iterator[ArgumentPlace]:
        return iter(())  # toys call no tools


def _read(said: _Document) -> _Document:
    chunk: _Document = {"error": said["sorry"]} if "sorry" in said else {}
    if "says" in said or "over" in said:
        delta: _Document = {"content": said.get("says")}
        chunk["choices"] = [{"index": 0, "delta": delta, "finish_reason": said.get("over")}]
    if isinstance(counts := said.get("counts"), list):
        chunk["usage"] = {"prompt_tokens": counts[0], "completion_tokens": counts[1]}
    return chunk


DIALECTS.insert(0, ToyDialect())
