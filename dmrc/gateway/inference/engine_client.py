"""One request to an engine: its answer as the dialect reads it, or the error that it means."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from typing import Protocol

from dmrc.answer import Answer
from dmrc.dialects.chat.answers import json_object
from dmrc.dialects.chat.counts import COUNT_PATH
from dmrc.dialects.chat.engine_errors import engine_error, is_unparsed
from dmrc.dialects.chat.fixes import is_stream
from dmrc.dialects.chat.served import Served
from dmrc.dialects.dialect import Call
from dmrc.dialects.openai.embeddings import EMBEDDINGS, texts_of
from dmrc.engines.session import Session
from dmrc.errors import ContextLengthError, DmrcError, UnsupportedError
from dmrc.exchange import JsonValue
from dmrc.gateway.inference.engine_answers import NamedAnswer, ParsedAnswer
from dmrc.gateway.server.json_reading import AT_ONCE_BYTES, written
from dmrc.streaming import beginning

_LARGEST_ERROR_BYTES = 1 << 20
_LARGEST_TOKENS_BYTES = 64 << 20
_NO_SUCH_ROUTE = (404, 405, 501)
_OF_EVERY_ENGINE = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings")


class SeenRequest(Protocol):
    """What is seen of the request for its record."""

    def note(self, name: str, value: JsonValue) -> None:
        """Note something, under a name of its own."""

    def saw_answer(self, answer: Answer) -> None:
        """Note who answers; it is asked when the answer has ended, for that may change until the first chunk."""


class EngineClient:
    """Asks one runner for one caller."""

    def __init__(
        self, session: Session, headers: Mapping[str, str], served: Served, model: bytes, seen: SeenRequest
    ) -> None:
        """Send `headers` too. `model` is the name that the caller gave, as JSON: the answer bears it, no other one."""
        self._session = session
        self._headers = headers
        self._served = served
        self._model = model
        self._seen = seen

    async def ask(self, call: Call) -> Answer:
        """Return the answer to a call, under the name of the model that the caller gave.

        Raises:
            ConnectionError: The runner cannot be reached, or goes away before it has answered.
            DmrcError: The answer is an error: what it means for the caller.
        """
        if call.path == EMBEDDINGS and self._served.is_chat_model:
            self._seen.note("embedding", "the model was made for chats: its embeddings are a mean of what it would say")
        try:
            answer = await self._accepted(call)
        except ContextLengthError as error:
            if call.path != EMBEDDINGS or not self._served.is_llama_cpp or error.context_tokens is None:
                raise
            if not call.truncates:
                await self._name_text(call, error, error.context_tokens)
                raise
            answer = await self._accepted(await self._cut(call, error.context_tokens))
        return NamedAnswer(answer, self._model)

    async def _accepted(self, call: Call) -> Answer:
        has_calls = (
            self._served.is_llama_cpp
            and bool(call.document.get("tools"))
            and call.document.get("tool_choice") != "none"
        )
        answer = await self._session.post(call.path, self._headers, await self._body(call))
        self._seen.saw_answer(answer)
        if answer.status < 400:
            return ParsedAnswer(answer, lambda: self._unparsed(call)) if has_calls and is_stream(answer) else answer
        with closing(answer):
            body, _ = await beginning(answer.into, _LARGEST_ERROR_BYTES)
        if has_calls and is_unparsed(answer.status, body):
            return await self._unparsed(call)
        raise self._refusal(call, answer, body)

    async def _body(self, call: Call) -> bytes:
        """Return the bytes to send, under the name of the model that the server knows; long ones come from a thread."""
        model = self._session.model
        if model is None or call.document.get("model") == model:
            return call.body()
        document = {**call.document, "model": model}
        if call.raw is None or len(call.raw) <= AT_ONCE_BYTES:
            return json.dumps(document).encode()
        return await asyncio.to_thread(lambda: b"".join(written(document)))

    def _refusal(self, call: Call, answer: Answer, body: bytes) -> DmrcError:
        # llama.cpp says what its model lacks by 501.
        is_missing = answer.status in _NO_SUCH_ROUTE and not (self._served.is_llama_cpp and answer.status == 501)
        if is_missing and call.path not in _OF_EVERY_ENGINE:
            what = "counts no tokens" if call.path == COUNT_PATH else f"has no {call.path}"
            engine = f"the engine of model '{self._served.reference}'"
            return UnsupportedError(f"{engine} {what}", remedy="Use engine llama.cpp")
        if is_missing and self._served.is_upstream and not json_object(body).get("error"):
            body = b""  # it says nothing but its status
        return engine_error(answer.status, answer.headers, body, self._served, call.path)

    async def _unparsed(self, call: Call) -> Answer:
        """Ask once more for an answer whose calls llama.cpp cannot read, and let it be words."""
        self._seen.note("tool_calls", "the engine could not read what the model called; its words are the answer")
        again = replace(call, document={**call.document, "tool_choice": "none"}, raw=None)
        return await self._accepted(again)

    async def _cut(self, call: Call, limit: int) -> Call:
        """Return a call for embeddings of as many tokens of each text as the model takes."""
        cut: list[JsonValue] = []
        for text in texts_of(call.document):
            tokens = await self._tokens(text, limit)
            cut.append(text if tokens is None else tokens[:limit])
        self._seen.note("truncated", f"texts were cut to {limit} tokens before they were embedded")
        return replace(call, document={**call.document, "input": cut}, raw=None)

    async def _name_text(self, call: Call, error: ContextLengthError, limit: int) -> None:
        """Say in the error which of several texts it was."""
        texts = texts_of(call.document)
        for number, text in enumerate(texts if len(texts) > 1 else ()):
            tokens = await self._tokens(text, limit)
            if tokens is not None and len(tokens) > limit:
                error.message = f"'input[{number}]' is too long: {error.message}"
                return

    async def _tokens(self, text: JsonValue, limit: int) -> list[JsonValue] | None:
        """Return the tokens of a text that may have more than `limit`, for each has a byte; None of a shorter one."""
        if not isinstance(text, str):
            return text if isinstance(text, list) else None
        if len(text.encode("utf-8", "replace")) < limit:
            return None
        body = json.dumps({"content": text, "add_special": True}).encode()
        answer = await self._session.post("/tokenize", self._headers, body)
        with closing(answer):
            body, _ = await beginning(answer.into, _LARGEST_TOKENS_BYTES)
            tokens = json_object(body).get("tokens")
        return tokens if isinstance(tokens, list) else None
