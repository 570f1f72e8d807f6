"""Text from every engine: whole, streamed, stopped, repeated, bounded, and in characters that are never broken."""

import http.client
import json

import pytest

from tests.engines.conformance.conftest import CONTEXT, Served

HELLO = [{"role": "user", "content": "Say hello."}]


def raw_stream(served: Served, route: str, body: dict[str, object]) -> list[str]:
    """Return the events of an answer as they came over the wire."""
    connection = http.client.HTTPConnection("127.0.0.1", served.dmrc.port, timeout=120)
    request = json.dumps({"model": "chat", "stream": True, **body})
    connection.request("POST", f"/engines/v1/{route}", request, {"authorization": f"Bearer {served.key}"})
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    lines = [line.decode() for line in answer.read().splitlines()]
    connection.close()
    return [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]


def test_a_completion_goes_on_with_the_prompt(served: Served) -> None:
    answer = served.client.completions.create(model="chat", prompt="One, two, three,", max_tokens=6, temperature=0)

    assert "four" in answer.choices[0].text


def test_a_stream_ends_with_timings_usage_and_done(served: Served) -> None:
    ask = {"messages": HELLO, "max_tokens": 6, "temperature": 0, "stream_options": {"include_usage": True}}

    *events, end = raw_stream(served, "chat/completions", ask)

    usage, last = json.loads(events[-1]), json.loads(events[-2])
    assert end == "[DONE]"
    assert usage["choices"] == []
    if "timings" in served.variant.lacks:
        assert usage["usage"]["completion_tokens"] == 6
        return
    timings = next(event["timings"] for event in (usage, last) if "timings" in event)
    assert timings["predicted_n"] == usage["usage"]["completion_tokens"]
    assert timings["predicted_per_second"] > 0


def test_a_stop_word_ends_the_answer_and_is_not_in_it(served: Served) -> None:
    ask = {"model": "chat", "prompt": "One, two, three,", "max_tokens": 30, "temperature": 0, "stop": ["five"]}

    whole = served.client.completions.create(**ask).choices[0]
    streamed = "".join(chunk.choices[0].text for chunk in served.client.completions.create(**ask, stream=True))

    assert (whole.finish_reason, whole.text) == ("stop", streamed)
    assert "four" in whole.text
    assert "five" not in whole.text


def test_the_same_seed_gives_the_same_text(served: Served) -> None:
    def ask(seed: int) -> str:
        answer = served.client.completions.create(
            model="chat", prompt="The sea is", max_tokens=16, temperature=1.5, seed=seed
        )
        return answer.choices[0].text

    first = ask(1)

    assert ask(1) == first
    assert any(ask(seed) != first for seed in (2, 3, 4))


@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_beyond_the_context_is_a_400_before_anything_is_sent(served: Served, stream: bool) -> None:
    import openai

    messages = [{"role": "user", "content": "word " * (CONTEXT + 100)}]

    with pytest.raises(openai.BadRequestError) as caught:
        served.client.chat.completions.create(model="chat", messages=messages, max_tokens=4, stream=stream)

    assert caught.value.type == "exceed_context_size_error"
    assert "context" in str(caught.value)


def test_an_answer_that_fills_the_context_ends_with_length(served: Served) -> None:
    """The tiny model was trained with 256 tokens, which no declaration changes, and never ends by itself."""
    answer = served.client.completions.create(model="tiny", prompt="ba be", max_tokens=1000)

    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert 250 <= answer.usage.total_tokens <= 256
    runners = json.loads(served.behind.ok("ps", "--json"))
    assert [one["context_size"] for one in runners if "local/tiny" in one["model"]] == [256]


def test_no_character_is_broken_over_two_events(served: Served) -> None:
    """SmolLM2 has no token for most of these characters, so each takes several. It goes on with what is repeated."""
    line = "日本語 😀 ñandú 🐋 Ωμέγα\n"

    *events, end = raw_stream(served, "completions", {"prompt": line * 6, "max_tokens": 60, "temperature": 0})

    texts = [choice["text"] for event in events for choice in json.loads(event)["choices"]]
    assert end == "[DONE]"
    assert "".join(texts).startswith(line)
    assert "\ufffd" not in "".join(texts)
    assert len([text for text in texts if text]) > 5
