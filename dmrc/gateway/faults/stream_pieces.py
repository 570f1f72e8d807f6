"""An answer in its pieces: the events of a stream, or its lines, as bytes that are sent on."""

from __future__ import annotations

import json
import re

from dmrc.dialects.chat.answers import json_object
from dmrc.fields import JsonObject

_EVENT_END = re.compile(rb"\r?\n\r?\n")
_LINE_END = re.compile(rb"\n")
_DATA = re.compile(rb"^data: ?(.*?)\r?$", re.MULTILINE)


class StreamPieces:
    """Cuts a stream into Server-Sent Events or, where it is JSON lines, into lines; no byte is lost."""

    def __init__(self) -> None:
        """Nothing has come yet."""
        self._rest = b""

    def read(self, chunk: bytes) -> list[bytes]:
        """Return the pieces that are complete with these bytes."""
        self._rest += chunk
        found, position = [], 0
        end = _LINE_END if self._rest.lstrip()[:1] == b"{" else _EVENT_END
        for match in end.finditer(self._rest):
            found.append(self._rest[position : match.end()])
            position = match.end()
        self._rest = self._rest[position:]
        return found

    def rest(self) -> bytes:
        """Return what came after the last complete piece."""
        return self._rest


def document_of(piece: bytes) -> JsonObject:
    """Return the JSON object of an event, of a line or of an answer that is no stream; {} where there is none."""
    data = _DATA.search(piece)
    return json_object(data[1] if data else piece)


def with_document(piece: bytes, document: JsonObject) -> bytes:
    """Return a piece with another object in place of its own."""
    written = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode(errors="surrogatepass")
    data = _DATA.search(piece)
    if data is None:
        return written + piece[len(piece.rstrip()) :]
    return piece[: data.start(1)] + written + piece[data.end(1) :]
