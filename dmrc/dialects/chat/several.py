"""Several answers to one request: `n`, or several prompts. llama.cpp counts the tokens of one; here all are counted.

Giver: https://platform.openai.com/docs/api-reference/completions/create (`n`, `prompt`, `usage`)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dmrc.dialects.chat.answers import add_call, error_message
from dmrc.dialects.chat.events import ChatEventReader, ChatEvents, documents
from dmrc.dialects.chat.fixes import put_right
from dmrc.errors import EngineAnswerError
from dmrc.fields import JsonObject
from dmrc.json_values import items_of, object_of
from dmrc.streaming import Giver

_TEXTS = ("content", "reasoning_content", "refusal")


@dataclass(frozen=True, slots=True)
class Several:
    """How many answers a request wants."""

    prompts: int
    """How many prompts it has."""
    each: int
    """How many answers to each: `n`."""
    is_joined: bool
    """Whether the engine is asked for a stream, which tells the tokens of each, where the caller wants none."""

    def counted(self) -> AllCounted:
        """Return what counts the tokens of all of them."""
        return AllCounted(self.prompts, self.each)


def several(document: JsonObject) -> Several | None:
    """Return how many answers a completion wants; None where it is one."""
    prompt, wanted = document.get("prompt"), document.get("n")
    prompts = len(prompt) if isinstance(prompt, list) and not all(isinstance(one, int) for one in prompt) else 1
    each = wanted if isinstance(wanted, int) and wanted > 0 else 1
    if prompts * each <= 1:
        return None
    return Several(prompts, each, is_joined=not document.get("stream"))


def asked_for(document: JsonObject, wish: Several) -> JsonObject:
    """Return the request as the engine gets it."""
    if not wish.is_joined:
        return document
    return {**document, "stream": True, "stream_options": {"include_usage": True}}


class AllCounted:
    """Leaves one count in a stream, of all answers, in the place of one for each; see `Fix`."""

    def __init__(self, prompts: int, each: int) -> None:
        """Wait for the counts of so many answers. Those to one prompt have it in common, and it counts once."""
        self._left = prompts * each
        self._each = each
        self._usages: list[JsonObject] = []
        self._generated = 0

    def whole(self, document: JsonObject) -> JsonObject:
        """Return an answer that is no stream as it is: it does not tell of the others."""
        return document

    def event(self, document: JsonObject) -> Iterator[JsonObject]:
        """Yield the event, without its counts unless they are the last ones."""
        usage, timings = object_of(document.get("usage")), object_of(document.get("timings"))
        if not usage and not timings:
            yield document
            return
        self._left -= 1
        self._usages += [usage] if usage else []
        self._generated += _count(timings.get("predicted_n"))
        if self._left > 0:
            rest = {name: value for name, value in document.items() if name not in ("usage", "timings")}
            if rest.get("choices"):
                yield rest
            return
        changed: JsonObject = {"usage": self._usage()} if self._usages else {}
        if timings:
            changed["timings"] = {**timings, "predicted_n": self._generated}
        yield {**document, **changed}

    def _usage(self) -> JsonObject:
        made = sum(_count(one.get("completion_tokens")) for one in self._usages)
        given = sum(_count(one.get("prompt_tokens")) for one in self._usages) // self._each
        counts: JsonObject = {"completion_tokens": made, "prompt_tokens": given, "total_tokens": made + given}
        return {**self._usages[0], **counts}


class JoinedAnswers:
    """A stream of several answers as the one document that the caller wants; a sink of the stream, see `Sink`."""

    def __init__(self, counted: AllCounted) -> None:
        """Put the one count of `counted` in the place of one for each."""
        self._fixes = (counted,)
        self._events = ChatEventReader()
        self._document: JsonObject = {}
        self._choices: dict[int, JsonObject] = {}

    def begin(self, giver: Giver) -> None:
        """Hold nobody back: what is kept is less than what comes."""

    def take(self, chunk: bytes) -> None:
        """Add a piece of the stream.

        Raises:
            EngineAnswerError: It says that the engine failed.
        """
        self._add(self._events.read(chunk))

    def document(self) -> JsonObject:
        """Return the document, at the end of the stream; it raises as `take` does."""
        self._add(self._events.last())
        document = self._document
        document["choices"] = [self._choices[index] for index in sorted(self._choices)]
        document["object"] = str(document.get("object", "")).removesuffix(".chunk")
        return document

    def _add(self, events: ChatEvents) -> None:
        for said in documents(put_right(events, self._fixes)):
            if said.get("error"):
                raise EngineAnswerError(error_message(said))
            for choice in items_of(said.get("choices")):
                index = _count(choice.get("index"))
                _add(self._choices.setdefault(index, {"index": index}), choice)
            self._document |= {name: value for name, value in said.items() if value is not None}


def _add(whole: JsonObject, part: JsonObject) -> None:
    """Add a piece of one answer to it."""
    if isinstance(text := part.get("text"), str):
        whole["text"] = f"{whole.get('text') or ''}{text}"
    whole["finish_reason"] = part.get("finish_reason") or whole.get("finish_reason")
    if told := object_of(part.get("logprobs")).get("content"):
        before = object_of(whole.get("logprobs")).get("content")
        whole["logprobs"] = {"content": [*(before if isinstance(before, list) else ()), *items_of(told)]}
    elif "text" in part:
        whole.setdefault("logprobs", None)
    if "delta" not in part:
        return
    delta = object_of(part["delta"])
    message = object_of(whole.setdefault("message", {"role": "assistant", "content": None}))
    for name in _TEXTS:
        if isinstance(piece := delta.get(name), str):
            message[name] = f"{message.get(name) or ''}{piece}"
    for call in items_of(delta.get("tool_calls")):
        add_call(message, call)


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0
