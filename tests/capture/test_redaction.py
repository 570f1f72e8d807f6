import base64
import html
import json
import time
from dataclasses import replace
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dmrc import mask
from dmrc.capture.masking import CaptureLimits, prepared
from dmrc.capture.reading import complete, text_of_response
from dmrc.capture.redaction import REDACTED, Redactor
from dmrc.exchange import Exchange
from tests.capture.recorded import SSE, recorded

SECRET = 'p4ss/"wörd"\n<&>+=\\end'
PLAIN = "tok_8f3kd92mmQ"


def everything(exchange: Exchange) -> str:
    """All that is recorded of it, with the texts of bodies unescaped as well."""
    return repr(exchange) + text_of_response(exchange)


def masked(secret: str = PLAIN, **changes) -> Exchange:
    return Redactor([secret]).masked(recorded("chat.json", **changes))


def stream(pieces: list[str], **more) -> bytes:
    events = [{"choices": [{"index": 0, "delta": {"content": piece}, **more}]} for piece in pieces]
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events) + b"data: [DONE]\n\n"


def escaped_by_dotnet(text: str) -> str:
    return "".join(f"\\u{ord(char):04X}" if char in "<>&'\"+`" or ord(char) > 126 else char for char in text)


@pytest.mark.parametrize(
    "written",
    [
        json.dumps(SECRET),
        json.dumps(SECRET, ensure_ascii=False),
        json.dumps(SECRET).replace("/", "\\/"),
        json.dumps(SECRET).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"),
        '"' + "".join(f"\\u{ord(char):04x}" for char in SECRET) + '"',
        json.dumps("x" + quote(SECRET, safe="")),
        *(json.dumps(base64.b64encode(b"user:"[:count] + SECRET.encode() + b"!").decode()) for count in range(6)),
    ],
)
def test_a_secret_in_a_body_is_masked_however_it_is_written(written):
    body = f'{{"messages": [{{"role": "user", "content": {written}}}], "n": 1}}'.encode()

    kept = masked(SECRET, request_body=body, response_body=body)

    assert written.encode() not in kept.request_body
    assert REDACTED.encode() in kept.request_body
    assert json.loads(kept.request_body)["n"] == 1
    assert kept.response_body == kept.request_body


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_secret_in_json_in_json_is_masked_at_every_depth(depth):
    """Issue 16: arguments of calls and tools' results are JSON in a text, where an escape is escaped once more."""
    text = SECRET
    for _ in range(depth):
        text = json.dumps({"a": text})
    body = json.dumps({"messages": [{"role": "tool", "content": text}]}).encode()

    kept = json.loads(masked(SECRET, request_body=body).request_body)["messages"][0]["content"]

    for _ in range(depth):
        kept = json.loads(kept)["a"]
    assert kept == REDACTED


@pytest.mark.parametrize(
    "body",
    [
        b'{"metadata": {"%s": 1}}',
        b'{"a": "%s", "a": "the last one counts"}',
        b'{"a": "%s',
        b'"%s"',
        b"[" * 3000 + b'"%s"' + b"]" * 3000,
    ],
)
def test_a_secret_of_escapes_is_masked_where_no_value_of_json_is_read(body):
    written = "".join(f"\\u{ord(char):04x}" for char in SECRET).encode()

    assert written not in masked(SECRET, request_body=body % written).request_body


@pytest.mark.parametrize(
    "written", [quote(SECRET), quote(SECRET, safe="").lower(), SECRET.encode().hex(), html.escape(SECRET)]
)
def test_a_secret_is_masked_in_other_ways_of_writing(written):
    kept = masked(SECRET, response_body=f"<pre>{written}</pre>".encode())

    assert kept.response_body == b"<pre>[redacted]</pre>"


def test_a_secret_is_masked_in_names_of_headers_and_of_notes():
    secret = PLAIN.lower()

    kept = masked(secret, request_headers={f"x-{secret}": "1"}, annotations={secret: {secret: 1}})

    assert secret not in repr(kept)


def test_calls_that_come_in_turn_are_told_apart():
    """Anthropic's and the Responses' events say at their top which part of the answer they tell of."""
    pieces = [(index, piece) for piece in (PLAIN[:6], PLAIN[6:]) for index in (0, 1)]
    events = [{"index": index, "delta": {"partial_json": piece if index else "x"}} for index, piece in pieces]
    body = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)

    kept = masked(response_body=body, response_headers=SSE).response_body

    assert PLAIN[6:].encode() not in kept
    assert REDACTED.encode() in kept


