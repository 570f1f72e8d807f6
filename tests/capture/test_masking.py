import json
import re
from dataclasses import replace

import pytest

from dmrc.capture.masking import CaptureLimits, cut, mask_credentials, prepared, reduced
from dmrc.capture.redaction import REDACTED, Redactor
from tests.capture.recorded import SSE, recorded

ANY = Redactor()


def test_credentials_in_headers_are_masked_and_nothing_else():
    names = ("Authorization", "cookie", "Proxy-Authorization", "x-api-key", "x-auth-token", "x-litellm-api-key")
    names += ("private-token", "x-amz-security-token")  # issue 16, D2: seven names were known, and these were not
    secret = {**dict.fromkeys(names, "Bearer s"), "accept": "*/*"}
    exchange = recorded("chat.json", request_headers=secret, response_headers={"set-cookie": "s", "server": "x"})

    masked = mask_credentials(exchange)

    assert set(masked.request_headers.values()) == {REDACTED, "*/*"}
    assert masked.response_headers == {"set-cookie": REDACTED, "server": "x"}


BODY = {
    "messages": [
        {
            "role": "assistant",
            "tool_calls": [{"function": {"name": "login", "arguments": '{"user": "bob", "password": "S3CR3T"}'}}],
        },
        {"role": "user", "content": "see https://bob:S3CR3T@db/x?model=a&access_token=S3CR3T"},
    ],
    "mcp_servers": [{"type": "url", "url": "https://mcp/x", "authorization_token": "S3CR3T"}],
    "tools": [
        {"type": "mcp", "server_label": "x", "headers": {"X-Whatever": "S3CR3T"}},
        {"type": "function", "function": {"name": "f", "parameters": {"properties": {"api_key": {"type": "string"}}}}},
    ],
    "metadata": {"credentials": {"user": "bob", "pin": ["S3CR3T"]}, "apiKey": "S3CR3T", "key": "C major"},
    "logprobs": {"content": [{"token": "Hel", "logprob": -0.1}]},
    "max_tokens": 5,
}


def test_what_a_name_in_a_body_calls_secret_is_masked():
    body = json.dumps(BODY).encode()

    kept = prepared(recorded("chat.json", request_body=body, annotations={"token": "S3CR3T"}), CaptureLimits(), ANY)

    assert b"S3CR3T" not in kept.request_body
    assert kept.annotations == {"token": REDACTED}
    said = json.loads(kept.request_body)
    (call,) = said["messages"][0]["tool_calls"]
    assert call["function"]["arguments"] == f'{{"user": "bob", "password": "{REDACTED}"}}'
    assert said["messages"][1]["content"] == f"see https://{REDACTED}@db/x?model=a&access_token={REDACTED}"
    assert said["tools"][1] == BODY["tools"][1]
    assert (said["metadata"]["key"], said["max_tokens"]) == ("C major", 5)


def test_what_a_name_calls_secret_is_masked_in_the_one_event_of_a_stream_that_has_it():
    plain = b'data: {"choices": [{"index": 0, "delta": {"content": "a"}}]}\n\n'
    named = b'data: {"choices": [{"index": 0, "delta": {"x": [{"api_key": "S3CR3T"}]}}]}\n\n'
    headers = {"content-type": "text/event-stream"}

    kept = prepared(
        recorded("chat.json", response_body=plain + named + plain, response_headers=headers), CaptureLimits(), ANY
    )

    assert kept.response_body == plain + named.replace(b"S3CR3T", REDACTED.encode()) + plain


@pytest.mark.parametrize(
    ("document", "kept"),
    [
        ({"env": [{"name": "API_TOKEN", "value": "S3CR3T"}]}, {"env": [{"name": "API_TOKEN", "value": REDACTED}]}),
        ({"env": [{"name": "COLOUR", "value": "red"}]}, None),
        ({"pin": 481516, "n": 481516, "auth": True}, {"pin": REDACTED, "n": 481516, "auth": True}),
        ({"properties": {"password": "S3CR3T", "user": "bob"}}, {"properties": {"password": REDACTED, "user": "bob"}}),
        (
            {"properties": {"password": {"type": "string", "default": "S3CR3T"}}},
            {"properties": {"password": {"type": "string", "default": REDACTED}}},
        ),
        ({"a": '{"b": "{\\"pin\\": 481516}"}'}, {"a": '{"b": "{\\"pin\\": \\"[redacted]\\"}"}'}),
    ],
)
def test_what_names_call_secret_in_other_shapes(document, kept):
    body = json.dumps(document).encode()

    found = prepared(recorded("chat.json", request_body=body), CaptureLimits(), ANY).request_body

    assert json.loads(found) == (kept or document)


ARGUMENTS = (
    '{"user": "bob", "pass\\u0077ord": "S3CR3T", "deep": {"credentials": {"a": {"b": ["S3CR3T"]}}, "pin": 481516}}'
)
SHAPES = {
    "openai": lambda piece: {
        "choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}}]
    },
    "anthropic": lambda piece: {"index": 1, "delta": {"type": "input_json_delta", "partial_json": piece}},
    "responses": lambda piece: {"type": "response.function_call_arguments.delta", "output_index": 0, "delta": piece},
}


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_name_is_heeded_in_arguments_that_come_in_pieces(shape, size):
    """Issue 16: a secret that only its name tells, in a call of which no event has the whole."""
    events = [SHAPES[shape](ARGUMENTS[at : at + size]) for at in range(0, len(ARGUMENTS), size)]
    body = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)

    kept = prepared(recorded("chat.json", response_body=body, response_headers=SSE), CaptureLimits(), ANY)

    events = [json.loads(line[6:]) for line in kept.response_body.decode().splitlines() if line]
    said = "".join(
        part for event in events for part in _strings(event) if "_delta" not in part and ".delta" not in part
    )
    assert said.startswith('{"user": "bob", ')
    assert not {"S3CR3T", "481516"} & set(re.findall(r"\w+", said))


def _strings(value):
    """Yield the texts of a document in order."""
    if isinstance(value, str):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _strings(inner)


def test_the_tokens_of_an_answer_are_no_secrets():
    body = json.dumps(
        {"choices": [{"logprobs": {"content": [{"token": "Hel", "logprob": -0.1}]}}], "token": "S"}
    ).encode()

    kept = prepared(recorded("chat.json", response_body=body), CaptureLimits(), ANY)

    assert json.loads(kept.response_body) == {**json.loads(body), "token": REDACTED}


def test_what_a_name_calls_secret_is_masked_in_a_body_that_was_cut():
    body = json.dumps({"api_key": "S3CR3T", "prompt": "x" * 3000, "password": "S3CR3T"}).encode()

    kept = prepared(recorded("chat.json", request_body=body[:-4]), CaptureLimits(), ANY)

    assert b"S3C" not in kept.request_body
    assert kept.request_body.startswith(b'{"api_key": "[redacted]", "prompt": "xxx')


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
