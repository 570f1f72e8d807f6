import json
from dataclasses import astuple, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmrc.capture.reading import complete, text_of_request, text_of_response, texts_of_request
from dmrc.capture.rows import to_rows
from dmrc.capture.summary import cells, to_json
from dmrc.exchange import Exchange
from tests.capture.recorded import JSON, SSE, recorded


def body(text: str | bytes, headers=None) -> Exchange:
    raw = text.encode() if isinstance(text, str) else text
    return recorded("chat.json", response_body=raw, response_headers=headers or {})


@pytest.mark.parametrize(
    ("name", "prompt", "cached", "generated"),
    [
        ("chat.json", 21, 3, 6),
        ("chat-cached.json", 21, 20, 6),
        ("chat.sse", 21, 20, 4),
        ("chat-usage.sse", 21, 20, 4),
        ("completion.json", 4, None, 4),
        ("completion.sse", 4, 3, 4),
        ("embeddings.json", 1, None, None),
    ],
)
def test_tokens_are_counted_with_the_cached_ones(name, prompt, cached, generated):
    exchange = complete(recorded(name))

    assert exchange.prompt_tokens == prompt
    assert exchange.completion_tokens == generated
    if cached is not None:
        assert exchange.cached_tokens == cached
    assert exchange.error_type is None


@pytest.mark.parametrize("name", ["chat.json", "chat.sse", "chat-usage.sse", "completion.json", "completion.sse"])
def test_rates_and_the_finish_reason_come_from_the_engine(name):
    exchange = complete(recorded(name))

    assert exchange.finish_reason == "length"
    assert exchange.prompt_tokens_per_second is not None
    assert exchange.completion_tokens_per_second is not None
    assert exchange.prompt_tokens_per_second > 10
    assert exchange.completion_tokens_per_second > 10


def test_a_single_token_has_no_rate():
    """llama.cpp answers predicted_ms 0.001 and predicted_per_second 0.0 then."""
    exchange = complete(body('{"timings":{"prompt_n":3,"cache_n":0,"predicted_n":1,"predicted_per_second":0.0}}'))

    assert exchange.completion_tokens == 1
    assert exchange.completion_tokens_per_second is None


def test_a_stream_without_the_engines_rate_has_that_of_its_pieces():
    piece = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'
    end = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}],"usage":{"completion_tokens":11}}\n\n'

    def rate(pieces: int, milliseconds: float) -> float | None:
        """The rate of a stream of so many pieces, each so long after the one before, and its end with the last."""
        offsets = tuple((100 + milliseconds * number, number * len(piece)) for number in range(pieces))
        stream = body(piece * pieces + end, {"content-type": "text/event-stream"})
        return complete(replace(stream, chunk_offsets=offsets)).completion_tokens_per_second

    assert rate(11, 10) == pytest.approx(100)
    assert rate(2, 10) is None, "of eleven tokens in two pieces nobody knows when they were made"
    assert rate(11, 0) is None


def test_the_first_token_of_a_stream_has_the_time_of_its_chunk():
    plain = recorded("chat.sse")
    role = plain.response_body.index(b"\n\n") + 2
    first = plain.response_body.index(b"\n\n", role) + 2

    offsets = ((100.0, 0), (150.0, role), (170.0, first))

    assert complete(replace(plain, chunk_offsets=offsets)).first_token_ms == 150.0


def test_a_first_token_split_over_two_chunks_came_with_the_second():
    plain = recorded("completion.sse")

    exchange = complete(replace(plain, chunk_offsets=((10.0, 0), (20.0, 30), (30.0, 400))))

    assert exchange.first_token_ms == 20.0


@pytest.mark.parametrize(
    "delta", ['{"reasoning_content":"Hm"}', '{"tool_calls":[{"index":0,"function":{"name":"f","arguments":""}}]}']
)
def test_reasoning_and_tool_calls_are_first_tokens(delta):
    role = 'data: {"choices":[{"delta":{"role":"assistant","content":null}}]}\n\n'
    stream = role + 'data: {"choices":[{"delta":' + delta + "}]}\n\ndata: [DONE]\n\n"

    exchange = complete(replace(body(stream, SSE), chunk_offsets=((1.0, 0), (2.0, len(role)))))

    assert exchange.first_token_ms == 2.0


