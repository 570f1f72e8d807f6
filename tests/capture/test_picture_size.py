import struct

import pytest

from dmrc.capture.picture_size import picture_size

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 640, 480)
GIF = b"GIF89a" + struct.pack("<HH", 640, 480)
EXIF = b"\xff\xe1" + struct.pack(">H", 20_000) + b"\xff" * 19_998
JPEG = b"\xff\xd8" + EXIF + b"\xff\xc4\0\x04\0\0" + b"\xff\xc2\0\x11\x08" + struct.pack(">HH", 480, 640) + b"\x03"
LOSSY = b"RIFF\0\0\0\0WEBPVP8 " + bytes(7) + b"\x9d\x01\x2a" + struct.pack("<HH", 640, 480)
LOSSLESS = b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f" + struct.pack("<I", 639 | 479 << 14)
EXTENDED = b"RIFF\0\0\0\0WEBPVP8X" + bytes(8) + (639).to_bytes(3, "little") + (479).to_bytes(3, "little")


@pytest.mark.parametrize("data", [PNG, GIF, JPEG, LOSSY, LOSSLESS, EXTENDED])
def test_the_beginning_of_a_picture_tells_its_size(data: bytes) -> None:
    assert picture_size(data) == (640, 480)
    assert all(picture_size(data[:cut]) is None for cut in range(len(data) - 1))


@pytest.mark.parametrize("data", [b"", b"%PDF-1.7", b"\xff\xd8", b"\xff\xd8" + b"\xff" * 5000, PNG[:16] + bytes(8)])
def test_what_tells_no_size_has_none(data: bytes) -> None:
    assert picture_size(data) is None
