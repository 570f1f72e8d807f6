"""Anthropic's, the Responses' and Ollama's words on the main engine and before a server of chat completions alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import ollama
import pytest

from tests.dmrc_command import temporary_dmrc
from tests.gateway.chats_only import ChatsOnly, chats_only
from tests.gateway.test_chats_only import project
from tests.gateway.thinking import ANSWER, ASKED, THOUGHT, TOKENS, WEATHER, thinking_dmrc
from tests.gateway.tools import TOOL

if TYPE_CHECKING:
    import anthropic
    import openai

pytestmark = pytest.mark.engine

FUNCTION = TOOL["function"]
PARAMETERS = FUNCTION["parameters"]


@dataclass(frozen=True)
class Served:
    """A gateway, and what its models are called there."""

    url: str
    key: str
    prefix: str
    server: ChatsOnly | None = None

    @property
    def thinks(self) -> str:
        return f"{self.prefix}thinks"

    @property
    def calls(self) -> str:
        return f"{self.prefix}calls"

    @property
    def openai(self) -> openai.OpenAI:
        import openai

        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=self.key, max_retries=0)

    @property
    def anthropic(self) -> anthropic.Anthropic:
        import anthropic

        return anthropic.Anthropic(base_url=f"{self.url}/anthropic", api_key=self.key, max_retries=0)

    @property
    def ollama(self) -> ollama.Client:
        return ollama.Client(self.url, headers={"authorization": f"Bearer {self.key}"})

    def post(self, path: str, document: dict[str, object]) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.key}"}
        return httpx.post(f"{self.url}{path}", json=document, headers=headers, timeout=60)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Served]]:
    with (
        thinking_dmrc(tmp_path_factory.mktemp("thinking")) as near,
        chats_only(f"http://127.0.0.1:{near.port}") as server,
        temporary_dmrc() as dmrc,
    ):
        upstream = {"url": server.url}
        models = {
            name: {"model": name, "x-dmrc": {"upstream": upstream | {"model": f"local/{name}"}}}
            for name in ("thinks", "calls")
        }
        far = project(dmrc, tmp_path_factory.mktemp("far"), models)
        yield {
            "llama.cpp": Served(f"http://127.0.0.1:{near.port}", "none", "local/"),
            "chats only": Served(far.url, far.key, "", server),
        }


@pytest.fixture(params=["llama.cpp", "chats only"])
def served(both: dict[str, Served], request: pytest.FixtureRequest) -> Served:
    return both[request.param]


def document_of(source: dict[str, object], **more: object) -> dict[str, object]:
    return {"type": "document", "source": source, **more}


PDF = document_of({"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="})
MCP = [{"type": "url", "url": "https://mcp.example.com", "name": "mcp"}]


def asked(*blocks: dict[str, object]) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": [*blocks, {"type": "text", "text": "Hi"}]}], "max_tokens": 4}


def item(**fields: object) -> dict[str, object]:
    return {"input": [{"role": "user", "content": "Hi"}, fields]}


MESSAGES = {
    "a PDF": (asked(PDF), "a document of type 'application/pdf' cannot be read"),
    "a PDF of a tool": (
        asked({"type": "tool_result", "tool_use_id": "1", "content": [PDF]}),
        "a document of type 'application/pdf' cannot be read",
    ),
    "a document by its URL": (
        asked(document_of({"type": "url", "url": "https://example.com/a.pdf"})),
        "a document from a 'url' cannot be read",
    ),
    "a file": (asked({"type": "image", "source": {"type": "file", "file_id": "f"}}), "an image from a 'file'"),
    "citations": (
        asked(document_of({"type": "text", "media_type": "text/plain", "data": "x"}, citations={"enabled": True})),
        "'citations' of a block of type 'document' cannot be given",
    ),
    "an unknown block": (asked({"type": "container_upload", "file_id": "f"}), "'container_upload' cannot be read"),
    "an unknown field of a block": (
        asked({"type": "text", "text": "x", "mood": 1}),
        "'mood' of a block of type 'text'",
    ),
    "MCP servers": (asked() | {"mcp_servers": MCP}, "'mcp_servers' are called by Anthropic itself"),
    "a container": (asked() | {"container": "c"}, "'container' is kept by Anthropic itself"),
    "an unknown field": (asked() | {"max_token": 9}, "'max_token' is not known"),
    "a choice that is none": (asked() | {"tool_choice": {"type": "some"}}, "a 'tool_choice' of type \"some\""),
    "no content": ({"messages": [{"role": "user"}], "max_tokens": 4}, "'messages' must be a list of messages"),
    "a tool of Anthropic's alone": (
        asked() | {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
        "'web_search_20250305' is called by Anthropic itself",
    ),
    "a tool of Anthropic's beside another": (
        asked() | {"tools": [{"name": "look", "input_schema": {}}, {"type": "bash_20250124", "name": "bash"}]},
        "'bash_20250124' is called by Anthropic itself, or known to its models",
    ),
    "a choice that is a list": (asked() | {"tool_choice": {"type": ["auto"]}}, "a 'tool_choice' of type [\"auto\"]"),
    "tokens below 0": (asked() | {"max_tokens": -1}, "'max_tokens' must be a whole number, 0 or above"),
    "data that are no base64": (
        asked(document_of({"type": "base64", "media_type": "text/plain", "data": "x"})),
        "the 'data' of a document must be text in base64",
    ),
}
RESPONSES = {
    "a conversation": ({"input": "Hi", "conversation": "conv_1"}, "'conversation' is kept by OpenAI itself"),
    "a prompt": ({"input": "Hi", "prompt": {"id": "pmpt_1"}}, "'prompt' is kept by OpenAI itself"),
    "in the background": ({"input": "Hi", "background": True}, "'background' is not done here"),
    "truncation": ({"input": "Hi", "truncation": "auto"}, "'truncation' is \"auto\""),
    "a lone tool": ({"input": "Hi", "tools": [{"type": "web_search"}]}, "'web_search' is called by OpenAI itself"),
    "a tool of OpenAI's beside another": (
        {"input": "Hi", "tools": [{"type": "function", "name": "look"}, {"type": "file_search"}]},
        "'tools[1]' is of type \"file_search\"",
    ),
    "an id that is none": ({"input": "Hi", "previous_response_id": ["x"]}, "'previous_response_id' must be a string"),
    "an item without an id": ({"input": [{"content": "Hi"}]}, "an item of 'input' has neither 'role' nor 'id'"),
    "a choice of OpenAI's": ({"input": "Hi", "tool_choice": {"type": "file_search"}}, '"file_search"'),
    "an unknown field": ({"input": "Hi", "max_tokens_out": 3}, "'max_tokens_out' is not known"),
    "no limit": ({"input": "Hi", "max_output_tokens": 0}, "'max_output_tokens' must be a whole number above 0"),
    "metadata that are none": ({"input": "Hi", "metadata": "x"}, "'metadata' must be an object"),
    "a file": (
        item(role="user", content=[{"type": "input_file", "file_id": "f"}]),
        "a part of type 'input_file' with file_id cannot be read",
    ),
    "a PDF": (
        item(
            role="user",
            content=[{"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,eA=="}],
        ),
        "file 'a.pdf' is not text",
    ),
    "an item of a tool of OpenAI's": (item(type="web_search_call", id="ws_1"), "'web_search_call' cannot be read"),
    "no object": ({"input": [3]}, "an item of 'input' must be an object"),
}


@pytest.mark.parametrize("what", MESSAGES)
@pytest.mark.parametrize("path", ["/anthropic/v1/messages", "/v1/messages/count_tokens"])
def test_what_a_message_cannot_have_is_refused_by_name(served: Served, what: str, path: str) -> None:
    document, words = MESSAGES[what]

    answer = served.post(path, {"model": served.thinks, **document})

    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (400, "invalid_request_error")
    assert words in error["message"]


@pytest.mark.parametrize("what", RESPONSES)
@pytest.mark.parametrize("path", ["/v1/responses", "/v1/responses/input_tokens"])
def test_what_a_response_cannot_have_is_refused_by_name(served: Served, what: str, path: str) -> None:
    document, words = RESPONSES[what]

    answer = served.post(path, {"model": served.thinks, **document})

    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["code"]) == (400, "invalid_request_error", "invalid_request_error")
    assert words in error["message"]


def test_what_has_no_effect_is_told_by_a_header(served: Served) -> None:
    """It was left out without a word: tools that only OpenAI calls, and what Ollama's clients say of loads."""
    function = {"type": "function", **FUNCTION}
    agents = [function, {"type": "web_search"}, {"type": "namespace", "name": "files", "tools": []}]
    options = {"num_ctx": 9, "num_predict": 4, "tempature": 1}

    response = served.post("/v1/responses", {"model": served.calls, "input": "Hi", "tools": agents})
    chat = served.post(
        "/api/chat", {"model": served.thinks, "messages": ASKED, "options": options, "stream": True, "böse\n": 1}
    )
    plain = served.post("/api/chat", {"model": served.thinks, "messages": ASKED, "stream": False})

    assert response.headers["x-dmrc-left-out"] == "tools[1] (web_search), tools[2] (namespace)"
    assert response.json()["tools"] == [function]
    assert chat.headers["x-dmrc-left-out"] == "b\\u00f6se\\n, options.num_ctx, options.tempature"
    assert "x-dmrc-left-out" not in plain.headers