def test_without_a_stream_the_first_token_is_told_by_the_prompt_time():
    exchange = recorded("chat.json", queue_ms=100.0, load_ms=1000.0, total_ms=5000.0)
    prompt_ms = json.loads(exchange.response_body)["timings"]["prompt_ms"]

    assert complete(exchange).first_token_ms == pytest.approx(1100 + prompt_ms)
    assert complete(replace(exchange, total_ms=900.0)).first_token_ms == 900.0


def test_a_stream_of_nothing_has_no_first_token():
    exchange = complete(replace(body("data: [DONE]\n\n", SSE), chunk_offsets=((1.0, 0),)))

    assert exchange.first_token_ms is None
    assert exchange.prompt_tokens is None


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("error-400.json", "invalid_request_error", "'messages' is required"),
        ("error-context.json", "exceed_context_size_error", "exceeds the available context size"),
    ],
)
def test_errors_are_read(name, kind, message):
    exchange = complete(recorded(name))

    assert exchange.error_type == kind
    assert exchange.error_message is not None
    assert message in exchange.error_message


def test_an_error_event_in_a_stream_is_read():
    stream = recorded("chat.sse").response_body.split(b"\n\n")[:3]
    stream.append(b'event: error\r\ndata: {"error":{"message":"engine\\ndied","type":"server_error","code":500}}\r\n')

    exchange = complete(body(b"\n\n".join(stream), SSE))

    assert (exchange.error_type, exchange.error_message) == ("server_error", "engine died")
    assert exchange.finish_reason is None


def test_of_a_stream_that_its_caller_ended_the_pieces_are_counted():
    """Issue 16, B15: whoever counts use per service counted nothing for it."""
    pieces = recorded("chat.sse").response_body.split(b"\n\n")[:4]

    exchange = complete(body(b"\n\n".join(pieces), SSE))

    assert exchange.completion_tokens == sum(b'"content":"' in piece for piece in pieces) > 0
    assert exchange.annotations == {"estimated": "completion_tokens"}
    assert cells(exchange).tokens == f"→~{exchange.completion_tokens}"
    assert "estimated" not in complete(recorded("chat-usage.sse")).annotations


def test_several_answers_count_all_their_tokens():
    """Issue 16, B15: llama.cpp's timings are of one answer; the usage that its caller sees is of all."""
    usage = {"prompt_tokens": 36, "completion_tokens": 30}
    timings = {"prompt_n": 1, "cache_n": 35, "predicted_n": 12}

    exchange = complete(body(json.dumps({"choices": [{}, {}, {}], "usage": usage, "timings": timings}).encode(), JSON))

    assert (exchange.prompt_tokens, exchange.completion_tokens) == (36, 30)


def test_a_request_that_ends_with_the_result_of_a_tool_has_a_title():
    """Issue 16, B16: after `previous_response_id` it holds no word of a user."""
    output = {"type": "function_call_output", "call_id": "c1", "output": "rain in Bern"}
    alone = recorded("chat.json", operation="response", request_body=json.dumps({"input": [output]}).encode())
    user = {"role": "user", "content": [{"type": "input_text", "text": "Rain?"}]}
    body = json.dumps({"input": [user, output]}).encode()
    after = recorded("chat.json", operation="response", request_body=body)

    assert (text_of_request(alone), text_of_request(after)) == ("rain in Bern", "Rain?")


def test_what_was_known_already_is_kept():
    exchange = complete(recorded("error-400.json", error_type="refused", prompt_tokens=7))

    assert exchange.error_type == "refused"
    assert exchange.prompt_tokens == 7


def test_a_cut_answer_still_tells_its_numbers():
    whole = recorded("chat.json").response_body

    exchange = complete(body(whole[10:], JSON))

    assert exchange.prompt_tokens == 21
    assert exchange.finish_reason == "length"


def test_an_answer_too_long_to_parse_still_tells_its_numbers():
    vector = ",".join(["0.123456789"] * 200_000)
    long = '{"usage":{"prompt_tokens":12,"total_tokens":12},"data":[{"embedding":[' + vector + "]}]}"

    assert complete(body(long, JSON)).prompt_tokens == 12


