"""Pictures and sounds in request bodies: recorded by type, size and hash, so that they do not fill the record."""

from __future__ import annotations

import binascii
import hashlib
import re
from dataclasses import dataclass, field

from dmrc.capture.documents import Edit, apply
from dmrc.capture.picture_size import picture_size
from dmrc.exchange import JsonValue

MARKER = re.compile(r"\[media (?P<kind>[\w.+/-]{1,100}), (?P<size>\d+) bytes, sha256:(?P<hash>[0-9a-f]{64})\]")
"""What stands in place of a picture, a sound or a document. Cassettes hold it too: its form stays as it is."""

_SHORTEST = 512
# A JSON string that is a data URL, or nothing but base64. The slash may be escaped, as PHP writes it.
_STRING = re.compile(
    rb'"(?:data:(?P<type>[\w.+\\/-]{0,100}+)(?:;[\w=.-]{1,100}){0,4};base64,(?P<url>(?:[\w+/=-]++|\\/)*+)'
    rb'|(?P<bare>(?:[\w+/=-]++|\\/)++))"'
)
# What base64 of a PNG, JPEG, GIF and WebP begins with: of those even the smallest is a picture.
_BEGINNINGS, _SMALLEST = (b"iVBOR", b"/9j/", rb"\/9j\/", b"R0lGOD", b"UklGR"), 32
# A body that is shorter than `_SHORTEST` has one of these in front of whatever is to be replaced.
_SIGN = re.compile(rb'"(?:data:|%s)' % b"|".join(map(re.escape, _BEGINNINGS)))
# In front of a bare string: OpenAI's `input_audio.data`, Anthropic's `source.data`.
_DATA_KEY = re.compile(rb'"data"\s{0,8}:\s{0,8}$')
_SIGNATURES = (
    (b"\x89PNG", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"RIFF....WEBP", "image/webp"),
    (b"RIFF....WAVE", "audio/wav"),
    (b"ID3", "audio/mpeg"),
    (b"\xff\xfb", "audio/mpeg"),
    (b"fLaC", "audio/flac"),
    (b"OggS", "audio/ogg"),
    (b"%PDF", "application/pdf"),
)
# A multiple of 4, and short enough to let other threads run in between.
_DECODED_AT_ONCE = 64 << 10
# So much of a picture's base64 is looked through for its size in pixels: a JPEG says it late.
_LOOKED_THROUGH = 256 << 10
_MOST_KEPT_BYTES = 8 << 20


@dataclass(slots=True)
class MediaTaken:
    """A request body, and what was taken out of it."""

    body: bytes
    """With a marker in place of each."""
    notes: dict[str, JsonValue] = field(default_factory=dict)
    """What is known of each, by its SHA-256; see `Exchange.request_media`."""
    kept_bytes: int = 0
    """How much base64 there is in the notes."""

    def note(self, encoded: bytes, hash: str, *, keeps: bool) -> None:
        """Add what is known of one."""
        told: dict[str, JsonValue] = {}
        size = picture_size(_decoded(encoded[:_LOOKED_THROUGH]) or b"")
        if size is not None:
            told["width"], told["height"] = size
        if keeps and hash not in self.notes and self.kept_bytes + len(encoded) <= _MOST_KEPT_BYTES:
            told["base64"] = encoded.decode("ascii")
            self.kept_bytes += len(encoded)
        if told:
            self.notes.setdefault(hash, told)


def without_media(body: bytes, *, keeps: bool = False) -> MediaTaken:
    """Return a request body with a marker in place of each picture, sound or document, and what is known of these.

    Shape of a marker: `"[media image/png, 45123 bytes, sha256:9f86d0…]"`: bytes and hash of what the base64 stands for.

    `keeps`: the base64 is kept in the notes, up to 8 MiB of a request.
    """
    taken = MediaTaken(body)
    if len(body) < _SHORTEST and _SIGN.search(body) is None:
        return taken
    edits = []
    for match in _STRING.finditer(body):
        is_url = match["bare"] is None
        encoded = match["url"] if is_url else match["bare"]
        if not is_url and len(encoded) < (_SMALLEST if encoded.startswith(_BEGINNINGS) else _SHORTEST):
            continue
        kind = _sniffed(encoded)
        if is_url:
            kind = match["type"].decode().replace("\\", "") or kind or "text/plain"
        elif kind is None and _DATA_KEY.search(body, max(0, match.start() - 32), match.start()):
            kind = "application/octet-stream"
        if kind is None:
            continue
        plain = encoded.replace(b"\\", b"") if b"\\" in encoded else encoded
        if (told := _told(plain)) is not None:
            size, hash = told
            edits.append(
                Edit(match.start() + 1, match.end() - 1, f"[media {kind}, {size} bytes, sha256:{hash}]".encode())
            )
            taken.note(plain, hash, keeps=keeps)
    taken.body = apply(body, edits) if edits else body
    return taken


def picture_type(data: bytes) -> str | None:
    """Return the media type of a picture that a browser shows and that runs nothing, by its bytes; else None."""
    kind = _type_of(data)
    return kind if kind is not None and kind.startswith("image/") else None


def beginning_of(encoded: JsonValue) -> bytes:
    """Return the first bytes of what a note has as `base64`; none where it has nothing."""
    return _decoded(encoded[:64].encode("ascii", "replace")) or b"" if isinstance(encoded, str) else b""


def _type_of(data: bytes) -> str | None:
    return next((kind for signature, kind in _SIGNATURES if re.match(signature, data, re.DOTALL)), None)


def _sniffed(encoded: bytes) -> str | None:
    """Return the media type that the first bytes tell, or None."""
    return _type_of(_decoded(encoded[:64].replace(b"\\", b"")[:40]) or b"")


def _told(encoded: bytes) -> tuple[int, str] | None:
    """Return size in bytes and SHA-256 of what base64 stands for, or None where it is no base64 after all."""
    digest, size = hashlib.sha256(), 0
    for position in range(0, len(encoded), _DECODED_AT_ONCE):
        piece = _decoded(encoded[position : position + _DECODED_AT_ONCE])
        if piece is None:
            return None
        digest.update(piece)
        size += len(piece)
    return size, digest.hexdigest()


def _decoded(piece: bytes) -> bytes | None:
    try:
        return binascii.a2b_base64(piece.replace(b"-", b"+").replace(b"_", b"/") + b"=" * (-len(piece) % 4))
    except binascii.Error:
        return None