def test_a_secret_is_masked_in_every_part_of_an_exchange():
    kept = masked(
        path=f"/v1/{PLAIN}/x",
        user_agent=f"app {PLAIN}",
        session_id=PLAIN,
        model_requested=PLAIN,
        error_message=f"no {PLAIN} here",
        request_headers={"x-custom": f"a{PLAIN}b"},
        response_headers={"x-echo": PLAIN},
        request_body=f"not json {PLAIN}".encode(),
        annotations={"note": [{"deep": f"<{PLAIN}>"}]},
    )

    assert PLAIN not in everything(kept)
    assert kept.error_message == "no [redacted] here"
    assert kept.annotations == {"note": [{"deep": "<[redacted]>"}]}


@pytest.mark.parametrize("size", [1, 2, 3, 5, 50])
def test_a_secret_split_over_the_events_of_a_stream_is_masked(size):
    answer = f"It is {PLAIN}, and again {PLAIN}."
    body = stream([answer[start : start + size] for start in range(0, len(answer), size)])

    kept = masked(response_body=body, response_headers=SSE)

    assert text_of_response(kept) == "It is [redacted], and again [redacted]."
    assert kept.response_body.endswith(b"data: [DONE]\n\n")


def test_a_secret_in_split_arguments_of_a_tool_call_is_masked_with_its_logprobs():
    calls = [{"index": 1, "function": {"arguments": piece}} for piece in ('{"k": "tok_8f', "3kd92", 'mmQ"}')]
    logprobs = {"content": [{"token": "mmQ", "bytes": [109, 109, 81]}]}
    events = [{"choices": [{"index": 0, "delta": {"tool_calls": [call]}, "logprobs": logprobs}]} for call in calls]
    body = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)

    kept = masked(response_body=body, response_headers=SSE)

    assert text_of_response(kept) == '{"k": "[redacted]"}'
    assert b"109" not in kept.response_body


def test_the_logprobs_of_a_whole_answer_do_not_spell_the_secret():
    content = [{"token": piece, "bytes": list(piece.encode())} for piece in ("tok_8f", "3kd92", "mmQ")]
    choice = {"message": {"content": PLAIN}, "logprobs": {"content": content}}

    kept = masked(response_body=json.dumps({"choices": [choice]}).encode())

    assert json.loads(kept.response_body)["choices"][0] == {"message": {"content": REDACTED}, "logprobs": None}


def test_chunk_offsets_follow_the_events_when_a_mask_makes_them_shorter():
    pieces = ["a", PLAIN, "tok_8f3k", "d92mmQ", "z"]
    body = stream(pieces)
    starts = [position for position in range(len(body)) if body.startswith(b"data: ", position)]
    offsets = tuple((float(number), start) for number, start in enumerate(starts))

    kept = masked(response_body=body, response_headers=SSE, chunk_offsets=offsets)

    assert len(kept.response_body) != len(body)
    assert [kept.response_body[offset : offset + 6] for _, offset in kept.chunk_offsets] == [b"data: "] * len(starts)


def test_numbers_and_times_are_those_of_the_answer_before_it_was_masked():
    exchange = complete(recorded("chat.sse", chunk_offsets=((10.0, 0),)))

    kept = Redactor(["content"]).masked(exchange)

    assert (kept.completion_tokens, kept.first_token_ms) == (exchange.completion_tokens, exchange.first_token_ms)


def test_a_key_of_dmrc_is_masked_whoever_knows_it():
    key = "sk-dmrc-" + "aB3_-" * 8
    body = json.dumps({"messages": [{"content": f"my key is {key}"}]}).encode()

    assert b"aB3" not in Redactor().masked(recorded("chat.json", request_body=body)).request_body


def test_without_secrets_nothing_changes():
    exchange = recorded("chat.sse", request_body=b'{"a": "b"}', chunk_offsets=((1.0, 0), (2.0, 30)))

    assert Redactor([PLAIN, ""]).masked(exchange) == exchange


