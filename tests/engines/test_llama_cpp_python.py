"""The second engine, through the gateway and OpenAI's client, on the real model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dmrc.engines.llama_cpp_python.engine import LlamaCppPython
from dmrc.engines.local_model import LocalModel
from dmrc.errors import EngineError, RuntimeFlagError
from dmrc.project import ServingOptions
from tests.dmrc_command import temporary_dmrc
from tests.engines.child import configured

if TYPE_CHECKING:
    import openai

MODEL = "local/smollm2:135M-Q4_1"
COMPOSE = f"""
name: second
services: {{app: {{image: none, models: [llm]}}}}
models:
  llm: {{model: "{MODEL}", context_size: 512, runtime_flags: ["--temp", "0"], x-dmrc: {{engine: llama-cpp-python}}}}
"""


@pytest.fixture(scope="module")
def client(
    tmp_path_factory: pytest.TempPathFactory, smollm2: Path, needs_llama_cpp_python: None
) -> Iterator[openai.OpenAI]:
    import openai

    directory = tmp_path_factory.mktemp("second")
    (directory / "compose.yaml").write_text(COMPOSE)
    with temporary_dmrc() as dmrc:
        dmrc.ok("package", "--gguf", smollm2, MODEL)
        variables = json.loads(dmrc.ok("env", "app", "--format", "json", cwd=directory))
        key = variables["OPENAI_API_KEY"]
        yield openai.OpenAI(base_url=variables["OPENAI_BASE_URL"], api_key=key, max_retries=0, timeout=120)
        records = json.loads(dmrc.ok("requests", "--json"))
        assert {record["engine"] for record in records} == {"llama-cpp-python"}
        assert all(record["prompt_tokens"] for record in records if record["status"] == 200)


def ask(client: openai.OpenAI, text: str, max_tokens: int = 40) -> tuple[str, str | None]:
    """Stream an answer, and return it with the reason that it ended."""
    answer, reason = "", None
    stream = client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": text}], max_tokens=max_tokens, stream=True
    )
    for chunk in stream:
        answer += chunk.choices[0].delta.content or ""
        reason = chunk.choices[0].finish_reason or reason
    return answer, reason


def test_a_second_stream_waits_and_never_cuts_the_first(client: openai.OpenAI) -> None:
    alone = ask(client, "Tell me about whales.")

    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda text: ask(client, text), ["Tell me about whales.", "Tell me about ships."]))

    assert together[0] == alone
    assert all(reason in ("stop", "length") and answer for answer, reason in together)


def test_a_whole_answer_has_usage_and_the_models_name(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "Say hello."}], max_completion_tokens=5
    )

    assert answer.model == MODEL
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 5


@pytest.mark.parametrize("stream", [True, False])
def test_a_prompt_beyond_the_context_is_refused_before_the_stream_begins(client: openai.OpenAI, stream: bool) -> None:
    import openai

    messages = [{"role": "user", "content": "word " * 700}]

    with pytest.raises(openai.BadRequestError, match="exceed context window of 512"):
        client.chat.completions.create(model=MODEL, messages=messages, stream=stream)


def test_completions_and_embeddings(client: openai.OpenAI) -> None:
    assert client.completions.create(model=MODEL, prompt="One, two,", max_tokens=4).choices[0].text
    assert len(client.embeddings.create(model=MODEL, input=["a whale", "a ship"]).data) == 2


def test_it_is_told_no_slot_and_saves_none() -> None:
    engine, options = LlamaCppPython(), ServingOptions(mode="completion")

    assert not engine.tells_slots(options)
    assert engine.saves_slots(LocalModel(path=Path("m")), options) is None


@pytest.mark.llama_cpp_python
def test_a_flag_that_it_does_not_have_is_refused_by_name() -> None:
    with pytest.raises(RuntimeFlagError, match="'--flash-attn' is not known to engine 'llama-cpp-python'"):
        LlamaCppPython().check(configured("--flash-attn", "on"))


def test_without_the_extra_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)

    with pytest.raises(EngineError, match=r"pip install 'dmrc\[llama-cpp-python\]'"):
        LlamaCppPython().check(configured())
