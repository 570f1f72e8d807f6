"""Ollama's inference routes, `/api/chat`, `generate`, `embed` and `embeddings`, as dialects of the gateway.

An option of a request is for that request: none of them changes how the project or `dmrc configure` has the model
served, and so `num_ctx` and its like have no effect.

Source: https://github.com/ollama/ollama/blob/main/docs/api.md
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from dmrc.dialects.chat.tool_arguments import ArgumentPlace
from dmrc.dialects.dialect import AnswerReader, Call, LoadOrUnload, Route
from dmrc.dialects.ollama import record, requests
from dmrc.dialects.ollama.replies import Embeddings, OllamaReply, error_line, residence
from dmrc.errors import DmrcError, InputError
from dmrc.exchange import JsonValue, Operation
from dmrc.fields import JsonObject
from dmrc.json_values import items_of


class OllamaDialect:
    """Ollama's API."""

    name = "ollama"
    id_headers: tuple[str, ...] = ("x-request-id",)

    def __init__(self) -> None:
        self._routes: Mapping[str, Route] = {
            "/api/chat": OllamaChat(self),
            "/api/generate": OllamaGenerate(self),
            "/api/embed": OllamaEmbed(self, is_single=False),
            "/api/embeddings": OllamaEmbed(self, is_single=True),
        }

    def routes(self) -> Mapping[str, Route]:
        """Return its inference routes."""
        return self._routes

    def owns(self, path: str) -> bool:
        """Return whether a path is below `/api/`."""
        return path.startswith("/api/")

    def error(self, error: DmrcError) -> dict[str, object]:
        """Return `{"error": "…"}`."""
        return {"error": str(error)}

    def last_words(self, error: DmrcError) -> bytes:
        """Return an error line; `"done": true` never follows it."""
        return error_line(str(error))

    def messages(self, request: Mapping[str, JsonValue]) -> list[dict[str, JsonValue]]:
        """Return the messages of a request; see `Dialect`."""
        return record.messages(request)

    def reader(self, operation: Operation) -> AnswerReader:
        """Return what reads an answer; see `Dialect`."""
        del operation
        return record.OllamaReader().read

    def tool_arguments(self, answer: JsonObject) -> Iterator[ArgumentPlace]:
        """Yield where arguments of tool calls stand; see `Dialect`."""
        return record.tool_arguments(answer)


class OllamaChat:
    """`POST /api/chat`."""

    operation: Operation = "chat"
    streams_unasked = True
    last_event = re.compile(rb'"done":true[^\n]*\n\Z')

    def __init__(self, dialect: OllamaDialect | None = None) -> None:
        """Serve it in the words of `dialect`."""
        self.dialect = dialect or OllamaDialect()

    def call(self, document: JsonObject, body: bytes, project: str | None) -> Call | LoadOrUnload:
        """Return the chat; without messages the model is loaded, or unloaded."""
        del body, project
        model = document.get("model")
        left_out = requests.left_out(document, requests.CHAT)
        if requests.is_nothing(document, "messages"):
            return LoadOrUnload(residence("chat", model, "load"), residence("chat", model, "unload"))
        return Call("/v1/chat/completions", requests.chat(document), OllamaReply("chat", model), left_out=left_out)


class OllamaGenerate(OllamaChat):
    """`POST /api/generate`."""

    operation: Operation = "completion"

    def call(self, document: JsonObject, body: bytes, project: str | None) -> Call | LoadOrUnload:
        """Return the chat of one message; with `raw` the completion, with `suffix` the infill."""
        del body, project
        left_out = requests.left_out(document, requests.GENERATE)
        if document.get("template"):
            raise InputError(
                "'template' cannot be changed by a request", remedy="Use raw, or: dmrc package --chat-template FILE"
            )
        model = document.get("model")
        if requests.is_nothing(document, "prompt", "suffix", "images"):
            return LoadOrUnload(residence("generate", model, "load"), residence("generate", model, "unload"))
        reply = OllamaReply("generate", model)
        for plain in ("suffix", "raw"):
            for name in ("system", "context", "images"):
                if document.get(plain) and document.get(name):
                    raise InputError(f"'{name}' has no place beside '{plain}'", remedy="Send one of the two")
        if document.get("suffix"):
            return Call("/infill", requests.infill(document), reply, left_out=left_out)
        if document.get("raw"):
            return Call("/v1/completions", requests.raw(document), reply, left_out=left_out)
        chat = requests.generate(document)
        said = [message for message in items_of(chat["messages"]) if isinstance(message["content"], str)]
        return Call("/v1/chat/completions", chat, OllamaReply("generate", model, [*said]), left_out=left_out)


class OllamaEmbed(OllamaChat):
    """`POST /api/embed`, and the older `/api/embeddings` of a single text."""

    operation: Operation = "embedding"
    streams_unasked = False

    def __init__(self, dialect: OllamaDialect | None = None, *, is_single: bool) -> None:
        """Answer with one embedding, or with a list of them."""
        super().__init__(dialect)
        self._is_single = is_single

    def call(self, document: JsonObject, body: bytes, project: str | None) -> Call | LoadOrUnload:
        """Return the texts; without any the model is loaded, or unloaded."""
        del body, project
        left_out = requests.left_out(document, requests.EMBED)
        reply = Embeddings(document.get("model"), is_single=self._is_single)
        if requests.is_nothing(document, "input", "prompt"):
            return LoadOrUnload(reply.nothing(), reply.nothing())
        truncates = requests.flag(document, "truncate", default=True)
        return Call("/v1/embeddings", requests.embed(document), reply, truncates=truncates, left_out=left_out)
