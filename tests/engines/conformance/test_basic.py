"""What holds for any engine at all: it answers and streams chats, is cancelled, dies, and is asked by its name.

The toy of `tests/engines/toy.py`, an engine of a stranger with no GGUF and no memory to count, is one of them.
"""

import http.client
import json
from pathlib import Path

import pytest

from tests.engines.conformance.conftest import Served, failure
from tests.polling import eventually

HELLO = [{"role": "user", "content": "Say hello."}]
STORY = "A very long story about a whale and a ship:"
# At temperature 0 it never ends by itself; by chance it may, after a few words.
LONG = {"model": "chat", "max_tokens": 450, "temperature": 0, "stream": True}
PROMPTS = {
    "completions": {"prompt": STORY},
    "chat/completions": {"messages": [{"role": "user", "content": STORY}]},
}


def open_stream(served: Served) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    route = served.variant.speaks
    connection = http.client.HTTPConnection("127.0.0.1", served.dmrc.port, timeout=120)
    body = json.dumps({**LONG, **PROMPTS[route]})
    connection.request("POST", f"/engines/v1/{route}", body, {"authorization": f"Bearer {served.key}"})
    answer = connection.getresponse()
    assert answer.readline().startswith(b"data: ")
    return connection, answer


def test_a_chat_answers_with_a_role_a_reason_and_usage(served: Served) -> None:
    answer = served.client.chat.completions.create(model="chat", messages=HELLO, max_tokens=8)

    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason in ("stop", "length")
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert 0 < answer.usage.completion_tokens <= 8


def test_a_stream_says_what_the_whole_answer_says(served: Served) -> None:
    ask = {"model": "chat", "messages": HELLO, "max_tokens": 24, "temperature": 0}

    whole = served.client.chat.completions.create(**ask).choices[0]
    chunks = list(served.client.chat.completions.create(**ask, stream=True))

    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == whole.message.content
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == whole.finish_reason


def test_a_caller_that_goes_away_frees_the_engine(served: Served) -> None:
    served.recovered()
    connection, answer = open_stream(served)

    answer.close()
    connection.close()

    eventually(lambda: served.in_use() == 0, "free slot", seconds=10)
    # The runner has one slot, so this one is served only when the engine has really stopped.
    assert served.answer(timeout=10)


def test_a_crash_in_mid_stream_is_an_error_event_and_never_done(served: Served) -> None:
    served.recovered()
    connection, answer = open_stream(served)

    served.kill_children()

    rest = answer.read()
    connection.close()
    events = [line for line in rest.splitlines() if line.startswith(b"data: ")]
    assert b"[DONE]" not in rest
    assert "broke off" in json.loads(events[-1][6:])["error"]["message"]
    served.recovered()


def test_a_flag_that_is_unknown_is_named_before_anything_starts(served: Served, tmp_path: Path) -> None:
    inside = f"model: {served.variant.model}, runtime_flags: ['--tmep', '1'], "
    upstream = "upstream: http://127.0.0.1:1/v1"
    option = upstream if served.variant.engine == "upstream" else f"engine: {served.variant.engine}"

    code, line = failure(served, tmp_path, f"{inside} x-dmrc: {{{option}}}")

    assert code == 2
    assert ("--tmep" in line) or ("runtime_flags has no effect on an upstream" in line)


def test_the_name_of_another_engine_is_an_error_that_says_which_serves_it(served: Served) -> None:
    import openai

    other = next(name for name in ("llama.cpp", "upstream") if name != served.variant.engine)
    client = openai.OpenAI(
        base_url=f"http://127.0.0.1:{served.dmrc.port}/engines/{other}/v1", api_key=served.key, max_retries=0
    )

    with pytest.raises(openai.BadRequestError, match=f"served by engine '{served.variant.engine}', not by '{other}'"):
        client.completions.create(model="chat", prompt="a", max_tokens=1)
