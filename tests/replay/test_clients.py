"""Official clients record, and get from a daemon without any model the same objects again, ids and pieces too."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.clients.conftest import write_calls
from tests.replay.stage import Pair, Side, Stage
from tests.scripted_gguf import PROMPT_END, write_scripted_llama

pytestmark = pytest.mark.engine

SAYS, CALLS = "local/says", "local/calls"
MODELS = {
    "llm": {"model": SAYS, "context_size": 512},
    "calls": {"model": CALLS, "context_size": 512},
}
TEXT = "Whales sing, as ever."
_SCRIPT = ["Whales", " sing", ",", " as", " ever", "."]
_TEMPLATE = "{% for message in messages %}{{ message.content }}\n{% endfor %}" + PROMPT_END

QUESTION = [{"role": "user", "content": "What do whales do?"}]
WEATHER = [{"role": "user", "content": "What is the weather in Bern?"}]
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": PARAMETERS}}
CALL = ("get_weather", {"city": "Bern"})
SCHEMA = {
    "type": "object",
    "properties": {"animal": {"const": "whale"}},
    "required": ["animal"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def shop(daemons: Pair, tmp_path_factory: pytest.TempPathFactory, needs_engine: None) -> Iterator[Stage]:
    """A project whose models answer beside its recorder; each test takes its turn at it."""
    directory = tmp_path_factory.mktemp("shop")
    says = write_scripted_llama(directory / "says.gguf", _SCRIPT, _TEMPLATE)
    daemons.recording.ok("package", "--gguf", says, SAYS)
    daemons.recording.ok("package", "--gguf", write_calls(directory / "calls.gguf"), CALLS)
    yield daemons.stage(directory)


Ask = Callable[[Side], Any]


def openai_whole(side: Side) -> Any:
    client = side.openai()
    chats = client.chat.completions
    return [
        chats.create(model=SAYS, messages=QUESTION).model_dump(),
        chats.create(model=CALLS, messages=WEATHER, tools=[TOOL]).model_dump(),
        chats.create(
            model=SAYS,
            messages=[{"role": "user", "content": "Name an animal."}],
            response_format={"type": "json_schema", "json_schema": {"name": "animal", "schema": SCHEMA}},
            max_tokens=64,
        ).model_dump(),
        client.completions.create(model=SAYS, prompt="Once", max_tokens=4).model_dump(),
        client.embeddings.create(model=SAYS, input=["a whale", "a cat"]).model_dump(),
    ]


def openai_streamed(side: Side) -> Any:
    chats = side.openai().chat.completions
    more = {"stream": True, "stream_options": {"include_usage": True}}
    return [
        [chunk.model_dump() for chunk in chats.create(model=SAYS, messages=QUESTION, **more)],
        [chunk.model_dump() for chunk in chats.create(model=CALLS, messages=WEATHER, tools=[TOOL], **more)],
    ]


def responses_whole(side: Side) -> Any:
    responses = side.openai().responses
    first = responses.create(model=SAYS, input="What do whales do?")
    tool = {"type": "function", **TOOL["function"], "strict": False}
    return [
        first.model_dump(),
        responses.create(model=CALLS, input=WEATHER, tools=[tool]).model_dump(),
        responses.create(model=SAYS, input="And cats?", previous_response_id=first.id).model_dump(),
    ]


def responses_streamed(side: Side) -> Any:
    responses = side.openai().responses
    tool = {"type": "function", **TOOL["function"], "strict": False}
    return [
        [event.model_dump() for event in responses.create(model=SAYS, input="What do whales do?", stream=True)],
        [event.model_dump() for event in responses.create(model=CALLS, input=WEATHER, tools=[tool], stream=True)],
    ]


def anthropic_whole(side: Side) -> Any:
    messages = side.anthropic().messages
    tool = {"name": "get_weather", "input_schema": PARAMETERS}
    return [
        messages.create(model=SAYS, max_tokens=64, messages=QUESTION).model_dump(),
        messages.create(model=CALLS, max_tokens=64, messages=WEATHER, tools=[tool]).model_dump(),
        messages.count_tokens(model=SAYS, messages=QUESTION).model_dump(),
    ]


def anthropic_streamed(side: Side) -> Any:
    tool = {"name": "get_weather", "input_schema": PARAMETERS}
    found = []
    for asked in ({"model": SAYS, "messages": QUESTION}, {"model": CALLS, "messages": WEATHER, "tools": [tool]}):
        with side.anthropic().messages.stream(max_tokens=64, **asked) as stream:
            events = [event.model_dump(mode="json") for event in stream]
            found += [events, stream.get_final_message().model_dump()]
    return found


def ollama_whole(side: Side) -> Any:
    client = side.ollama()
    return [
        client.chat(SAYS, QUESTION).model_dump(),
        client.chat(CALLS, WEATHER, tools=[TOOL]).model_dump(),
        client.generate(SAYS, "Once", options={"num_predict": 4}).model_dump(),
        client.embed(SAYS, ["a whale"]).model_dump(),
    ]


def ollama_streamed(side: Side) -> Any:
    client = side.ollama()
    return [
        [piece.model_dump() for piece in client.chat(SAYS, QUESTION, stream=True)],
        [piece.model_dump() for piece in client.chat(CALLS, WEATHER, tools=[TOOL], stream=True)],
    ]


WHOLE: dict[str, Ask] = {
    "openai": openai_whole,
    "responses": responses_whole,
    "anthropic": anthropic_whole,
    "ollama": ollama_whole,
}
STREAMED: dict[str, Ask] = {
    "openai": openai_streamed,
    "responses": responses_streamed,
    "anthropic": anthropic_streamed,
    "ollama": ollama_streamed,
}


def record(shop: Stage, ask: Ask) -> Any:
    """Return what a client got while it was recorded into a cassette of its own."""
    for cassette in shop.cassettes.glob("*.jsonl"):
        cassette.unlink()
    shop.recording.begin("record", MODELS)
    found = ask(shop.recording)
    shop.recording.report()
    return found


@pytest.mark.parametrize("ask", [*WHOLE.values(), *STREAMED.values()], ids=lambda ask: ask.__name__)
def test_a_client_gets_the_same_objects_again(shop: Stage, ask: Ask) -> None:
    recorded = record(shop, ask)

    shop.replaying.begin("replay", MODELS)
    replayed = ask(shop.replaying)

    assert replayed == recorded
    assert shop.replaying.report()["misses"] == []
    assert shop.replaying.engines() == []


def said_by_openai(side: Side, stream: bool) -> tuple[str | None, list[Any]]:
    chats = side.openai().chat.completions
    if not stream:
        answer = chats.create(model=SAYS, messages=QUESTION).choices[0]
        called = chats.create(model=CALLS, messages=WEATHER, tools=[TOOL]).choices[0]
        calls = [(each.function.name, json.loads(each.function.arguments)) for each in called.message.tool_calls]
        return answer.message.content, [answer.finish_reason, called.finish_reason, *calls]
    with chats.stream(model=SAYS, messages=QUESTION) as events:
        answer = events.get_final_completion().choices[0] if list(events) else None
    with chats.stream(model=CALLS, messages=WEATHER, tools=[TOOL]) as events:
        called = events.get_final_completion().choices[0] if list(events) else None
    calls = [(each.function.name, json.loads(each.function.arguments)) for each in called.message.tool_calls]
    return answer.message.content, [answer.finish_reason, called.finish_reason, *calls]


def said_by_responses(side: Side, stream: bool) -> tuple[str | None, list[Any]]:
    responses = side.openai().responses
    tool = {"type": "function", **TOOL["function"], "strict": False}
    asked = ({"model": SAYS, "input": "What do whales do?"}, {"model": CALLS, "input": WEATHER, "tools": [tool]})
    found = []
    for each in asked:
        if stream:
            last = list(responses.create(**each, stream=True))[-1]
            assert last.type == "response.completed"
            found.append(last.response)
        else:
            found.append(responses.create(**each))
    calls = [(item.name, json.loads(item.arguments)) for item in found[1].output if item.type == "function_call"]
    return found[0].output_text, [found[0].status, *calls]


def said_by_anthropic(side: Side, stream: bool) -> tuple[str | None, list[Any]]:
    messages = side.anthropic().messages
    tool = {"name": "get_weather", "input_schema": PARAMETERS}
    asked = ({"model": SAYS, "messages": QUESTION}, {"model": CALLS, "messages": WEATHER, "tools": [tool]})
    found = []
    for each in asked:
        if stream:
            with messages.stream(max_tokens=64, **each) as events:
                found.append(events.get_final_message())
        else:
            found.append(messages.create(max_tokens=64, **each))
    calls = [(block.name, block.input) for block in found[1].content if block.type == "tool_use"]
    return found[0].content[0].text, [found[0].stop_reason, found[1].stop_reason, *calls]


def said_by_ollama(side: Side, stream: bool) -> tuple[str | None, list[Any]]:
    client = side.ollama()
    if stream:
        answer = list(client.chat(SAYS, QUESTION, stream=True))
        called = list(client.chat(CALLS, WEATHER, tools=[TOOL], stream=True))
    else:
        answer = [client.chat(SAYS, QUESTION)]
        called = [client.chat(CALLS, WEATHER, tools=[TOOL])]
    assert answer[-1].done
    calls = [each.function for piece in called for each in piece.message.tool_calls or []]
    words = "".join(piece.message.content or "" for piece in answer)
    return words, [answer[-1].done_reason, *((call.name, dict(call.arguments)) for call in calls)]


@pytest.mark.parametrize("recorded_as_a_stream", [False, True], ids=["whole-to-stream", "stream-to-whole"])
@pytest.mark.parametrize("said", [said_by_openai, said_by_responses, said_by_anthropic, said_by_ollama])
def test_an_answer_is_replayed_in_the_other_form(
    shop: Stage, said: Callable[[Side, bool], Any], recorded_as_a_stream: bool
) -> None:
    recorded = record(shop, lambda side: said(side, recorded_as_a_stream))
    assert recorded[0] == TEXT
    assert CALL in recorded[1]

    shop.replaying.begin("replay", MODELS)

    assert said(shop.replaying, not recorded_as_a_stream) == recorded
    assert shop.replaying.report()["misses"] == []