def test_how_long_an_answer_shall_be_is_refused_as_in_a_chat(served: Served) -> None:
    """The Responses took it, and did nothing with it."""
    answer = served.post("/v1/responses", {"model": served.thinks, "input": "Hi", "text": {"verbosity": "low"}})

    assert (answer.status_code, "'verbosity' is not supported" in answer.text) == (400, True)


def test_a_field_that_only_other_servers_have_is_named(both: dict[str, Served]) -> None:
    near, far = both["llama.cpp"], both["chats only"]
    asked_for = {"messages": ASKED, "max_tokens": 4, "tempature": 0.1, "min_tokens": 2, "verbose": False, "user": "u"}

    answers = [one.post("/v1/chat/completions", {"model": one.thinks, **asked_for}) for one in (near, far)]

    assert answers[0].headers["x-dmrc-left-out"] == "tempature, min_tokens"
    assert far.server is not None and far.server.requests[-1][1]["tempature"] == 0.1


def test_what_asks_for_nothing_or_changes_no_answer_is_taken(served: Served) -> None:
    message = asked() | {"mcp_servers": [], "metadata": {"user_id": "u"}, "service_tier": "auto", "container": None}
    response = {"background": False, "conversation": None, "include": ["reasoning.encrypted_content"], "user": "u"}
    response |= {"truncation": "disabled", "prompt_cache_key": "k", "service_tier": "auto", "input": "Hi"}

    assert served.post("/v1/messages", {"model": served.thinks, **message}).status_code == 200
    assert served.post("/v1/responses", {"model": served.thinks, **response}).status_code == 200


