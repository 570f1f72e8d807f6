"""A stream as the recorder looks through it: events that differ from the one before in one text only are read as one.

What an engine sends for each token is the same but for the token, and many thousands of them come in a minute.
"""

from __future__ import annotations

import re

from dmrc.capture.documents import Documents, ParsedDocument
from dmrc.json_bytes import read_json

# A line that begins an object, as `documents` has it, to its end.
_LINE = re.compile(rb"(?:\A|[\r\n])(?:data:[ \t]*)?(\{[^\r\n]*)")
_STREAM_STARTS = (b"data:", b"event:")
# Where a text begins that an engine, or a dialect of ours, sends piece by piece. The quotes in a text are escaped.
_TEXT = re.compile(
    rb'"(?:content|text|delta|reasoning_content|reasoning|thinking|response|arguments|partial_json|refusal)": ?"'
)
_PIECE = re.compile(rb'(?:[^"\\]|\\(?:[^u\r\n]|u[0-9a-fA-F]{4}))*+')
# Events that are compared at once: where they end to be alike early, little was done in vain.
_WINDOW_BYTES = 16 << 10


def read_through(body: bytes) -> Documents:
    """Read a body; its documents have the texts of the events that they stand for, and cannot be edited. Never raises.

    Bodies without such events, and those that are not entirely JSON in UTF-8, are read as by `Documents.of`.
    """
    if body.startswith(_STREAM_STARTS):
        try:
            return _in_runs(body)
        except (ValueError, RecursionError):
            pass
    return Documents.of(body)


def _in_runs(body: bytes) -> Documents:
    """Read a stream; raises ValueError or RecursionError where a line of it is no JSON."""
    documents: list[ParsedDocument] = []
    parts: list[bytes] = []
    position = 0
    line = _LINE.search(body)
    while line is not None:
        start, said, events = line.start(1), line[1].rstrip(b" \t"), 1
        end = first_end = start + len(said)
        following = _LINE.search(body, end)
        if following is not None and (place := _only_text(said)) is not None:
            before, after = said[: place[0]], said[place[1] :]
            between = after + body[end : following.start(1)] + before
            if pieces := _alike(body, start + place[0], place[1] - place[0], between, after):
                said, events = before + b"".join(pieces) + after, sum(map(bool, pieces))
                end = start + len(said) + (len(pieces) - 1) * len(between)
                following = _LINE.search(body, end)
        value = read_json(said)
        if isinstance(value, dict):
            documents.append(ParsedDocument(start, end, value, first_end=first_end, events=events))
        parts += (body[position:start], said)
        position, line = end, following
    return Documents(body, documents, b"".join([*parts, body[position:]]))


def _only_text(line: bytes) -> tuple[int, int] | None:
    """Return where the text stands that is told piece by piece; None where there is none, or more than one."""
    places = [piece.span() for match in _TEXT.finditer(line) if (piece := _PIECE.match(line, match.end())) and piece[0]]
    return places[0] if len(places) == 1 else None


def _alike(body: bytes, start: int, size: int, between: bytes, after: bytes) -> list[bytes]:
    """Return the texts of the events that are alike, from the one whose text of `size` begins at `start`; none of one.

    `between` is what stands between two texts, `after` what stands after one in its event.
    """
    if not body.startswith(between, start + size):
        return []
    *pieces, rest = body[start : start + _WINDOW_BYTES].split(between)
    last, found, beyond = rest.partition(after)
    if found and beyond[:1] in (b"\r", b"\n"):
        pieces.append(last)
    if b'"' in (joined := b"".join(pieces)) or b"\\" in joined:
        for index, piece in enumerate(pieces):
            if (b'"' in piece or b"\\" in piece) and not _PIECE.fullmatch(piece):
                return pieces[:index]
    return pieces
