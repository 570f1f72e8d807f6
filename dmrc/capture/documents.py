"""The texts in a raw body as a person would read them: unescaped, and joined over the events of a stream."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from dmrc.capture.named import OTHER_NAMES, is_telling_name, mask_named, named_in_text
from dmrc.exchange import JsonValue
from dmrc.json_values import parse_line

Spans = Sequence[tuple[int, int]]
"""Start and end of each part of a text, in order, none inside another."""

# A line of Server-Sent Events or of JSON lines. A whole document is one line, or is read as a whole.
_LINE = re.compile(rb"(?:\A|(?<=[\r\n]))(?:data:[ \t]*)?(\{[^\r\n]*)")

# Every event of a stream says these again, and no text is split over them.
_REPEATED = frozenset({"id", "object", "model", "type", "item_id", "system_fingerprint"})


@dataclass(frozen=True, slots=True)
class Edit:
    """One part of a body, replaced."""

    start: int
    """Offset of its first byte."""
    end: int
    """Offset after its last byte."""
    replacement: bytes
    """What stands there now."""


_Holder = dict[str, JsonValue] | list[JsonValue]


@dataclass(slots=True)
class _Document:
    start: int
    end: int
    value: _Holder
    changed: bool = False


_Piece = tuple[_Document, _Holder, str | int, str]
"""A text and where it stands: in which document, in which object or list, under which key or at which position."""


@dataclass(slots=True)
class _Run:
    """The texts at one path of successive documents, and the runs of the paths that begin with it."""

    pieces: list[_Piece] = field(default_factory=list)
    below: dict[str | int, _Run] = field(default_factory=dict)


@dataclass(slots=True)
class Documents:
    """The JSON documents of a body: one, or one for each event of a stream."""

    documents: list[_Document] = field(default_factory=list)
    """In order; what is no JSON is left out."""
    _texts: dict[object, _Run] = field(default_factory=dict)

    @classmethod
    def of(cls, body: bytes) -> Documents:
        """Read a body; one without JSON has no documents. Never raises."""
        whole = _parsed(body)
        if isinstance(whole, dict | list):
            return cls([_Document(0, len(body), whole)])
        found = []
        for match in _LINE.finditer(body):
            if value := parse_line(match[1], len(body)):
                found.append(_Document(match.start(1), match.end(1), value))
        return cls(found)

    def rewrite(self, find: Callable[[str], Spans], replacement: str) -> None:
        """Put `replacement` for each span that `find` names in a text.

        In a stream the pieces of a text that lie at the same path of successive events are one text; the replacement
        goes to the piece in which the span begins. One that is JSON as a whole, such as arguments, stays JSON.
        """
        self._texts = {}
        for document in self.documents:
            part = _part_of(document.value)
            run = self._texts.get(part)
            if run is None:
                run = self._texts[part] = _Run()
            _collect(document, document.value, run)
        for pieces in (pieces for run in self._texts.values() for pieces in _runs(run)):
            if len(pieces) == 1 and pieces[0][3][:1] in ("{", "["):
                pieces = [_with_names_masked(pieces[0], replacement)]
            texts = [text for _, _, _, text in pieces]
            if pieces[0][2] in _REPEATED and len(set(texts)) == 1 and not find(texts[0]):
                continue
            if spans := find("".join(texts)):
                _replace(pieces, spans, replacement)

    def put(self, path: str, replacement: str) -> None:
        """Replace the values at `path`: keys with dots between, `*` for any, as in `messages.*.content`."""
        for document in self.documents:
            for holder, key in _places(document.value, path.removeprefix("$.").split(".")):
                holder[key] = replacement  # type: ignore[index]  # as above
                document.changed = True

    def mask_named(self, replacement: str) -> None:
        """Put `replacement` for the values that their names call secrets."""
        # The names of a stream's events are the same ones: where none matters, no event is looked at.
        names = (name for run in self._texts.values() for name in _names(run))
        if len(self.documents) > 1 and self._texts and not any(map(is_telling_name, names)):
            return
        for document in self.documents:
            document.changed |= mask_named(document.value, replacement)

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


def _collect(document: _Document, holder: _Holder, run: _Run) -> None:
    """Add each string to the run of its path. This is done for all that is recorded, so it makes little on its way."""
    is_list = isinstance(holder, list)
    below = run.below
    key: str | int
    for key, inner in enumerate(holder) if is_list else holder.items():  # type: ignore[union-attr]
        if not isinstance(inner, (str, dict, list)):
            continue
        # An entry of a list may say its place itself: a stream gives each answer of several as the only one.
        step = _index(inner, key) if is_list and isinstance(inner, dict) else key
        there = below.get(step)
        if there is None:
            there = below[step] = _Run()
        if isinstance(inner, str):
            there.pieces.append((document, holder, key, inner))
        else:
            _collect(document, inner, there)


def _part_of(event: _Holder) -> object:
    """Return which part of an answer an event of Anthropic or the Responses tells of: two calls may come in turn."""
    if isinstance(event, list):
        return None
    index, output, content = event.get("index"), event.get("output_index"), event.get("content_index")
    if index is None and output is None:
        return None
    return tuple([part for part in (index, output, content) if isinstance(part, int)])


def _with_names_masked(piece: _Piece, replacement: str) -> _Piece:
    document, holder, key, text = piece
    if (kept := named_in_text(text, replacement)) is None:
        return piece
    holder[key] = kept  # type: ignore[index]  # the key is of its kind
    document.changed = True
    return document, holder, key, kept


def _runs(run: _Run) -> Iterator[list[_Piece]]:
    if run.pieces:
        yield run.pieces
    for inner in run.below.values():
        yield from _runs(inner)


def _names(run: _Run) -> Iterator[str]:
    """Yield the names of texts, objects and lists."""
    for step, inner in run.below.items():
        if isinstance(step, str):
            yield step
        if step not in OTHER_NAMES:
            yield from _names(inner)


def _children(holder: _Holder) -> list[tuple[str | int, JsonValue]]:
    """Return the values in it, each after its key; the list stays as it is when they change."""
    return list(holder.items()) if isinstance(holder, dict) else list(enumerate(holder))


def _index(entry: dict[str, JsonValue], position: str | int) -> str | int:
    index = entry.get("index")
    return index if isinstance(index, int) else position


def _replace(pieces: list[_Piece], spans: Spans, replacement: str) -> None:
    offset, upcoming = 0, 0
    for document, holder, key, text in pieces:
        end = offset + len(text)
        kept, position, index = [], offset, upcoming
        while index < len(spans) and spans[index][0] < end:
            start, stop = spans[index]
            if start >= offset:
                kept += [text[position - offset : start - offset], replacement]
            position = min(stop, end)
            if stop > end:
                break
            index += 1
        upcoming = index
        if position > offset or kept:
            holder[key] = "".join([*kept, text[position - offset :]])  # type: ignore[index]  # the key is of its kind
            document.changed = True
        offset = end


def _places(holder: _Holder, steps: Sequence[str]) -> Iterator[tuple[_Holder, str | int]]:
    for key, inner in _children(holder):
        if steps[0] not in ("*", str(key)):
            continue
        if len(steps) == 1:
            yield holder, key
        elif isinstance(inner, (dict, list)):
            yield from _places(inner, steps[1:])


def _drop(holder: _Holder, key: str) -> bool:
    dropped = False
    for place, inner in _children(holder):
        if place != key:
            dropped |= isinstance(inner, (dict, list)) and _drop(inner, key)
        elif inner is not None:
            holder[place] = None  # type: ignore[call-overload]  # as above
            dropped = True
    return dropped