def test_the_text_of_documents_reaches_the_model(both: dict[str, Served]) -> None:
    served = both["chats only"]
    text = document_of({"type": "text", "media_type": "text/plain", "data": "whales"}, title="On the sea", context="c")
    parts = document_of({"type": "content", "content": [{"type": "text", "text": "ships"}]})
    found = {
        "type": "search_result",
        "source": "http://a",
        "title": "A",
        "content": [{"type": "text", "text": "harbours"}],
    }
    result = {"type": "tool_result", "tool_use_id": "1", "content": [text, found]}

    served.anthropic.messages.create(model="thinks", **asked(text, parts, result))

    tool, user = served.server.requests[-1][1]["messages"]
    assert tool == {"role": "tool", "tool_call_id": "1", "content": "On the sea\nc\nwhales\nA\nhttp://a\nharbours"}
    assert user == {"role": "user", "content": "On the sea\nc\nwhales\nships\nHi"}


def test_a_conversation_of_responses_may_be_told_in_every_form(served: Served) -> None:
    said = [
        {"role": "user", "content": "hi"},
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "A greeting."}]},
        {"role": "assistant", "content": "hello"},
        {"type": "reasoning", "summary": []},
        {"role": "assistant", "content": [{"type": "output_text", "text": "again"}]},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
        {"role": "user", "content": [{"type": "input_text", "text": "x"}]},
    ]

    response = served.openai.responses.create(model=served.thinks, input=said)

    assert response.output_text == ANSWER
    if served.server:
        assert served.server.requests[-1][1]["messages"] == [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": "hello", "reasoning_content": "A greeting."},
            {"role": "assistant", "content": "again"},
            {"role": "assistant", "content": "no"},
            {"role": "user", "content": "x"},
        ]


