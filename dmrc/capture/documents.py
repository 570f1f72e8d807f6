"""The JSON documents in a raw body, each with its place: one, or one for each event or line of a stream."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from dmrc.exchange import JsonValue
from dmrc.json_bytes import read_json

Spans = Sequence[tuple[int, int]]
"""Start and end of each part of a text, in order, none inside another."""

Holder = dict[str, JsonValue] | list[JsonValue]
"""What holds values in JSON."""

# Where a line of Server-Sent Events or of JSON lines begins an object. A document of several lines is read as a whole.
_FIRST_LINE, _LINE = re.compile(r"(?:data:[ \t]*)?(?=\{)"), re.compile(r"[\r\n](?:data:[ \t]*)?(?=\{)")
_LINE_END = re.compile(r"[ \t]*(?:[\r\n]|\Z)")
_decode = json.JSONDecoder().raw_decode


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
class ParsedDocument:
    start: int
    """Offset of its first byte in the body."""
    end: int
    """Offset after its last byte."""
    value: Holder
    """What it says."""
    changed: bool = False
    """Whether `value` was changed since it was read."""
    first_end: int | None = None
    """Where it stands for several events of a stream: offset after the last byte of the first; else None."""
    events: int = 1
    """How many events it stands for that say something."""


@dataclass(slots=True)
class Documents:
    """The JSON documents of a body."""

    body: bytes
    """The bytes that were read."""
    documents: list[ParsedDocument] = field(default_factory=list)
    """In order; what is no JSON is left out."""
    shorter: bytes | None = None
    """The body where several events are one: it has the texts and the names of all; None where each is for itself."""

    @classmethod
    def of(cls, body: bytes) -> Documents:
        """Read a body; one without JSON has no documents. Never raises."""
        whole = _parsed(body)
        if isinstance(whole, dict | list):
            return cls.known(body, whole)
        return cls(body, list(_in_lines(body)))

    @classmethod
    def known(cls, body: bytes, value: Holder) -> Documents:
        """Return what `of` does of a body that is one document, which was read already."""
        return cls(body, [ParsedDocument(0, len(body), value)])

    @property
    def whole(self) -> dict[str, JsonValue]:
        """Return the object that the body is as a whole; an empty one where it is anything else."""
        if len(self.documents) != 1:
            return {}
        (one,) = self.documents
        is_whole = one.end - one.start == len(self.body) and isinstance(one.value, dict)
        return one.value if is_whole and isinstance(one.value, dict) else {}

    def put(self, path: str, replacement: str) -> None:
        """Replace the values at `path`: keys with dots between, `*` for any, as in `messages.*.content`."""
        for document in self.documents:
            for holder, key in _places(document.value, path.removeprefix("$.").split(".")):
                holder[key] = replacement  # type: ignore[index]  # the key is of its kind
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
        return read_json(body)
    except (ValueError, RecursionError):
        return None


def _in_lines(body: bytes) -> Iterator[ParsedDocument]:
    """Yield the objects that begin a line, and end one."""
    # Bytes that are no UTF-8 may stand in one line; the others are read all the same.
    text = body.decode("utf-8", "surrogateescape")
    is_ascii, told, told_bytes = text.isascii(), 0, 0
    match = _FIRST_LINE.match(text) or _LINE.search(text)
    while match is not None:
        start = position = match.end()
        try:
            value, position = _decode(text, start)
        except (ValueError, RecursionError):
            position += 1
        else:
            if text[position : position + 1] in "\r\n" or _LINE_END.match(text, position):
                if is_ascii:
                    yield ParsedDocument(start, position, value)
                else:
                    begins = told_bytes + _size(text[told:start])
                    told, told_bytes = position, begins + _size(text[start:position])
                    yield ParsedDocument(begins, told_bytes, value)
        match = _LINE.search(text, position)


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogateescape"))


def children(holder: Holder) -> list[tuple[str | int, JsonValue]]:
    """Return the values in it, each after its key; the list stays as it is when they change."""
    return list(holder.items()) if isinstance(holder, dict) else list(enumerate(holder))


def _places(holder: Holder, steps: Sequence[str]) -> Iterator[tuple[Holder, str | int]]:
    for key, inner in children(holder):
        if steps[0] not in ("*", str(key)):
            continue
        if len(steps) == 1:
            yield holder, key
        elif isinstance(inner, (dict, list)):
            yield from _places(inner, steps[1:])


def _drop(holder: Holder, key: str) -> bool:
    dropped = False
    for place, inner in children(holder):
        if place != key:
            dropped |= isinstance(inner, (dict, list)) and _drop(inner, key)
        elif inner is not None:
            holder[place] = None  # type: ignore[call-overload]  # as above
            dropped = True
    return dropped
