"""One request to an engine: its answer as the dialect reads it, or the error that it means."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, closing
from dataclasses import replace
from typing import Protocol

from dmrc.answer import Answer, Replica
from dmrc.dialects.chat.answers import json_object
from dmrc.dialects.chat.counts import COUNT_PATH
from dmrc.dialects.chat.engine_errors import UNPARSED, engine_error, is_unparsed
from dmrc.dialects.chat.fixes import is_stream
from dmrc.dialects.chat.served import Served
from dmrc.dialects.dialect import Call
from dmrc.dialects.openai.embeddings import EMBEDDINGS, texts_of
from dmrc.engines.session import Session
from dmrc.errors import ContextLengthError, DmrcError, UnsupportedError
from dmrc.exchange import JsonValue
from dmrc.gateway.server.json_reading import AT_ONCE_BYTES, written

_LARGEST_ERROR_BYTES = 1 << 20
_NO_SUCH_ROUTE = (404, 405, 501)
_OF_EVERY_ENGINE = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings")
# An unescaped key: in words its quotes would be escaped.
_MODEL = re.compile(rb'"model"\s*:\s*"(?:[^"\\]|\\.)*"')
_LONGEST_NAME_BYTES = 4 << 10
_ERROR_EVENT = b'data: {"error"'


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
        return _Named(answer, self._model)

    async def _accepted(self, call: Call) -> Answer:
        has_calls = (
            self._served.is_llama_cpp
            and bool(call.document.get("tools"))
            and call.document.get("tool_choice") != "none"
        )
        answer = await self._session.post(call.path, self._headers, await self._body(call))
        self._seen.saw_answer(answer)
        if answer.status < 400:
            return _Parsed(answer, lambda: self._unparsed(call)) if has_calls and is_stream(answer) else answer
        with closing(answer):
            body = await _beginning(answer)
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
            tokens = json_object(b"".join([chunk async for chunk in answer])).get("tokens")
        return tokens if isinstance(tokens, list) else None


class _Wrapped:
    """An answer whose chunks are changed on their way; see `Answer`."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.status = answer.status
        self.headers = answer.headers

    @property
    def replica(self) -> Replica | None:
        return self._answer.replica

    def close(self) -> None:
        self._answer.close()


class _Named(_Wrapped):
    """An answer that calls the model by the name that was asked for: the engine has one, whatever tags there are."""

    def __init__(self, answer: Answer, model: bytes) -> None:
        super().__init__(answer)
        self._wanted = b'"model":' + model

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if not is_stream(self._answer):
            async for chunk in self._whole():
                yield chunk
            return
        written, rest = b"", b""
        async for chunk in self._answer:
            if rest or not chunk.endswith(b"\n"):
                whole, newline, rest = (rest + chunk).rpartition(b"\n")
                chunk = whole + newline
            if not written and (match := _MODEL.search(chunk)):
                written = match[0]
            if chunk:
                yield chunk.replace(written, self._wanted) if written else chunk
        if rest:
            yield rest

    async def _whole(self) -> AsyncIterator[bytes]:
        """Yield an answer that is no stream, of which no more is held than a name takes."""
        held, is_found = b"", False
        async for chunk in self._answer:
            if is_found:
                yield chunk
                continue
            held += chunk
            if match := _MODEL.search(held):
                is_found = True
                yield held[: match.start()] + self._wanted + held[match.end() :]
            elif len(held) > 2 * _LONGEST_NAME_BYTES:
                yield held[:-_LONGEST_NAME_BYTES]
                held = held[-_LONGEST_NAME_BYTES:]
        if not is_found and held:
            yield held


class _Parsed(_Wrapped):
    """A stream with calls of tools. Where llama.cpp cannot read one, what the model said follows as words."""

    def __init__(self, answer: Answer, again: Callable[[], Awaitable[Answer]]) -> None:
        super().__init__(answer)
        self._again = again

    async def __aiter__(self) -> AsyncIterator[bytes]:
        has_called, rest = False, b""
        async for chunk in self._answer:
            chunk = rest + chunk
            before, found, event = chunk.partition(_ERROR_EVENT)
            rest = found + event
            if before:
                has_called = has_called or b'"tool_calls"' in before
                yield before
        if UNPARSED not in rest:
            if rest:
                yield rest
            return
        async with aclosing(self._words(has_called)) as words:
            async for chunk in words:
                yield chunk

    async def _words(self, has_called: bool) -> AsyncGenerator[bytes]:
        answer = await self._again()
        with closing(answer):
            async for chunk in answer:
                # The call that was told already is one, whatever follows it.
                yield chunk.replace(b'"finish_reason":"stop"', b'"finish_reason":"tool_calls"') if has_called else chunk


async def _beginning(answer: Answer) -> bytes:
    """Return the body of an error; of a very long one its beginning."""
    body = b""
    async for chunk in answer:
        body += chunk
        if len(body) > _LARGEST_ERROR_BYTES:
            break
    return body
