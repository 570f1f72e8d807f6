from dataclasses import replace

from dmrc.capture.masking import CaptureLimits, cut, mask_credentials, reduced
from dmrc.capture.redaction import REDACTED
from tests.capture.recorded import recorded


def test_credentials_in_headers_are_masked_and_nothing_else():
    secret = {"Authorization": "Bearer s", "cookie": "s", "Proxy-Authorization": "s", "x-api-key": "s", "accept": "*/*"}
    exchange = recorded("chat.json", request_headers=secret, response_headers={"set-cookie": "s", "server": "x"})

    masked = mask_credentials(exchange)

    assert set(masked.request_headers.values()) == {REDACTED, "*/*"}
    assert masked.response_headers == {"set-cookie": REDACTED, "server": "x"}


def test_long_bodies_are_cut_and_their_true_length_is_kept():
    exchange = recorded("chat.json", request_body=b"x" * 100, response_body=b"y" * 10, annotations={"a": 1})
    exchange = replace(exchange, chunk_offsets=((1.0, 0), (2.0, 5), (3.0, 9)))

    kept = cut(exchange, CaptureLimits(request_body_bytes=40, response_body_bytes=9))

    assert (kept.request_body, kept.request_truncated) == (b"x" * 40, True)
    assert (kept.response_body, kept.response_truncated) == (b"y" * 9, True)
    assert kept.chunk_offsets == ((1.0, 0), (2.0, 5))
    assert kept.annotations == {"a": 1, "request_body_bytes": 100, "response_body_bytes": 10}
    assert cut(exchange, CaptureLimits()) is exchange


def test_metadata_has_no_bodies():
    exchange = recorded("chat.json", request_body=b"x", request_headers={"accept": "*/*"})

    assert reduced(exchange, "full") is exchange
    assert reduced(exchange, "metadata").request_headers == {"accept": "*/*"}
    assert reduced(exchange, "metadata").response_body == reduced(exchange, "off").request_body == b""
    assert reduced(exchange, "off").request_headers == {}
