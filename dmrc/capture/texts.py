"""The texts in the documents of a body as a person reads them: unescaped, and joined over the events of a stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from dmrc.capture.documents import Documents, Holder, ParsedDocument, Spans, children
from dmrc.capture.named import OTHER_NAMES, has_named, is_telling_name, mask_named, named_in_text
from dmrc.exchange import JsonValue

# Every event of a stream says these again, and no text is split over them.
_REPEATED = frozenset({"id", "object", "model", "type", "item_id", "system_fingerprint"})
_JSON_BEGINNINGS = ("{", "[")


_T = TypeVar("_T")


@dataclass(slots=True)
class _Run(Generic[_T]):
    """The texts, or their places, at the paths of successive documents that begin with the same steps."""

    texts: dict[str | int, list[_T]] = field(default_factory=dict)
    below: dict[str | int, _Run[_T]] = field(default_factory=dict)


def texts_of(documents: Documents) -> list[str] | None:
    """Return the texts, as `rewrite` finds them; None where a name calls a value a secret. Changes nothing."""
    names: set[str] = set()
    if len(documents.documents) == 1:
        texts = alone = _texts_in(documents.documents[0].value, [], names)
    else:
        runs: dict[object, _Run[str]] = {}
        for document in documents.documents:
            _gather(document.value, _run_of(document, runs), names)
        found = [pieces for run in runs.values() for pieces in _pieces(run)]
        alone = [pieces[0] for pieces in found if len(pieces) == 1]
        texts = ["".join(pieces) for pieces in found]
    if any(map(is_telling_name, names)) and any(has_named(document.value) for document in documents.documents):
        return None
    if any(text.startswith(_JSON_BEGINNINGS) and named_in_text(text, "") is not None for text in alone):
        return None
    return texts


def _texts_in(holder: Holder, texts: list[str], names: set[str]) -> list[str]:
    """Add each text of a document that is the only one."""
    if isinstance(holder, dict):
        names.update(holder)
    for key, inner in holder.items() if isinstance(holder, dict) else enumerate(holder):
        if isinstance(inner, str):
            texts.append(inner)
        elif isinstance(inner, (dict, list)):
            _texts_in(inner, texts, set() if key in OTHER_NAMES else names)
    return texts


def _gather(holder: Holder, run: _Run[str], names: set[str]) -> None:
    """Add each text to those of its path. This is done for each event of a stream, so it makes little on its way."""
    if isinstance(holder, dict):
        names.update(holder)
        for key, inner in holder.items():
            if isinstance(inner, str):
                pieces = run.texts.get(key)
                if pieces is None:
                    run.texts[key] = [inner]
                elif key not in _REPEATED or pieces[-1] != inner:
                    pieces.append(inner)
            elif isinstance(inner, (dict, list)):
                _gather(inner, _below(run, key), set() if key in OTHER_NAMES else names)
        return
    for position, inner in enumerate(holder):
        if isinstance(inner, str):
            run.texts.setdefault(position, []).append(inner)
        elif isinstance(inner, dict):
            # It may say its place itself: a stream gives each answer of several as the only one.
            _gather(inner, _below(run, _index(inner, position)), names)
        elif isinstance(inner, list):
            _gather(inner, _below(run, position), names)


def _run_of(document: ParsedDocument, runs: dict[object, _Run[_T]]) -> _Run[_T]:
    """Return the run of the part of an answer that a document tells of."""
    part = _part_of(document.value)
    run = runs.get(part)
    if run is None:
        run = runs[part] = _Run()
    return run


def _below(run: _Run[_T], step: str | int) -> _Run[_T]:
    there = run.below.get(step)
    if there is None:
        there = run.below[step] = _Run()
    return there


def _pieces(run: _Run[_T]) -> Iterator[list[_T]]:
    yield from run.texts.values()
    for inner in run.below.values():
        yield from _pieces(inner)


_Piece = tuple[ParsedDocument, Holder, str | int, str]
"""A text and where it stands: in which document, in which object or list, under which key or at which position."""


def rewrite(documents: Documents, find: Callable[[str], Spans], replacement: str) -> None:
    """Put `replacement` for each span that `find` names in a text.

    In a stream the pieces of a text that lie at the same path of successive events are one text; the replacement
    goes to the piece in which the span begins. One that is JSON as a whole, such as arguments, stays JSON.
    """
    runs: dict[object, _Run[_Piece]] = {}
    for document in documents.documents:
        _collect(document, document.value, _run_of(document, runs))
    for pieces in (pieces for run in runs.values() for pieces in _pieces(run)):
        if len(pieces) == 1 and pieces[0][3][:1] in _JSON_BEGINNINGS:
            pieces = [_with_names_masked(pieces[0], replacement)]
        texts = [text for _, _, _, text in pieces]
        if pieces[0][2] in _REPEATED and len(set(texts)) == 1 and not find(texts[0]):
            continue
        if spans := find("".join(texts)):
            _replace(pieces, spans, replacement)


def rewrite_named(documents: Documents, replacement: str) -> None:
    """Put `replacement` for the values that their names call secrets."""
    for document in documents.documents:
        document.changed |= mask_named(document.value, replacement)


def _collect(document: ParsedDocument, holder: Holder, run: _Run[_Piece]) -> None:
    """Add each text to those of its path, with its place."""
    key: str | int
    for key, inner in children(holder):
        if isinstance(inner, str):
            run.texts.setdefault(key, []).append((document, holder, key, inner))
        elif isinstance(inner, (dict, list)):
            step = _index(inner, key) if isinstance(holder, list) and isinstance(inner, dict) else key
            _collect(document, inner, _below(run, step))


def _part_of(event: Holder) -> object:
    """Return which part of an answer an event of Anthropic or the Responses tells of: two calls may come in turn."""
    if isinstance(event, list):
        return None
    index, output, content = event.get("index"), event.get("output_index"), event.get("content_index")
    if index is None and output is None:
        return None
    return tuple([part for part in (index, output, content) if isinstance(part, int)])


def _index(entry: dict[str, JsonValue], position: str | int) -> str | int:
    index = entry.get("index")
    return index if isinstance(index, int) else position


def _with_names_masked(piece: _Piece, replacement: str) -> _Piece:
    document, holder, key, text = piece
    if (kept := named_in_text(text, replacement)) is None:
        return piece
    holder[key] = kept  # type: ignore[index]  # the key is of its kind
    document.changed = True
    return document, holder, key, kept


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
