import base64
import hashlib
import json
import os

import pytest

from dmrc.capture.masking import CaptureLimits, prepared
from dmrc.capture.media import without_media
from dmrc.capture.redaction import Redactor
from tests.capture.recorded import recorded

PNG = b"\x89PNG\r\n\x1a\n" + os.urandom(100_000)
JPEG = b"\xff\xd8\xff\xe0" + os.urandom(80)
WAV = b"RIFF\x24\x08\x00\x00WAVEfmt " + os.urandom(3_000)
RAW = os.urandom(2_000)


def url(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def marker(kind: str, data: bytes) -> str:
    return f"[media {kind}, {len(data)} bytes, sha256:{hashlib.sha256(data).hexdigest()}]"


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({"image_url": {"url": url(PNG)}}, {"image_url": {"url": marker("image/png", PNG)}}),
        ({"image_url": url(b"x", "image/svg+xml")}, {"image_url": marker("image/svg+xml", b"x")}),
        ({"u": url(PNG, "image/png;charset=utf-8")}, {"u": marker("image/png", PNG)}),
        ({"data": base64.b64encode(WAV).decode()}, {"data": marker("audio/wav", WAV)}),
        ({"images": [base64.b64encode(PNG).decode()]}, {"images": [marker("image/png", PNG)]}),
        ({"images": [base64.b64encode(PNG[:70]).decode()]}, {"images": [marker("image/png", PNG[:70])]}),
        ({"data": base64.b64encode(JPEG).decode()}, {"data": marker("image/jpeg", JPEG)}),
        ({"data": base64.b64encode(RAW).decode()}, {"data": marker("application/octet-stream", RAW)}),
        ({"data": base64.urlsafe_b64encode(RAW).decode()}, {"data": marker("application/octet-stream", RAW)}),
    ],
)
@pytest.mark.parametrize("escaped", [False, True])
def test_media_are_told_by_type_size_and_hash(part, expected, escaped):
    body = json.dumps({"messages": [{"content": [part, {"text": "hi"}]}]})

    kept = without_media((body.replace("/", "\\/") if escaped else body).encode())

    assert json.loads(kept) == {"messages": [{"content": [expected, {"text": "hi"}]}]}


@pytest.mark.parametrize(
    "text",
    [
        "a" * 5000,
        "see data:image/png;base64,AAAA in a text",
        "data:image/png;base64",
        "x" * 600 + "\\",
        '"',
        "/" * 600,
        "R0lGOD",
        "UklGR",
        "/9j/",
    ],
)
def test_what_is_no_media_stays(text):
    body = json.dumps({"prompt": text, "other": [text]}).encode()

    assert without_media(body) is body


def test_a_picture_leaves_room_for_the_words_and_the_true_size_is_kept():
    body = json.dumps({"messages": [{"content": [{"image_url": {"url": url(PNG)}}, {"text": "what is it?"}]}]}).encode()

    kept = prepared(recorded("chat.json", request_body=body), CaptureLimits(request_body_bytes=1000), Redactor())

    assert b"what is it?" in kept.request_body
    assert not kept.request_truncated
    assert kept.annotations == {"request_body_bytes": len(body)}
