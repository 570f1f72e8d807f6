r"""The lines of a cassette: a header, then an interaction each, the request first.

Shape:
    {"cassette": 1, "service": "api"}
    {"request": {"dialect": "openai", …, "body": {…}}, "answer": {"status": 200, "type": "text/event-stream",
    "model": "docker.io/ai/smollm2:latest", "frame": ["data: {…\"content\":\"", "\"}}]}\n\n"],
    "pieces": [[81.5, "Once"], [9.8, " upon"], [9.7, null, "data: [DONE]\n\n"]]}}

A frame has a hole for each value in which the pieces differ, and a piece a value for each. With `"ascii": true` what is
no ASCII is escaped in them.

An answer that is no stream has its JSON as `body`, or else `text`, and the time that it took as `ms`. Bytes that are no
UTF-8 are written as `{"base64": …}` where their text would stand.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from typing import cast, get_args

from dmrc.cassettes.errors import CassetteError
from dmrc.cassettes.frames import Frame, Holes, frame_from, frame_of, framed, holes_in
from dmrc.cassettes.interaction import Asked, Interaction, RecordedAnswer, RecordedPiece
from dmrc.exchange import Operation
from dmrc.fields import JsonObject, JsonValue

VERSION = 1
"""Of the format: a later one that an earlier dmrc cannot read has a higher number."""

FIELDS = {
    "": ("request", "answer"),
    "request": ("dialect", "operation", "path", "model", "body"),
    "answer": ("status", "type", "model", "headers", "frame", "ascii", "pieces", "ms", "spaces", "body", "text"),
}
"""What stands in a line, in its request and in its answer."""

_REQUEST = '{"request": '
_JSON = json.JSONDecoder()
_MEND = "Mend or remove this line"
_OPERATIONS: tuple[Operation, ...] = get_args(Operation)


def header(service: str) -> str:
    """Return the first line of a cassette, without its end."""
    return dumped({"cassette": VERSION, "service": service})


def service_of(line: str) -> str:
    """Return whose cassette it is, by its first line.

    Raises:
        CassetteError: It is no cassette, or one of a later version.
    """
    try:
        found = json.loads(line)
        version, service = found["cassette"], found["service"]
    except (ValueError, TypeError, KeyError) as error:
        raise CassetteError("this is no cassette: its first line is no header") from error
    if version != VERSION:
        raise CassetteError(f"it is of version {version!r}; this dmrc reads version {VERSION}", remedy="Update dmrc")
    return str(service)


def line_of(interaction: Interaction) -> str:
    """Return the line of an interaction, without its end."""
    asked, answer = interaction.asked, interaction.answer
    said: JsonObject = {"status": answer.status, "type": answer.content_type}
    if answer.model is not None:
        said["model"] = answer.model
    if answer.headers:
        said["headers"] = dict(answer.headers)
    said |= _stream(answer) if answer.is_stream else _whole(answer)
    return dumped({"request": request_of(asked), "answer": said})


def is_cut_off(line: bytes) -> bool:
    """Return whether a line is only the beginning of one: whoever wrote it was killed, or the machine went down."""
    if line.endswith(b"\n") or not (line + _REQUEST.encode()[len(line) :]).startswith(_REQUEST.encode()):
        return False
    try:
        json.loads(line)
    except ValueError:
        return True
    return False


def asked_in(line: str) -> Asked:
    """Return what is asked in a line; its answer is not read.

    Raises:
        CassetteError: It cannot be read.
    """
    try:
        if line.startswith(_REQUEST):
            return asked_from(_JSON.raw_decode(line, len(_REQUEST))[0])
        return asked_from(json.loads(line)["request"])
    except (ValueError, TypeError, KeyError) as error:
        raise CassetteError(f"the request cannot be read: {_why(error)}", remedy=_MEND) from error


def interaction_in(line: str) -> Interaction:
    """Return the interaction of a line.

    Raises:
        CassetteError: It cannot be read.
    """
    try:
        document = json.loads(line)
        return Interaction(asked_from(document["request"]), _answer(document["answer"]))
    except (ValueError, TypeError, KeyError, binascii.Error) as error:
        raise CassetteError(f"it cannot be read: {_why(error)}", remedy=_MEND) from error


def dumped(value: JsonValue) -> str:
    """Return JSON as a person reads it; a half of a character, which UTF-8 cannot hold, is escaped."""
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value)
    # These end a line for some who read files by lines, and are none of a line's end in JSON.
    return text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029").replace("\x85", "\\u0085")


def _stream(answer: RecordedAnswer) -> JsonObject:
    texts = [_text(piece.data) for piece in answer.pieces]
    frame = frame_of([text for text in texts if isinstance(text, str)])
    holes: list[Holes | None] = [None] * len(texts)
    ascii_only = False
    if frame is not None:
        # Some write JSON in ASCII, others do not; what they do shows in the pieces that are not ASCII.
        tries = [(_all_holes(frame, texts, ascii_only=one), one) for one in (False, True)]
        holes, ascii_only = min(tries, key=lambda one: one[0].count(None))
    pieces: list[JsonValue] = [
        [piece.after_ms, None, text] if values is None else [piece.after_ms, *values]
        for piece, text, values in zip(answer.pieces, texts, holes, strict=True)
    ]
    told: JsonObject = {"frame": list(frame)} if frame else {}
    return {**told, **({"ascii": True} if ascii_only else {}), "pieces": pieces}


def _all_holes(frame: Frame, texts: Sequence[JsonValue], *, ascii_only: bool) -> list[Holes | None]:
    return [holes_in(frame, text, ascii_only=ascii_only) if isinstance(text, str) else None for text in texts]


def _whole(answer: RecordedAnswer) -> JsonObject:
    body = answer.body
    took: JsonObject = {"ms": round(sum(piece.after_ms for piece in answer.pieces), 1)}
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {**took, "text": _text(body)}
    for compact in (True, False):
        if _json_bytes(document, compact) == body:
            return {**took, **({} if compact else {"spaces": True}), "body": document}
    return {**took, "text": _text(body)}


def _json_bytes(document: JsonValue, compact: bool) -> bytes | None:
    """Return a document as engines (compact) and dmrc itself write it; None where it has no such bytes."""
    try:
        if compact:
            return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
        return json.dumps(document).encode()
    except UnicodeEncodeError:
        return None


def request_of(asked: Asked) -> JsonObject:
    """Return the `request` of a line; see `asked_from`."""
    return {
        "dialect": asked.dialect,
        "operation": asked.operation,
        "path": asked.path,
        "model": asked.model,
        "body": asked.body,
    }


def asked_from(value: JsonObject) -> Asked:
    """Return what is asked in the `request` of a line, or of a miss in a report.

    Raises:
        ValueError, TypeError, KeyError: It is none.
    """
    body, operation = value["body"], value["operation"]
    if not isinstance(body, dict):
        raise TypeError("'body' of the request is no object")
    if operation not in _OPERATIONS:
        raise ValueError(f"there is no operation {operation!r}")
    return Asked(
        dialect=str(value["dialect"]),
        operation=operation,
        path=str(value["path"]),
        model=str(value["model"]),
        body=body,
    )


def _answer(value: JsonObject) -> RecordedAnswer:
    headers, model, status = value.get("headers", {}), value.get("model"), value["status"]
    if not isinstance(headers, dict) or not isinstance(status, int) or not 200 <= status < 600:
        raise TypeError("'status' or 'headers' of the answer cannot be")
    if "pieces" in value:
        frame = frame_from(value.get("frame"))
        ascii_only = value.get("ascii") is True
        pieces = tuple(_piece(piece, frame, ascii_only) for piece in cast(list[JsonValue], value["pieces"]))
    else:
        ms = cast(float, value.get("ms", 0.0))
        if "body" in value:
            body = _json_bytes(value["body"], not value.get("spaces")) or json.dumps(value["body"]).encode()
        else:
            body = _bytes(value["text"])
        pieces = (RecordedPiece(float(ms), body),)
    return RecordedAnswer(
        model=None if model is None else str(model),
        status=status,
        content_type=str(value["type"]),
        pieces=pieces,
        headers={str(name): str(text) for name, text in headers.items()},
    )


def _piece(value: JsonValue, frame: Frame | None, ascii_only: bool) -> RecordedPiece:
    match value:
        case [int() | float() as ms, None, text]:
            return RecordedPiece(float(ms), _bytes(text))
        case [int() | float() as ms, *holes] if frame is not None and holes:
            return RecordedPiece(
                float(ms), framed(frame, holes, ascii_only=ascii_only).encode("utf-8", "surrogatepass")
            )
    raise ValueError(f"a piece is neither [ms, words] nor [ms, null, text], or there is no frame: {str(value)[:80]}")


def _text(data: bytes) -> JsonValue:
    """Return bytes as a line can hold them."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


def _bytes(value: JsonValue) -> bytes:
    match value:
        case str():
            return value.encode("utf-8", "surrogatepass")
        case {"base64": str(text)}:
            return base64.b64decode(text, validate=True)
    raise ValueError("a text is neither a string nor {base64: …}")


def _why(error: Exception) -> str:
    return f"'{error.args[0]}' is missing" if isinstance(error, KeyError) else str(error)
