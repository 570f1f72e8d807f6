"""The texts in a raw body as a person would read them: unescaped, and joined over the events of a stream."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from dmrc.exchange import JsonValue

Spans = Sequence[tuple[int, int]]
"""Start and end of each part of a text, in order, none inside another."""

Path = tuple[str | int, ...]
"""Keys and positions that lead to a value; entries of a list that say their `index` are known by that."""

# A line of Server-Sent Events or of JSON lines. A whole document is one line, or is read as a whole.
_LINE = re.compile(rb"^(?:data:[ \t]*)?(\{[^\n]*)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Edit:
    """One part of a body, replaced."""

    start: int
    """Offset of its first byte."""
    end: int
    """Offset after its last byte."""
    replacement: bytes
    """What stands there now."""


@dataclass(slots=True)
class _Document:
    start: int
    end: int
    value: JsonValue
    changed: bool = False


@dataclass(frozen=True, slots=True)
class _Piece:
    document: _Document
    holder: dict[str, JsonValue] | list[JsonValue]
    key: str | int
    text: str

    def put(self, text: str) -> None:
        self.holder[self.key] = text  # type: ignore[index]  # the key is of the holder's kind
        self.document.changed = True


@dataclass(slots=True)
class Documents:
    """The JSON documents of a body: one, or one for each event of a stream."""

    documents: list[_Document] = field(default_factory=list)
    """In order; what is no JSON is left out."""

    @classmethod
    def of(cls, body: bytes) -> Documents:
        """Read a body; one without JSON has no documents. Never raises."""
        whole = _parsed(body)
        if isinstance(whole, dict | list):
            return cls([_Document(0, len(body), whole)])
        found = []
        for match in _LINE.finditer(body):
            value = _parsed(match[1])
            if isinstance(value, dict):
                found.append(_Document(match.start(1), match.end(1), value))
        return cls(found)

    def rewrite(self, find: Callable[[str], Spans], replacement: str) -> None:
        """Put `replacement` for each span that `find` names in a text.

        In a stream the pieces of a text that lie at the same path of successive events are one text; the replacement
        goes to the piece in which the span begins.
        """
        runs: dict[Path, list[_Piece]] = {}
        for document in self.documents:
            for path, holder, key, text in _texts(document.value, ()):
                runs.setdefault(path, []).append(_Piece(document, holder, key, text))
        for pieces in runs.values():
            if spans := find("".join(piece.text for piece in pieces)):
                _replace(pieces, spans, replacement)

    def put(self, path: str, replacement: str) -> None:
        """Replace the values at `path`: keys with dots between, `*` for any, as in `messages.*.content`."""
        for document in self.documents:
            for holder, key in _places(document.value, path.removeprefix("$.").split(".")):
                holder[key] = replacement  # type: ignore[index]  # as above
                document.changed = True

    def drop(self, key: str) -> None:
        """Make the values named `key` null, wherever they are."""
        for document in self.documents:
            document.changed |= _drop(document.value, key)

    @property
    def is_changed(self) -> bool:
        """Return whether any document was."""
        return any(document.changed for document in self.documents)

    def edits(self) -> list[Edit]:
        """Return what makes the body say what its documents say now."""
        return [Edit(one.start, one.end, json.dumps(one.value).encode()) for one in self.documents if one.changed]


def apply(body: bytes, edits: Sequence[Edit]) -> bytes:
    """Return the body with the edits, which are in order, made."""
    parts, position = [], 0
    for edit in edits:
        parts += [body[position : edit.start], edit.replacement]
        position = edit.end
    return b"".join([*parts, body[position:]])


def moved(offsets: Sequence[tuple[float, int]], edits: Sequence[Edit]) -> tuple[tuple[float, int], ...]:
    """Return chunk offsets as they are after the edits; one inside an edit moves to its end."""
    result, index, shift = [], 0, 0
    for at, offset in offsets:
        while index < len(edits) and edits[index].end <= offset:
            shift += len(edits[index].replacement) - (edits[index].end - edits[index].start)
            index += 1
        if index < len(edits) and edits[index].start < offset:
            offset = edits[index].start + len(edits[index].replacement)
        result.append((at, offset + shift))
    return tuple(result)


def _parsed(body: bytes) -> JsonValue:
    try:
        value: JsonValue = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return value


def _texts(
    value: JsonValue, path: Path
) -> Iterator[tuple[Path, dict[str, JsonValue] | list[JsonValue], str | int, str]]:
    """Yield each string with its path and its place; what is nested too deep for that did not parse either."""
    for step, holder, key, inner in _children(value):
        if isinstance(inner, str):
            yield (*path, step), holder, key, inner
        elif isinstance(inner, dict | list):
            yield from _texts(inner, (*path, step))


def _children(
    value: JsonValue,
) -> Iterator[tuple[str | int, dict[str, JsonValue] | list[JsonValue], str | int, JsonValue]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name, value, name, inner
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            index = inner.get("index") if isinstance(inner, dict) else None
            yield index if isinstance(index, int) else position, value, position, inner


def _replace(pieces: list[_Piece], spans: Spans, replacement: str) -> None:
    offset, upcoming = 0, 0
    for piece in pieces:
        end = offset + len(piece.text)
        kept, position, index = [], offset, upcoming
        while index < len(spans) and spans[index][0] < end:
            start, stop = spans[index]
            if start >= offset:
                kept += [piece.text[position - offset : start - offset], replacement]
            position = min(stop, end)
            if stop > end:
                break
            index += 1
        upcoming = index
        if position > offset or kept:
            piece.put("".join([*kept, piece.text[position - offset :]]))
        offset = end


def _places(
    value: JsonValue, steps: Sequence[str]
) -> Iterator[tuple[dict[str, JsonValue] | list[JsonValue], str | int]]:
    for _, holder, key, inner in _children(value):
        if steps[0] not in ("*", str(key)):
            continue
        if len(steps) == 1:
            yield holder, key
        else:
            yield from _places(inner, steps[1:])


def _drop(value: JsonValue, key: str) -> bool:
    dropped = False
    for _, holder, place, inner in _children(value):
        if place != key:
            dropped |= _drop(inner, key)
        elif inner is not None:
            holder[place] = None  # type: ignore[call-overload]  # as above
            dropped = True
    return dropped
