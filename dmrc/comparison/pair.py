"""Two recorded requests beside each other: what was asked, what was answered, and how long it took."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from dmrc.capture.conversation import Message, ToolCall, asked
from dmrc.comparison.answers import Said, arguments_of
from dmrc.comparison.differences import AnswerDifference, differences
from dmrc.comparison.sendable import Sendable, sendable
from dmrc.comparison.similarity import likeness
from dmrc.comparison.word_diff import TextPart, side_by_side
from dmrc.exchange import Exchange, JsonValue
from dmrc.json_values import items_of, object_of, parse_object

# What is compared as words, or said elsewhere.
_NO_PARAMETERS = frozenset({"model", "messages", "prompt", "input", "system", "instructions", "tools"})
_LONGEST_VALUE = 200
_MOST_MESSAGES = 200


@dataclass(frozen=True, slots=True)
class TextPair:
    """Two texts in parts."""

    name: str
    """What it is of the first: the role of a message, the name of a tool; "" where only the second has it."""
    other_name: str
    """The same of the second."""
    one: Sequence[TextPart]
    """The first text."""
    other: Sequence[TextPart]
    """The second one."""

    @property
    def is_same(self) -> bool:
        """Return whether both say the same."""
        return self.name == self.other_name and all(part.is_common for part in (*self.one, *self.other))


@dataclass(frozen=True, slots=True)
class ParameterPair:
    """One field of both requests."""

    name: str
    """Its name: `temperature`, `options.num_ctx`, `tools`."""
    one: str
    """Its value as JSON; "" where it is not there."""
    other: str
    """The same of the second."""


@dataclass(frozen=True, slots=True)
class ComparedPair:
    """Two requests with their answers, and what is different in both."""

    one: Exchange
    """The first."""
    other: Exchange
    """The second."""
    then: Said
    """What the first was answered."""
    now: Said
    """What the second was answered."""
    differences: Sequence[AnswerDifference]
    """What is different in the second answer, the worst first; times alone are not judged."""
    likeness: float
    """How alike the words of the answers are, 0 to 1."""
    answer: TextPair
    """The words of the answers."""
    calls: Sequence[TextPair]
    """The tools that they call, in the order of the models."""
    messages: Sequence[TextPair]
    """What was asked, message by message."""
    parameters: Sequence[ParameterPair]
    """What else was said in the requests."""
    is_cut: bool
    """Whether a text is longer than what is compared of it."""


def pair_of(one: Exchange, other: Exchange, longest: int) -> ComparedPair:
    """Compare two exchanges with their content, no more than `longest` characters of each text. May take a second."""
    then, now = Said.of(one), Said.of(other)
    read = sendable(one)
    messages, others = asked(one)[:_MOST_MESSAGES], asked(other)[:_MOST_MESSAGES]
    texts = [then.text, now.text, *(message.text for message in (*messages, *others))]
    return ComparedPair(
        one=one,
        other=other,
        then=then,
        now=now,
        differences=differences(then, now, read.form if isinstance(read, Sendable) else None),
        likeness=likeness(then.text[:longest], now.text[:longest]),
        answer=_texts("answer", "answer", then.text, now.text, longest),
        calls=[_calls(pair, longest) for pair in zip_longest(then.calls, now.calls)],
        messages=[_messages(pair, longest) for pair in zip_longest(messages, others)],
        parameters=list(_parameters(parse_object(one.request_body), parse_object(other.request_body))),
        is_cut=max(map(len, texts)) > longest,
    )


def _texts(name: str, other_name: str, one: str, other: str, longest: int) -> TextPair:
    return TextPair(name, other_name, *side_by_side(one[:longest], other[:longest]))


def _messages(pair: tuple[Message | None, Message | None], longest: int) -> TextPair:
    (role, text), (other_role, other_text) = (("", "") if one is None else (one.role, _said(one)) for one in pair)
    return _texts(role, other_role, text, other_text, longest)


def _said(message: Message) -> str:
    return "\n".join([message.text, *(f"calls {call.name}({call.arguments})" for call in message.calls)]).strip()


def _calls(pair: tuple[ToolCall | None, ToolCall | None], longest: int) -> TextPair:
    (name, text), (other_name, other_text) = (("", "") if one is None else (one.name, _written(one)) for one in pair)
    return _texts(name, other_name, text, other_text, longest)


def _written(call: ToolCall) -> str:
    arguments = arguments_of(call)
    return arguments if isinstance(arguments, str) else json.dumps(arguments, indent=2, ensure_ascii=False)


def _parameters(one: Mapping[str, JsonValue], other: Mapping[str, JsonValue]) -> Iterator[ParameterPair]:
    values, others = dict(_flat(one)), dict(_flat(other))
    for name in dict.fromkeys((*values, *others)):
        yield ParameterPair(name, values.get(name, ""), others.get(name, ""))


def _flat(document: Mapping[str, JsonValue]) -> Iterator[tuple[str, str]]:
    """Yield the parameters of a request: the options of Ollama one by one, of tools their names."""
    for name, value in document.items():
        if name == "options" and isinstance(value, dict):
            yield from ((f"options.{key}", _short(inner)) for key, inner in value.items())
        elif name not in _NO_PARAMETERS:
            yield name, _short(value)
    if tools := items_of(document.get("tools")):
        yield "tools", ", ".join(str(object_of(tool.get("function", tool)).get("name", "?")) for tool in tools)


def _short(value: JsonValue) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"