@pytest.mark.slow("megabytes of text")
def test_a_secret_across_the_limit_leaves_no_beginning_of_itself():
    limits = CaptureLimits(request_body_bytes=1000, response_body_bytes=1000)
    answer = stream([char for _ in range(400) for char in PLAIN + " "])
    for shift in range(0, 60, 7):
        request = b'{"prompt": "' + b"x" * (960 + shift) + PLAIN.encode() + b"y" * 200_000 + b'"}'
        response = b":" + b" " * shift + b"\n\n" + answer
        exchange = recorded("chat.json", request_body=request, response_body=response, response_headers=SSE)

        kept = prepared(exchange, limits, Redactor([PLAIN]))

        assert b"tok_" not in kept.request_body
        assert not set(text_of_response(kept).replace(REDACTED, "")) & set(PLAIN), text_of_response(kept)
        assert len(kept.request_body) <= 1000
        assert len(kept.response_body) <= 1000
        assert kept.annotations["request_body_bytes"] == len(request)
        assert kept.annotations["response_body_bytes"] == len(response)


@pytest.mark.slow("measures time")
def test_eight_mebibytes_with_fifty_secrets_take_less_than_linear_patience():
    """The bound is generous: it tells linear from quadratic, and nothing of the machine."""
    secrets = [f"tok_{number:03d}_0123456789abcdef" for number in range(50)]
    words = " ".join(f"tok_{number % 100:02d}" for number in range(1_000_000))
    body = json.dumps({"messages": [{"role": "user", "content": words[: 8 << 20]}]}).encode()

    def seconds(size: int) -> float:
        started = time.process_time()
        Redactor(secrets).masked(recorded("chat.json", request_body=body[:size] + secrets[0].encode()))
        return time.process_time() - started

    seconds(1 << 20)
    assert seconds(8 << 20) < 30 * seconds(1 << 20)


_ESCAPING = st.text('\\"/nut0é\n', max_size=10)  # what JSON escapes, and the letters of its escapes


@pytest.mark.slow("hundreds of texts")
@settings(max_examples=200, deadline=None)
@example("/000", ["\\"], None)
@example("name", ["a\n", "\n"], None)
@example("key\\", ['key"'], None)
@given(
    # One with quotes may be a piece of JSON, which is masked where it stands as such, too: no JSON is left then.
    (st.text(min_size=4, max_size=30) | _ESCAPING).filter(lambda text: len(text) > 3 and '"' not in text),
    st.lists(st.text(max_size=10) | _ESCAPING, max_size=4),
    st.data(),
)
def test_no_secret_survives_any_split(secret, around, data):
    text = secret.join([*around, "", "end"])
    cuts = [] if data is None else sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=10)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]

    kept = masked(secret, response_body=stream(pieces), response_headers=SSE)

    contents = [
        json.loads(line[6:])["choices"][0]["delta"]["content"]
        for line in kept.response_body.split(b"\n")
        if line.startswith(b"data: {")
    ]
    assert secret not in "".join(contents).replace(REDACTED, "\0")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.binary(max_size=300))
def test_no_body_breaks_it(request_body, response_body):
    exchange = recorded("chat.json", request_body=request_body, response_body=response_body)

    kept = Redactor(["aa", "\ud800x"]).masked(exchange)
    by_plugin = mask(exchange, ["a+"], ["a.*.b"])

    assert b"aa" not in kept.request_body
    assert b"aa" not in kept.response_body
    assert kept.id == by_plugin.id == exchange.id


def test_a_plugin_masks_by_pattern_and_by_path():
    body = {"user": "u1", "messages": [{"role": "user", "content": "write to ann@example.org"}], "metadata": {"a": 5}}
    exchange = recorded(
        "chat.json",
        request_body=json.dumps(body).encode(),
        response_body=stream(["Mail a", "nn@exa", "mple.org now"]),
        response_headers=SSE,
        user_agent="ann@example.org",
    )

    kept = mask(exchange, patterns=[r"[\w.]+@[\w.]+\w"], json_paths=["user", "metadata.*", "none.x"])

    assert json.loads(kept.request_body) == {
        "user": REDACTED,
        "messages": [{"role": "user", "content": f"write to {REDACTED}"}],
        "metadata": {"a": REDACTED},
    }
    assert text_of_response(kept) == f"Mail {REDACTED} now"
    assert kept.user_agent == REDACTED
    assert mask(replace(exchange, request_body=b"plain a@b.org")).request_body == b"plain a@b.org"
    assert mask(replace(exchange, request_body=b"plain a@b.org"), [r"\w@\S+"]).request_body == b"plain [redacted]"
