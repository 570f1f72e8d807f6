"""The OpenAI routes, through OpenAI's own client, on the real engine."""

import http.client
import json
import socket
from collections.abc import Callable

import pytest

from tests.gateway.conftest import MODEL, Gateway

HELLO = [{"role": "user", "content": "Say hello."}]
Recorded = Callable[[str], dict[str, object]]


@pytest.mark.parametrize("prefix", ["/engines/v1", "/engines/llama.cpp/v1", "/v1", "/engines/v1/"])
def test_chat_answers_under_every_prefix(gateway: Gateway, prefix: str) -> None:
    answer = gateway.client(prefix=prefix).chat.completions.create(model=MODEL, messages=HELLO, max_tokens=8)

    assert answer.choices[0].message.content
    assert answer.choices[0].message.role == "assistant"
    assert answer.model == MODEL


def test_a_stream_comes_in_pieces_and_is_recorded_with_its_times(gateway: Gateway, recorded: Recorded) -> None:
    raw = gateway.client().chat.completions.with_raw_response.create(
        model=MODEL, messages=HELLO, max_tokens=12, stream=True
    )

    pieces = [chunk.choices[0].delta.content or "" for chunk in raw.parse() if chunk.choices]

    assert len([piece for piece in pieces if piece]) > 3
    exchange = recorded(raw.headers["x-dmrc-exchange-id"])
    assert (exchange["project"], exchange["service"], exchange["model_key"]) == ("shop", "web", "chat")
    assert exchange["completion_tokens"] == 12
    assert exchange["finish_reason"] == "length"
    assert exchange["context_tokens"] == 512
    assert 0 < exchange["first_token_ms"] < exchange["total_ms"]
    assert {"x-dmrc-queue-ms", "x-dmrc-load-ms"} <= raw.headers.keys()


def test_a_whole_answer_is_recorded_with_tokens_and_rates(gateway: Gateway, recorded: Recorded) -> None:
    raw = gateway.client().chat.completions.with_raw_response.create(model=MODEL, messages=HELLO, max_tokens=12)

    usage = raw.parse().usage

    exchange = recorded(raw.headers["x-dmrc-exchange-id"])
    assert usage is not None
    assert (exchange["prompt_tokens"], exchange["completion_tokens"]) == (usage.prompt_tokens, usage.completion_tokens)
    assert exchange["completion_tokens_per_second"] > 0
    assert exchange["operation"] == "chat"
    assert exchange["stream"] is False


def test_completions_and_the_model_key_as_a_name(gateway: Gateway) -> None:
    answer = gateway.client().completions.create(model="chat", prompt="One, two,", max_tokens=4)

    assert answer.choices[0].text


def test_embeddings_run_in_a_runner_of_their_own(gateway: Gateway) -> None:
    answer = gateway.client("other").embeddings.create(model="local/embedder", input=["a whale", "a car"])

    assert len(answer.data) == 2
    assert len(answer.data[0].embedding) == 576
    assert any(runner["mode"] == "embedding" for runner in json.loads(gateway.dmrc.ok("ps", "--json")))


def test_a_service_sees_the_models_that_it_declares_by_the_names_it_uses(gateway: Gateway) -> None:
    assert {model.id for model in gateway.client("web").models.list()} == {MODEL, "local/embedder"}
    assert {model.id for model in gateway.client("other").models.list()} == {"local/embedder"}
    assert {model.id for model in gateway.client(None).models.list()} == {
        f"docker.io/{MODEL}",
        "docker.io/local/embedder:latest",
    }
    assert gateway.client("web").models.retrieve(MODEL).id == MODEL


def test_a_key_opens_no_other_model_and_says_which_it_may_use(gateway: Gateway, recorded: Recorded) -> None:
    import openai

    with pytest.raises(openai.PermissionDeniedError, match="It declares 'local/embedder'") as caught:
        gateway.client("other").chat.completions.create(model=MODEL, messages=HELLO)

    exchange = recorded(caught.value.response.headers["x-dmrc-exchange-id"])
    assert exchange["status"] == 403
    assert exchange["service"] == "other"


