import json
from dataclasses import asdict, fields, replace
from datetime import datetime

from dmrc.capture.reading import complete
from dmrc.capture.summary import cells, from_json, outcome, to_json
from dmrc.exchange import Exchange
from tests.capture.recorded import recorded


def asked(text: str) -> Exchange:
    body = json.dumps({"messages": [{"role": "user", "content": text}]}).encode()
    return complete(recorded("chat.json", project="facts", service="python", model_key="smollm", request_body=body))


def test_the_cells_show_who_what_and_how_fast():
    exchange = replace(asked("Tell me\na fact"), first_token_ms=117.4)

    row = cells(exchange, today=datetime.fromtimestamp(exchange.received_at))

    assert row.time == datetime.fromtimestamp(exchange.received_at).strftime("%H:%M:%S")
    assert (row.id, row.who, row.model, row.status) == (exchange.id[-8:], "facts/python", "smollm", "200")
    assert (row.tokens, row.first_token, row.took, row.rate) == ("21→6", "117 ms", "", "130 tok/s")
    assert (row.error, row.words) == ("", "Tell me a fact")


def test_a_request_of_another_day_has_its_day():
    exchange = asked("hi")

    assert cells(exchange).time == datetime.fromtimestamp(exchange.received_at).strftime("%m-%d %H:%M")


def test_a_prompt_cannot_act_on_the_terminal():
    row = cells(asked("\x1b[2J\x1b]0;x\x07a\u202eb\u2028c\r\n\x9bd" + "e" * 500))

    assert row.words.isprintable()
    assert len(row.words) == 200


def test_cells_without_content_show_the_excerpt_that_was_stored():
    assert cells(recorded("chat.json", response_body=b""), "Tell me").words == "Tell me"


def test_a_stream_that_broke_and_a_caller_that_left_are_seen():
    broken = recorded("chat.sse", error_type="server_error", error_message="engine\ndied")
    left = recorded("chat.sse", client_disconnected=True)

    assert (cells(broken).status, cells(broken).error, outcome(broken)) == ("200 broken", "engine died", "failed")
    assert (cells(left).status, outcome(left)) == ("200 cancelled", "cancelled")
    assert outcome(recorded("chat.json")) == "done"


def test_what_is_not_known_is_empty():
    row = cells(Exchange(id="0190", received_at=1.0, method="POST", path="/", dialect="openai", operation="chat"))

    assert {name: text for name, text in asdict(row).items() if text} == {"time": row.time, "id": "0190"}


def test_the_context_is_said_as_a_share():
    row = cells(replace(asked("hi"), prompt_tokens=100, completion_tokens=28, context_tokens=512))

    assert row.context == "25 %"


def test_json_has_the_keys_of_the_design_in_their_order_and_is_read_again():
    exchange = replace(asked("hi"), chunk_offsets=((1.5, 0),), total_ms=float("inf"))

    result = to_json(exchange, with_content=True)

    assert list(result) == [field.name for field in fields(Exchange)]
    assert result["chunk_offsets"] == [[1.5, 0]]
    assert result["total_ms"] is None
    assert "request_body" not in to_json(exchange, with_content=False)
    summary = {**to_json(exchange, with_content=False), "excerpt": "hi"}
    assert to_json(from_json(summary), with_content=False) == to_json(exchange, with_content=False)


def test_a_body_that_is_no_text_is_base64_and_says_so():
    result = to_json(recorded("chat.json", response_body=b"\xff\x00"), with_content=True)

    assert result["response_body"] == "/wA="
    assert result["response_body_encoding"] == "base64"
    assert "request_body_encoding" not in result


def test_the_status_says_what_was_replayed():
    replayed = recorded("chat.json").annotated(replayed="web.jsonl:2")

    assert cells(replayed).status == "200 replayed"
    assert cells(replace(replayed, client_disconnected=True)).status == "200 cancelled"
