"""OpenAI's routes, the dialect of every engine: what the check leaves as it is passes byte by byte."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

from dmrc.dialects.chat.tool_arguments import ArgumentPlace, chat_arguments
from dmrc.dialects.dialect import AnswerReader, Call, Route
from dmrc.dialects.openai import record
from dmrc.errors import ContextLengthError, DmrcError
from dmrc.exchange import JsonValue, Operation
from dmrc.fields import JsonObject

_OPERATIONS: Mapping[str, Operation] = {
    "chat/completions": "chat",
    "completions": "completion",
    "embeddings": "embedding",
    "rerank": "rerank",
}


class OpenAIDialect:
    """OpenAI's API, as far as engines speak it."""

    name = "openai"
    id_headers: tuple[str, ...] = ("x-request-id",)

    def __init__(self) -> None:
        routes = {f"{{v1}}/{route}": OpenAIRoute(route, operation, self) for route, operation in _OPERATIONS.items()}
        self._routes: Mapping[str, Route] = {**routes, "{root}/rerank": routes["{v1}/rerank"]}

    def routes(self) -> Mapping[str, Route]:
        """Return its routes; Docker Model Runner, and llama.cpp itself, have `rerank` without `/v1` too."""
        return self._routes

    def owns(self, path: str) -> bool:
        """Return True: what is nobody's is told in these words."""
        del path
        return True

    def error(self, error: DmrcError) -> dict[str, object]:
        """Return `{"error": {"message", "type", "param", "code"}}`."""
        told: dict[str, object] = {"message": str(error), "type": error.error_type, "param": None}
        told["code"] = error.code or error.error_type  # clients expect a text
        if isinstance(error, ContextLengthError):
            # As llama.cpp's server has them.
            told |= {"n_prompt_tokens": error.prompt_tokens, "n_ctx": error.context_tokens}
        return {"error": told}

    def last_words(self, error: DmrcError) -> bytes:
        """Return an error event; `[DONE]` never follows it. Blank lines first end an event that was cut."""
        return b"\n\ndata: " + json.dumps(self.error(error)).encode() + b"\n\n"

    def messages(self, request: Mapping[str, JsonValue]) -> list[dict[str, JsonValue]]:
        """Return the messages of a request; see `Dialect`."""
        return record.messages(request)

    def reader(self, operation: Operation) -> AnswerReader | None:
        """Return None: its answers need no reading."""
        del operation
        return None

    def tool_arguments(self, answer: JsonObject) -> Iterator[ArgumentPlace]:
        """Yield where arguments of tool calls stand; see `Dialect`."""
        return chat_arguments(answer)


class OpenAIRoute:
    streams_unasked = False
    last_event = re.compile(rb"data: ?\[DONE\]\s*\Z")

    def __init__(self, route: str, operation: Operation, dialect: OpenAIDialect | None = None) -> None:
        """Serve `route`, below `/v1/`."""
        self.operation: Operation = operation
        self.dialect = dialect or OpenAIDialect()
        self._path = f"/v1/{route}"

    def call(self, document: dict[str, JsonValue], body: bytes, project: str | None) -> Call:
        """Return the request as it came."""
        del project
        return Call(self._path, document, raw=body)