def test_a_placeholder_key_on_loopback_may_use_every_model(gateway: Gateway) -> None:
    answer = gateway.client(None).chat.completions.create(model=MODEL, messages=HELLO, max_tokens=4)

    assert answer.choices[0].message.content


def test_an_unknown_key_is_refused_and_recorded(gateway: Gateway, recorded: Recorded) -> None:
    import openai

    client = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="sk-dmrc-nobody", max_retries=0)

    with pytest.raises(openai.AuthenticationError) as caught:
        client.chat.completions.create(model=MODEL, messages=HELLO)

    assert recorded(caught.value.response.headers["x-dmrc-exchange-id"])["error_type"] == "authentication_error"


def test_a_model_that_nobody_has_is_a_404_with_a_key_too_and_says_what_may_be_asked(gateway: Gateway) -> None:
    import openai

    with pytest.raises(openai.NotFoundError, match="It declares 'local/embedder'"):
        gateway.client("other").chat.completions.create(model="ai/unknown", messages=HELLO)
    with pytest.raises(openai.NotFoundError):
        gateway.client("other").models.retrieve("ai/unknown")


def test_an_unknown_model_is_a_404_that_says_how_to_get_it(gateway: Gateway) -> None:
    import openai

    with pytest.raises(openai.NotFoundError, match="dmrc pull ai/unknown"):
        gateway.client(None).chat.completions.create(model="ai/unknown", messages=HELLO)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{bad json", "not JSON"),
        (b"[1]", "not a JSON object"),
        (b"{}", "names no model"),
        (b'{"model": null}', "names no model"),
        (b'{"model": " "}', "names no model"),
        (b'{"model": 5}', "'model' must be a string, not 5"),
        (b'{"model": ["ai/smollm2"]}', "'model' must be a string, not a list"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_a_bad_request_is_a_400_in_openais_words(gateway: Gateway, body: bytes, message: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.dmrc.port)
    connection.request("POST", "/engines/v1/chat/completions", body)
    answer = connection.getresponse()
    document = json.loads(answer.read())
    connection.close()

    assert answer.status == 400
    assert message in document["error"]["message"]
    assert document["error"]["type"] == "invalid_request_error"


def test_a_prompt_beyond_the_context_is_the_engines_own_error_and_recorded(
    gateway: Gateway, recorded: Recorded
) -> None:
    import openai

    with pytest.raises(openai.BadRequestError) as caught:
        gateway.client().chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "word " * 600}], max_tokens=4
        )

    assert caught.value.body["n_ctx"] == 512
    exchange = recorded(caught.value.response.headers["x-dmrc-exchange-id"])
    assert exchange["error_type"] == "exceed_context_size_error"


def test_a_foreign_host_and_a_foreign_origin_are_refused(gateway: Gateway) -> None:
    for headers in ({"host": "evil.example"}, {"origin": "https://evil.example"}):
        connection = http.client.HTTPConnection("127.0.0.1", gateway.dmrc.port)
        connection.request("GET", "/engines/v1/models", headers=headers)
        answer = connection.getresponse()
        document = json.loads(answer.read())
        connection.close()

        assert answer.status == 403
        assert document["error"]["type"] == "permission_error"


def test_an_unknown_route_is_json_too(gateway: Gateway) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.dmrc.port)
    connection.request("GET", "/engines/v1/nothing")
    answer = connection.getresponse()
    document = json.loads(answer.read())
    connection.close()

    assert answer.status == 404
    assert "/engines/v1/nothing" in document["error"]["message"]


def test_the_gateway_listens_on_loopback_only_without_docker(gateway: Gateway) -> None:
    addresses = json.loads(gateway.dmrc.ok("status", "--json"))["addresses"]

    assert addresses == ["127.0.0.1"]
    with socket.socket() as probe, pytest.raises(OSError, match="refused"):
        probe.connect(("127.0.0.2", gateway.dmrc.port))
