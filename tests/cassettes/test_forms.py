"""An answer that was recorded whole is given as a stream, and the reverse, in every dialect."""

import json
from dataclasses import replace

import pytest

from dmrc.capture.conversation import answered
from dmrc.cassettes.errors import CassetteError
from dmrc.cassettes.forms import in_form
from dmrc.cassettes.interaction import Asked, Interaction, RecordedAnswer, RecordedPiece
from dmrc.dialects.dialect import Timing
from dmrc.dialects.table import dialect_of
from dmrc.dialects.translation import said_by

pytestmark = pytest.mark.fast

ANTHROPIC = ("anthropic", "/v1/messages", "chat", {"max_tokens": 50, "messages": [{"role": "user", "content": "Hi"}]})
OLLAMA = ("ollama", "/api/chat", "chat", {"messages": [{"role": "user", "content": "Hi"}]})
GENERATE = ("ollama", "/api/generate", "completion", {"prompt": "Hi"})
RESPONSES = ("openai", "/v1/responses", "response", {"input": "Hi"})
CHAT = ("openai", "/v1/chat/completions", "chat", {"messages": [{"role": "user", "content": "Hi"}]})
TRANSLATED = pytest.mark.parametrize(
    "route", [ANTHROPIC, OLLAMA, GENERATE, RESPONSES], ids=["anthropic", "ollama", "generate", "responses"]
)


def event(delta: dict, finish: str | None = None, **more: object) -> dict:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"choices": [choice], "id": "chatcmpl-1", "created": 7, "object": "chat.completion.chunk", **more}


def said(finish: str) -> list[dict]:
    call = {"index": 0, "id": "c1", "type": "function", "function": {"name": "weather", "arguments": ""}}
    arguments = {"tool_calls": [{"index": 0, "function": {"arguments": '{"city": "Rome"}'}}]}
    calls = [event({"tool_calls": [call]}), event(arguments)] if finish == "tool_calls" else []
    counts = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
    words = [event({"role": "assistant", "content": None}), event({"content": "Grüße"}), event({"content": " aus Rom"})]
    return [*words, *calls, event({}, finish), {"choices": [], "usage": counts}]


def live(route: tuple, finish: str, **more: object) -> Interaction:
    """Return a stream as the gateway makes it of the engine's."""
    dialect, path, operation, body = route
    asked = Asked(dialect=dialect, path=path, operation=operation, model="llm", body={"model": "llm", **body, **more})
    call = (
        dialect_of(dialect, operation)
        .routes()[path.replace("/v1/responses", "{v1}/responses")]
        .call({**asked.body, "stream": True}, b"", None)
    )
    parts = said_by(call.reply, said(finish), lambda: Timing(9.0, 2.0))
    pieces = tuple(RecordedPiece(5.0, part) for part in parts)
    return Interaction(
        asked, RecordedAnswer(model="ai/x", status=200, content_type=call.reply.stream_type, pieces=pieces)
    )


def engines_own(route: tuple, finish: str, **more: object) -> Interaction:
    dialect, path, operation, body = route
    asked = Asked(dialect=dialect, path=path, operation=operation, model="llm", body={**body, **more})
    parts = [b"data: " + json.dumps(one).encode() + b"\n\n" for one in said(finish)] + [b"data: [DONE]\n\n"]
    pieces = tuple(RecordedPiece(5.0, part) for part in parts)
    return Interaction(asked, RecordedAnswer(model="ai/x", status=200, content_type="text/event-stream", pieces=pieces))


def converted(interaction: Interaction, *, stream: bool) -> Interaction:
    return replace(interaction, answer=in_form(interaction, interaction.asked, stream=stream))


@TRANSLATED
@pytest.mark.parametrize("finish", ["stop", "length", "tool_calls"])
def test_a_stream_given_whole_and_as_a_stream_again_says_the_same(route: tuple, finish: str) -> None:
    recorded = live(route, finish)

    whole = converted(recorded, stream=False)
    again = converted(whole, stream=True)

    assert whole.answer.content_type == "application/json"
    assert not whole.answer.is_stream
    assert again.answer.content_type == recorded.answer.content_type
    assert len(again.answer.pieces) > 2
    for one in (whole, again):
        assert answered(one.as_exchange()) == answered(recorded.as_exchange())
        assert sum(piece.after_ms for piece in one.answer.pieces) == pytest.approx(5.0 * len(recorded.answer.pieces))