def test_an_item_may_be_named_that_is_remembered(served: Served) -> None:
    import openai

    first = served.openai.responses.create(model=served.thinks, input="Hi")
    names = [{"type": "item_reference", "id": one.id} for one in first.output]
    told = [one.to_dict() for one in first.output]
    more = {"role": "user", "content": "And?"}

    by_name = served.openai.responses.create(model=served.thinks, input=[*ASKED, *names, more])
    in_full = served.openai.responses.create(model=served.thinks, input=[*ASKED, *told, more])

    assert by_name.usage.input_tokens == in_full.usage.input_tokens > first.usage.input_tokens
    items = served.openai.responses.input_items.list(by_name.id).data
    assert [one.id for one in items[1:-1]] == [one.id for one in first.output]
    with pytest.raises(openai.NotFoundError, match="item 'msg_none' is not remembered"):
        served.openai.responses.create(model=served.thinks, input=[{"id": "msg_none"}])


def test_the_helpers_of_openais_client_follow_a_stream(served: Served) -> None:
    tool = {"type": "function", **FUNCTION}

    with served.openai.responses.stream(model=served.thinks, input="Hi", metadata={"k": "v"}) as stream:
        events = [event.type for event in stream]
        response = stream.get_final_response()
    with served.openai.responses.stream(model=served.calls, input=WEATHER, tools=[tool]) as stream:
        called = stream.until_done().get_final_response()

    assert (response.output_text, response.metadata, response.usage.output_tokens) == (ANSWER, {"k": "v"}, TOKENS)
    assert events[0] == "response.created"
    assert "".join(one.content[0].text for one in response.output if one.type == "reasoning") == THOUGHT
    call = called.output[-1]
    assert (call.type, call.name, json.loads(call.arguments)) == ("function_call", "get_weather", {"city": "Bern"})
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "rain"}
    second = served.openai.responses.create(
        model=served.calls, input=[result], previous_response_id=called.id, tools=[tool]
    )
    assert second.previous_response_id == called.id
    assert second.tools[0].name == "get_weather"


def test_a_response_that_was_cut_is_incomplete_whole_and_streamed(served: Served) -> None:
    wish = {"model": served.thinks, "input": "Hi", "max_output_tokens": 9}

    made = served.openai.responses.create(**wish)
    *_, last = served.openai.responses.create(**wish, stream=True)

    for response in (made, last.response):
        assert (response.status, response.incomplete_details.reason) == ("incomplete", "max_output_tokens")
        assert [one.status for one in response.output] == ["completed", "incomplete"]
    assert last.type == "response.incomplete"
    assert served.openai.responses.retrieve(made.id).status == "incomplete"


def test_a_messages_counts_come_at_its_end(served: Served) -> None:
    """Those of the prompt stand in the first event too, where the engine tells them by then, as Anthropic has it."""
    events = list(served.anthropic.messages.create(model=served.thinks, max_tokens=99, messages=ASKED, stream=True))

    start, end = events[0].message.usage, events[-2].usage
    assert start.output_tokens == 0
    assert (start.input_tokens, start.cache_read_input_tokens) in (
        (0, 0),
        (end.input_tokens, end.cache_read_input_tokens),
    )
    assert end.output_tokens == TOKENS
    assert end.input_tokens + end.cache_read_input_tokens > 5
    assert end.cache_creation_input_tokens == 0


def test_tokens_are_counted_as_an_answer_counts_them_or_not_at_all(both: dict[str, Served]) -> None:
    import anthropic
    import openai

    near, far = both["llama.cpp"], both["chats only"]
    tools = [{"name": "get_weather", "input_schema": PARAMETERS}]
    wish = {"model": near.calls, "messages": WEATHER, "tools": tools, "system": "Be kind."}

    counted = near.anthropic.messages.count_tokens(**wish)
    usage = near.anthropic.messages.create(**wish, max_tokens=1).usage
    response = {"model": near.thinks, "input": "Hi", "instructions": "Be kind."}
    counted_response = near.openai.responses.input_tokens.count(**response)
    made = near.openai.responses.create(**response)

    assert counted.input_tokens == usage.input_tokens + usage.cache_read_input_tokens
    assert (counted_response.object, counted_response.input_tokens) == (
        "response.input_tokens",
        made.usage.input_tokens,
    )
    with pytest.raises(anthropic.InternalServerError, match="counts no tokens") as refused:
        far.anthropic.messages.count_tokens(model="thinks", messages=ASKED)
    with pytest.raises(openai.InternalServerError, match="counts no tokens"):
        far.openai.responses.input_tokens.count(model="thinks", input="Hi")
    assert refused.value.status_code == 501