@pytest.mark.parametrize(
    "hostile",
    [
        b"[" * 200_000,
        b'{"a":' * 200_000,
        b'{"usage":' + b'{"a":' * 100_000,
        b'{"usage":{"prompt_tokens":' + b"9" * 10_000 + b"}}",
        b'{"usage":{"prompt_tokens":-5,"completion_tokens":1e999},"timings":{"prompt_per_second":NaN}}',
        b'{"usage":[],"timings":3,"choices":{"a":1},"error":{"message":{},"type":[]}}',
        b'{"choices":[null,{"delta":7},{"finish_reason":{}}],"error":{"message":"\\ud800","type":"x\\udfff"}}',
        b'{"choices":[{"message":{"content":"\\ud83d"}}]}',
        b"data: " + b"x" * 3_000_000,
        b"data:\n" * 100_000,
        b"\xff\xfe\x00data: {",
        b'data: {"choices":[{"delta":{"content":"\xff"}}]}\n\n',
    ],
    ids=lambda raw: raw[:24],
)
def test_a_hostile_body_does_no_harm(hostile):
    for headers in ({}, JSON, SSE):
        exchange = complete(replace(body(hostile, headers), request_body=hostile, chunk_offsets=((1.0, 0),)))

        assert exchange.prompt_tokens is None
        to_rows(exchange)
        json.dumps(to_json(exchange, with_content=True))
        " ".join(astuple(cells(exchange))).encode()


PIECES = [
    *(b"data: ", b"\n\n", b"\r\n", b'{"choices":[{"delta":{"content":"a"}}]}', b"[DONE]", b'{"error":', b'"usage":{'),
    *(b'"messages":[', b'{"role":"user","content":"', b"\\u", b"\\", b'"', b"}", b"]", b"\xf0\x9f", b"event: error"),
]
fragments = st.lists(st.sampled_from(PIECES) | st.binary(max_size=8)).map(b"".join)


@pytest.mark.slow("hundreds of bodies")
@given(raw=fragments, offsets=st.lists(st.tuples(st.floats(0, 1e6), st.integers(-5, 400)), max_size=5))
def test_no_bytes_raise(raw, offsets):
    for headers in ({}, JSON, SSE):
        exchange = replace(body(raw, headers), request_body=raw, chunk_offsets=tuple(offsets))

        done = complete(exchange)

        assert done.response_body == raw
        to_rows(done)
        assert "\n" not in cells(done).words
        json.dumps(to_json(done, with_content=True), allow_nan=False)


def test_the_question_is_the_first_user_message():
    request = {
        "messages": [
            {"role": "system", "content": "Be short."},
            {"role": "user", "content": [{"type": "text", "text": "Look:"}, {"type": "image_url"}]},
            {"role": "user", "content": "again"},
        ]
    }
    exchange = recorded("chat.json", request_body=json.dumps(request).encode())

    assert text_of_request(exchange) == "Look:"
    assert texts_of_request(exchange) == ("Look:", "Be short.\nagain")


@pytest.mark.parametrize(
    ("request_body", "text"),
    [
        ('{"prompt":"Once upon"}', "Once upon"),
        ('{"input":["a","b"]}', "a\nb"),
        ('{"input":[1,2]}', ""),
        ('{"messages":[{"role":"system","content":"s"},{"role":"user","content":"caf\\u00e9 \\"x\\" an', 'café "x" an'),
        ("not json", ""),
    ],
)
def test_the_question_is_found_in_every_form(request_body, text):
    assert text_of_request(recorded("chat.json", request_body=request_body.encode())) == text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("chat.json", "The planet is called Kepler-"),
        ("chat.sse", "The planet is called"),
        ("completion.sse", ", the city of"),
        ("embeddings.json", ""),
        ("error-400.json", ""),
    ],
)
def test_the_answer_is_put_together(name, text):
    assert text_of_response(recorded(name)) == text


def test_tool_calls_are_part_of_the_answer():
    parts = [{"name": "weather", "arguments": ""}, {"arguments": '{"city":'}, {"arguments": '"Paris"}'}]
    stream = "".join(
        "data: " + json.dumps({"choices": [{"delta": {"tool_calls": [{"index": 0, "function": part}]}}]}) + "\n\n"
        for part in parts
    )

    assert text_of_response(body(stream, SSE)) == 'weather {"city":"Paris"}'
