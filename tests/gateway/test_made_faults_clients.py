"""What official clients do with faults that are made on purpose: what their documentation says, as with real ones."""

from __future__ import annotations

import json
import time
from typing import Any

import anthropic
import ollama
import openai
import pytest

from tests.gateway.made_faults import ASK, MODEL, Faulty
from tests.gateway.tools import TOOL

pytestmark = pytest.mark.engine
OF_BOTH = pytest.mark.parametrize("which", ["openai", "anthropic"])


class Client:
    """The official client of one API, as the service would make it: a chat by it, and its errors."""

    def __init__(self, faulty: Faulty, which: str, max_retries: int = 2) -> None:
        self.errors: Any = openai if which == "openai" else anthropic
        key = faulty.keys["api"]
        if which == "openai":
            self._openai = openai.OpenAI(base_url=f"{faulty.url}/engines/v1", api_key=key, max_retries=max_retries)
        else:
            url = f"{faulty.url}/anthropic"
            self._anthropic = anthropic.Anthropic(base_url=url, api_key=key, max_retries=max_retries)
        self.which = which

    def chat(self, stream: bool = False) -> Any:
        if self.which == "openai":
            return self._openai.chat.completions.create(model=MODEL, messages=ASK, stream=stream)  # type: ignore[call-overload]
        return self._anthropic.messages.create(model=MODEL, messages=ASK, max_tokens=60, stream=stream)  # type: ignore[call-overload]


def asked(faulty: Faulty) -> int:
    """Return how many requests the service has sent since its faults were planned."""
    return int(faulty.planned()[0]["counts"]["api"]["requests"])


@OF_BOTH
def test_a_rate_limit_is_waited_for_as_long_as_retry_after_says(
    faulty: Faulty, which: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    faulty.set("rate_limit,first=1,retry_after=1")
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)

    assert Client(faulty, which).chat().model
    assert waits == [1]
    assert asked(faulty) == 2


@OF_BOTH
def test_a_client_gives_up_after_its_retries(faulty: Faulty, which: str) -> None:
    faulty.set("rate_limit,retry_after=0")
    client = Client(faulty, which, max_retries=2)

    with pytest.raises(client.errors.RateLimitError, match="made on purpose by dmrc"):
        client.chat()

    assert asked(faulty) == 3


@OF_BOTH
def test_an_error_of_the_server_is_asked_again(faulty: Faulty, which: str) -> None:
    faulty.set("error,first=1")

    assert Client(faulty, which).chat().model
    assert asked(faulty) == 2


@OF_BOTH
def test_a_model_that_is_not_there_is_not_asked_again(faulty: Faulty, which: str) -> None:
    faulty.set("missing_model")
    client = Client(faulty, which)

    with pytest.raises(client.errors.NotFoundError):
        client.chat()

    assert asked(faulty) == 1


@OF_BOTH
def test_a_stream_that_is_cut_raises_after_its_pieces(faulty: Faulty, which: str) -> None:
    faulty.set("cut,after=3")
    client, pieces = Client(faulty, which), []

    with pytest.raises(client.errors.APIError, match="cut after piece 3"):
        pieces.extend(client.chat(stream=True))

    assert len(pieces) == 3
    assert asked(faulty) == 1


def test_openai_hands_malformed_arguments_to_the_application(faulty: Faulty) -> None:
    faulty.set("malformed_tool_arguments")
    client = openai.OpenAI(base_url=f"{faulty.url}/engines/v1", api_key=faulty.keys["api"])

    answer = client.chat.completions.create(model=MODEL, messages=ASK, tools=[TOOL])  # type: ignore[list-item,arg-type]

    (call,) = answer.choices[0].message.tool_calls or []
    with pytest.raises(json.JSONDecodeError):
        json.loads(call.function.arguments)  # type: ignore[union-attr]


def test_ollama_raises_with_the_status_and_asks_nothing_again(faulty: Faulty) -> None:
    faulty.set("rate_limit,first=1", "missing_model,first=1", "cut,first=1,after=1")
    client = ollama.Client(host=faulty.url, headers={"authorization": f"Bearer {faulty.keys['api']}"})
    statuses = []
    for _ in range(2):
        with pytest.raises(ollama.ResponseError) as caught:
            client.chat(MODEL, ASK)
        statuses.append(caught.value.status_code)

    with pytest.raises(ollama.ResponseError, match="cut after piece 1"):
        list(client.chat(MODEL, ASK, stream=True))

    assert statuses == [429, 404]
    assert asked(faulty) == 3