def test_the_word_that_stopped_a_message_is_told(both: dict[str, Served]) -> None:
    wish = {"model": both["llama.cpp"].thinks, "max_tokens": 99, "messages": ASKED}
    client = both["llama.cpp"].anthropic.messages

    stopped = client.create(**wish, stop_sequences=["zebra", " you"])
    with client.stream(**wish, stop_sequences=[" you"]) as stream:
        streamed = stream.get_final_message()
    ended = client.create(**wish, stop_sequences=["zebra"])

    for message in (stopped, streamed):
        assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", " you")
        assert message.content[-1].text == "Hello to"
    assert (ended.stop_reason, ended.stop_sequence) == ("end_turn", None)


def test_a_prompt_that_is_too_long_is_told_in_the_words_that_clients_look_for(served: Served) -> None:
    import anthropic
    import openai

    long = [{"role": "user", "content": "word " * 9000}]

    with pytest.raises(anthropic.BadRequestError) as message:
        served.anthropic.messages.create(model=served.thinks, max_tokens=9, messages=long)
    with pytest.raises(openai.BadRequestError) as response:
        served.openai.responses.create(model=served.thinks, input=long)
    with pytest.raises(ollama.ResponseError) as chat:
        served.ollama.chat(served.thinks, long)

    error = message.value.body["error"]
    assert error["type"] == "invalid_request_error"
    assert error["message"].startswith("prompt is too long: ")
    assert " tokens > " in error["message"]
    assert response.value.code == "context_length_exceeded"
    assert chat.value.status_code == 400


def test_models_are_listed_as_anthropic_does(served: Served) -> None:
    import anthropic

    models = served.anthropic.models.list().data
    name = next(one.id for one in models if one.id.rpartition("/")[2].startswith("thinks"))

    found = served.anthropic.models.retrieve(name)

    assert (found.id, found.type, found.display_name) == (name, "model", name)
    with pytest.raises(anthropic.APIStatusError) as missing:
        served.anthropic.models.retrieve("made/up")
    assert missing.value.body["type"] == "error"


def test_ollamas_context_lets_a_conversation_go_on(served: Served) -> None:
    first = served.ollama.generate(served.thinks, "My name is Ada.", system="Be kind.")
    *_, streamed = served.ollama.generate(served.thinks, "Hello", context=first.context, stream=True)
    second = served.ollama.generate(served.thinks, "What is my name?", context=streamed.context)

    assert all(isinstance(number, int) and 0 <= number < 2**31 for number in first.context)
    assert second.prompt_eval_count > first.prompt_eval_count + 10
    if served.server:
        said = served.server.requests[-1][1]["messages"]
        answered = {"role": "assistant", "content": ANSWER}
        words = [{"role": "user", "content": text} for text in ("My name is Ada.", "Hello", "What is my name?")]
        assert said == [{"role": "system", "content": "Be kind."}, words[0], answered, words[1], answered, words[2]]
    for foreign in ([1, 2, 3], [*first.context[:-1]], ["x"], 3):
        answer = served.post("/api/generate", {"model": served.thinks, "prompt": "x", "context": foreign})
        assert (answer.status_code, "'context' is not one" in answer.json()["error"]) == (400, True)


def test_ollamas_earlier_turns_reach_the_model_whole(both: dict[str, Served]) -> None:
    served = both["chats only"]
    call = {"function": {"name": "get_weather", "arguments": {"city": "Bern"}}}

    served.ollama.chat(
        "calls",
        [
            *WEATHER,
            {"role": "assistant", "thinking": "I must look.", "tool_calls": [call]},
            {"role": "tool", "tool_name": "get_weather", "content": "rain"},
        ],
    )

    _, said, result = served.server.requests[-1][1]["messages"]
    assert said["reasoning_content"] == "I must look."
    function = said["tool_calls"][0]["function"]
    assert (function["name"], json.loads(function["arguments"])) == ("get_weather", {"city": "Bern"})
    assert result == {
        "role": "tool",
        "content": "rain",
        "tool_call_id": said["tool_calls"][0]["id"],
        "name": "get_weather",
    }


def test_the_record_times_what_is_no_stream(both: dict[str, Served], tmp_path: Path) -> None:
    served = both["llama.cpp"]

    for answer in (
        served.post("/v1/responses", {"model": served.thinks, "input": "Hi"}),
        served.post("/v1/messages", {"model": served.thinks, **asked()}),
    ):
        assert answer.json()["timings"]["predicted_ms"] > 0
