import base64
import hashlib
import json
import os

import pytest

from dmrc.capture.bodies import ParsedBodies
from dmrc.capture.database import ExchangeDatabase
from dmrc.capture.frames import FrameKind, FrameReader, exchange_framed
from dmrc.capture.masking import CaptureLimits, capture_limits, prepared
from dmrc.capture.media import without_media
from dmrc.capture.preparing import filtered, recordable
from dmrc.capture.redaction import Redactor
from dmrc.capture.replacing import mask
from dmrc.settings import Settings
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

    taken = without_media((body.replace("/", "\\/") if escaped else body).encode())

    assert json.loads(taken.body) == {"messages": [{"content": [expected, {"text": "hi"}]}]}


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

    assert without_media(body).body is body


def test_a_picture_leaves_room_for_the_words_and_the_true_size_is_kept():
    body = json.dumps({"messages": [{"content": [{"image_url": {"url": url(PNG)}}, {"text": "what is it?"}]}]}).encode()

    kept = prepared(recorded("chat.json", request_body=body), CaptureLimits(request_body_bytes=1000), Redactor())

    assert b"what is it?" in kept.request_body
    assert not kept.request_truncated
    assert kept.annotations == {"request_body_bytes": len(body)}


def picture(kind: str, data: bytes) -> bytes:
    return json.dumps({"messages": [{"content": [{"image_url": {"url": url(data, kind)}}]}]}).encode()


SIZED = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (64).to_bytes(4) + (48).to_bytes(4) + os.urandom(600)
SIZED_HASH = hashlib.sha256(SIZED).hexdigest()


def test_the_size_in_pixels_is_noted_and_the_picture_is_not_kept():
    kept = prepared(recorded("chat.json", request_body=picture("image/png", SIZED)), CaptureLimits(), Redactor())

    assert kept.request_media == {SIZED_HASH: {"width": 64, "height": 48}}


@pytest.mark.parametrize(("level", "is_kept"), [("full", True), ("metadata", False), ("off", False)])
def test_a_picture_is_kept_where_somebody_says_so_and_comes_back_from_the_record(tmp_path, level, is_kept):
    exchange = recorded("chat.json", request_body=picture("image/png", SIZED))
    kept = recordable(exchange, level, Redactor(), CaptureLimits(keeps_media=True), ParsedBodies())
    (frame,) = FrameReader().read(exchange_framed(FrameKind.PREPARED, 1, None, exchange=kept))
    database = ExchangeDatabase(tmp_path / "record.sqlite")
    database.insert_many([frame.exchange()])

    media = database.get(kept.id).request_media

    encoded = base64.b64encode(SIZED).decode()
    assert media == ({SIZED_HASH: {"width": 64, "height": 48, "base64": encoded}} if is_kept else {})
    database.close()


def test_of_many_pictures_only_the_first_8_mib_are_kept():
    sizes = [2_900_000] * 3
    parts = [{"image_url": {"url": url(b"\x89PNG" + os.urandom(size))}} for size in sizes]
    body = json.dumps({"messages": [{"content": parts}]}).encode()

    taken = without_media(body, keeps=True)

    assert len(taken.notes) == 2
    assert taken.body.count(b"[media image/png") == 3


def test_a_picture_whose_place_a_plugin_masks_is_not_kept():
    exchange = recorded("chat.json", request_body=picture("image/png", SIZED))
    limits = CaptureLimits(keeps_media=True)

    def hide(one):
        return mask(one, json_paths=["messages.*.content"])

    kept = filtered(exchange, "full", Redactor(), limits, ParsedBodies(), [hide])

    assert kept is not None
    assert kept.request_media == {}


@pytest.mark.parametrize(("word", "keeps"), [("1", True), ("0", False), ("", False)])
def test_the_environment_says_whether_pictures_are_kept(word, keeps):
    assert capture_limits(Settings.from_environment({"DMRC_CAPTURE_MEDIA": word})).keeps_media is keeps
