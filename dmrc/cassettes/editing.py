"""An answer with other words: its texts change, and all else of it stays, byte for byte, in each dialect.

No dialect is written here. A text of the answer stands in its body whole, or as the joined pieces of a stream, or both;
it is looked for by its value among the fields that hold words, and what comes out is read back as a conversation.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dmrc.capture.conversation import Message, ToolCall
from dmrc.capture.documents import Documents, Edit, Holder, apply, moved
from dmrc.cassettes.words import answer_of
from dmrc.errors import InputError
from dmrc.fields import JsonValue

if TYPE_CHECKING:
    from dmrc.cassettes.interaction import Interaction, RecordedAnswer

_WORDS = ("content", "text", "delta", "response", "refusal")
_THOUGHTS = ("reasoning_content", "reasoning", "thinking", "text", "delta")
_ARGUMENTS = ("arguments", "partial_json", "delta", "input")
_NAMES = ("name",)
_ECHOES = ("tools", "instructions", "metadata")
"""Of the request, which some answers repeat."""
_NUMBERS = ("index", "output_index", "content_index", "summary_index")

TextPlace = tuple[str | int, ...]
"""Which of the texts of an answer a leaf belongs to: `("choices", 0, "delta", "content")`."""


@dataclass(frozen=True, slots=True)
class _Leaf:
    """One value in one of the documents of a body."""

    document: int
    holder: Holder
    key: str | int
    value: JsonValue


def reworded(interaction: Interaction, wanted: Sequence[Message]) -> Interaction:
    """Return the interaction with the texts, thoughts and calls of `wanted` in its answer, one message for each choice.

    Raises:
        InputError: There would be one more or less of them, or its form has no place for one.
    """
    before = answer_of(interaction)
    changes = _changes(before, wanted)
    if not changes:
        return interaction
    found = replace(interaction, answer=_rewritten(interaction.answer, changes))
    if answer_of(found) != list(wanted):
        raise InputError(
            "the answer cannot say this in the form in which it was recorded",
            remedy="Texts, thoughts and arguments that are there can be changed; for another form record it again",
        )
    return found


@dataclass(frozen=True, slots=True)
class _Change:
    """One text of an answer, and what shall stand there."""

    fields: tuple[str, ...]
    old: str
    new: str


def _changes(before: Sequence[Message], wanted: Sequence[Message]) -> list[_Change]:
    if len(before) != len(wanted):
        raise InputError(f"the answer has {_count(len(before), 'message')}, and {len(wanted)} are given")
    found = []
    for old, new in zip(before, wanted, strict=True):
        if len(old.calls) != len(new.calls):
            raise InputError(
                f"the answer has {_count(len(old.calls), 'tool call')}, and {len(new.calls)} are given",
                remedy="Calls can be changed; to have one more or less, record the answer again",
            )
        found += [_Change(_WORDS, old.text, new.text), _Change(_THOUGHTS, old.reasoning, new.reasoning)]
        for called, calls in zip(old.calls, new.calls, strict=True):
            found += _of_call(called, calls)
    return [change for change in found if change.old != change.new]


def _of_call(old: ToolCall, new: ToolCall) -> list[_Change]:
    return [_Change(_NAMES, old.name, new.name), _Change(_ARGUMENTS, old.arguments, new.arguments)]


def _rewritten(answer: RecordedAnswer, changes: Sequence[_Change]) -> RecordedAnswer:
    """Return the answer with other texts; its pieces keep their number and their times."""
    body = b"".join(piece.data for piece in answer.pieces)
    documents = Documents.of(body)
    for change in changes:
        _replace(documents, change)
    documents.drop("logprobs")  # the tokens one by one, which say the old text
    edits = [
        Edit(one.start, one.end, _written_as(body[one.start : one.end], one.value))
        for one in documents.documents
        if one.changed
    ]
    ends = list(itertools.accumulate(len(piece.data) for piece in answer.pieces))
    shifted = [end for _, end in moved([(0.0, end) for end in ends], edits)]
    text, starts = apply(body, edits), [0, *shifted[:-1]]
    pieces = tuple(
        replace(piece, data=text[start:end]) for piece, start, end in zip(answer.pieces, starts, shifted, strict=True)
    )
    return replace(answer, pieces=pieces)


def _replace(documents: Documents, change: _Change) -> None:
    """Put a text in place of another, wherever that stands as a whole or in pieces."""
    places: dict[TextPlace, list[_Leaf]] = {}
    for place, leaf in _leaves(documents, change.fields):
        if isinstance(leaf.value, str):
            places.setdefault(place, []).append(leaf)
        elif isinstance(leaf.value, dict) and json.dumps(leaf.value, ensure_ascii=False) == change.old:
            _put(documents, leaf, _arguments(change.new))
    for leaves in places.values():
        said = [str(leaf.value) for leaf in leaves]
        if "".join(said) == change.old:
            for leaf, text in zip(leaves, respread(said, change.new), strict=True):
                _put(documents, leaf, text)
            continue
        for leaf in leaves:
            if change.old and leaf.value == change.old:
                _put(documents, leaf, change.new)


def _arguments(text: str) -> JsonValue:
    try:
        value: JsonValue = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise InputError("the arguments of a tool call must be a JSON object in this dialect")
    return value


def _put(documents: Documents, leaf: _Leaf, value: JsonValue) -> None:
    if value != leaf.value:
        leaf.holder[leaf.key] = value  # type: ignore[index]  # the key is of its kind
        documents.documents[leaf.document].changed = True


def _leaves(documents: Documents, names: Sequence[str]) -> Iterator[tuple[TextPlace, _Leaf]]:
    """Yield the values with one of these names, and which text of the answer each belongs to."""

    def walk(number: int, value: JsonValue, place: TextPlace) -> Iterator[tuple[TextPlace, _Leaf]]:
        if isinstance(value, dict):
            kind, numbers = value.get("type"), [one for name in _NUMBERS if isinstance(one := value.get(name), int)]
            place = (*place, *([kind] if isinstance(kind, str) and not place else []), *numbers)
            for name, inner in value.items():
                if name in names and isinstance(inner, str | dict):
                    yield (*place, name), _Leaf(number, value, name, inner)
                if name not in _ECHOES:
                    yield from walk(number, inner, (*place, name))
        elif isinstance(value, list):
            for position, inner in enumerate(value):
                has_number = isinstance(inner, dict) and "index" in inner
                yield from walk(number, inner, place if has_number else (*place, position))

    for number, document in enumerate(documents.documents):
        value: JsonValue = document.value
        yield from walk(number, value, ())


def respread(pieces: Sequence[str], text: str) -> list[str]:
    """Return a text in as many pieces as there were; those at the beginning and the end that say the same stay."""
    first = 0
    while first < len(pieces) and text.startswith(pieces[first]):
        text = text[len(pieces[first]) :]
        first += 1
    last = len(pieces)
    while last > first and text.endswith(pieces[last - 1]):
        text = text[: len(text) - len(pieces[last - 1])]
        last -= 1
    if first == last and text:  # something was only added: the piece before it says it, too
        first, text = (first - 1, pieces[first - 1] + text) if first else (first, text + pieces[first])
        last = first + 1
    return [*pieces[:first], *_spread(text, last - first), *pieces[last:]]


def _spread(text: str, count: int) -> list[str]:
    """Return a text in so many pieces, cut between words; empty ones at the end where there are fewer words."""
    words = re.findall(r"\s*\S+(?:\s+\Z)?|\s+", text)
    each, more = divmod(len(words), count) if count else (0, 0)
    found, position = [], 0
    for number in range(count):
        size = each + (number < more)
        found.append("".join(words[position : position + size]))
        position += size
    return found


def _written_as(raw: bytes, value: JsonValue | Holder) -> bytes:
    """Return a value as JSON with the spaces and the escapes that the JSON before it had."""
    before = json.loads(raw)
    for separators, is_ascii in itertools.product(((",", ":"), (", ", ": ")), (False, True)):
        if json.dumps(before, ensure_ascii=is_ascii, separators=separators).encode("utf-8", "surrogatepass") == raw:
            break
    return json.dumps(value, ensure_ascii=is_ascii, separators=separators).encode("utf-8", "surrogatepass")


def _count(number: int, name: str) -> str:
    return f"{number} {name}{'' if number == 1 else 's'}"
