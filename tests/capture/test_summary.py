import json
from dataclasses import fields, replace

from dmrc.capture.reading import complete
from dmrc.capture.summary import line, to_json
from dmrc.exchange import Exchange
from tests.capture.recorded import recorded


def asked(text: str) -> Exchange:
    body = json.dumps({"messages": [{"role": "user", "content": text}]}).encode()
    return complete(recorded("chat.json", project="facts", service="python", model_key="smollm", request_body=body))


def test_a_line_shows_who_what_and_how_fast():
    exchange = replace(asked("Tell me\na fact"), first_token_ms=117.4)

    text = line(exchange)

    assert exchange.id[-8:] in text
    for part in ("facts/python", "smollm", "  200  ", "21→6 tok", "117 ms", "130 tok/s", "Tell me a fact"):
        assert part in text


def test_a_prompt_cannot_act_on_the_terminal():
    text = line(asked("\x1b[2J\x1b]0;x\x07a\u202eb\u2028c\r\n\x9bd" + "e" * 500))

    assert text.isprintable()
    assert len(text) < 200


def test_a_line_without_content_shows_the_excerpt_that_was_stored():
    assert line(recorded("chat.json", response_body=b""), "Tell me").endswith("Tell me")


def test_a_stream_that_broke_and_a_caller_that_left_are_seen():
    assert "200 broken" in line(recorded("chat.sse", error_type="server_error", error_message="engine died"))
    assert "200 cancelled" in line(recorded("chat.sse", client_disconnected=True))


def test_json_has_the_keys_of_the_design_in_their_order():
    exchange = replace(asked("hi"), chunk_offsets=((1.5, 0),), total_ms=float("inf"))

    result = to_json(exchange, with_content=True)

    assert list(result) == [field.name for field in fields(Exchange)]
    assert result["chunk_offsets"] == [[1.5, 0]]
    assert result["total_ms"] is None
    assert "request_body" not in to_json(exchange, with_content=False)


def test_a_body_that_is_no_text_is_base64_and_says_so():
    result = to_json(recorded("chat.json", response_body=b"\xff\x00"), with_content=True)

    assert result["response_body"] == "/wA="
    assert result["response_body_encoding"] == "base64"
    assert "request_body_encoding" not in result