@TRANSLATED
def test_an_answer_in_its_other_form_is_the_same_each_time(route: tuple) -> None:
    whole = converted(live(route, "stop"), stream=False)

    assert converted(whole, stream=True) == converted(whole, stream=True)
    assert converted(live(route, "stop"), stream=False).answer.body != whole.answer.body  # another answer, another id


def documents(interaction: Interaction) -> list[dict]:
    lines = interaction.answer.body.decode().splitlines()
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.removeprefix("data: ").startswith("{")]


@pytest.mark.parametrize(
    ("finish", "reason"), [("stop", "end_turn"), ("length", "max_tokens"), ("tool_calls", "tool_use")]
)
def test_anthropics_message_ends_as_its_stream_did(finish: str, reason: str) -> None:
    recorded = live(ANTHROPIC, finish)
    whole = converted(recorded, stream=False)
    again = converted(whole, stream=True)

    (message,) = documents(whole)
    assert message["id"] == documents(recorded)[0]["message"]["id"] == documents(again)[0]["message"]["id"]
    assert message["stop_reason"] == reason
    assert documents(again)[-2]["delta"]["stop_reason"] == reason
    assert message["usage"]["output_tokens"] == documents(again)[-2]["usage"]["output_tokens"] == 5


def _with(whole: Interaction, **fields: object) -> RecordedAnswer:
    (piece,) = whole.answer.pieces
    return replace(whole.answer, pieces=(replace(piece, data=json.dumps(json.loads(piece.data) | fields).encode()),))


def test_a_response_keeps_the_ids_that_a_client_sends_back() -> None:
    recorded = live(RESPONSES, "tool_calls", store=True)
    whole = converted(recorded, stream=False)
    again = converted(whole, stream=True)

    (response,) = documents(whole)
    assert response == documents(recorded)[-1]["response"]
    assert documents(again)[-1]["response"] == response
    before = converted(replace(whole, answer=_with(whole, previous_response_id="resp_0")), stream=True)
    assert documents(before)[-1]["response"]["previous_response_id"] == "resp_0"
    added = [one["item"]["id"] for one in documents(again) if one["type"] == "response.output_item.added"]
    assert added == [item["id"] for item in response["output"]]


def test_ollamas_lines_have_the_times_that_are_recorded() -> None:
    whole = converted(live(OLLAMA, "tool_calls"), stream=False)
    again = documents(converted(whole, stream=True))

    (document,) = documents(whole)
    assert {one["created_at"] for one in again} == {document["created_at"]}
    assert (document["total_duration"], document["load_duration"]) == (9_000_000, 2_000_000)
    assert again[-1]["total_duration"] == 9_000_000


def test_openais_counts_come_in_a_stream_only_where_they_are_asked_for() -> None:
    whole = converted(engines_own(CHAT, "tool_calls"), stream=False)
    counted = replace(whole.asked, body={**whole.asked.body, "stream_options": {"include_usage": True}})

    plain, with_counts = (
        documents(replace(whole, answer=in_form(whole, one, stream=True))) for one in (whole.asked, counted)
    )

    assert not any("usage" in one for one in plain)
    assert with_counts[-1] | {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}}
    assert {one["id"] for one in with_counts} == {"chatcmpl-1"}
    assert converted(whole, stream=True).answer.body.endswith(b"data: [DONE]\n\n")


def test_probabilities_are_not_dropped_in_silence() -> None:
    with pytest.raises(CassetteError, match="has probabilities"):
        converted(engines_own(CHAT, "stop", logprobs=True), stream=False)


def test_an_error_and_an_embedding_have_one_form() -> None:
    recorded = engines_own(CHAT, "stop")
    refused = replace(recorded, answer=replace(recorded.answer, status=400, content_type="application/json"))
    embedded = replace(recorded, asked=replace(recorded.asked, operation="embedding"))

    assert in_form(refused, refused.asked, stream=True) is refused.answer
    assert in_form(embedded, embedded.asked, stream=False) is embedded.answer
