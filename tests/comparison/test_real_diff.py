"""`dmrc diff` with a real model: the same again is the same, and what is different ends with it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.comparison.asking import every_way
from tests.dmrc_command import Dmrc, temporary_dmrc
from tests.polling import eventually
from tests.tiny_gguf import write_tiny_llama

MODEL, OTHER = "local/smollm2", "local/tiny"
COMPOSE = f"""
name: shop
services: {{api: {{image: none, models: [llm]}}}}
models:
  llm: {{model: {MODEL}, context_size: 512, runtime_flags: ["--seed", "11"], x-dmrc: {{parallel: 1}}}}
"""
QUESTIONS = (
    "Name a city in France.",
    "What is a whale?",
    "Tell me about the moon.",
    "Who wrote Hamlet?",
    "Count to ten.",
)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory, smollm2: Path, needs_engine: None) -> Iterator[Dmrc]:
    directory = tmp_path_factory.mktemp("shop")
    (directory / "compose.yaml").write_text(COMPOSE)
    with temporary_dmrc() as dmrc:
        dmrc.ok("package", "--gguf", smollm2, MODEL)
        dmrc.ok("package", "--gguf", write_tiny_llama(directory / "tiny.gguf"), OTHER)
        key = json.loads(dmrc.ok("env", "api", "--format", "json", cwd=directory))["OPENAI_API_KEY"]
        for number, request in enumerate(every_way("text", MODEL, 30, temperature=0.7, max_tokens=12)):
            messages = [{"role": "user", "content": f"{QUESTIONS[number % len(QUESTIONS)]} ({number})"}]
            request.body.update({"input" if "input" in request.body else "messages": messages})
            request.send(dmrc.port, key)
        yield dmrc


def diff(dmrc: Dmrc, *arguments: str) -> dict[str, object]:
    return json.loads(dmrc.ok("diff", "--service", "api", "--json", *arguments))


def runners(dmrc: Dmrc) -> list[dict[str, object]]:
    return json.loads(dmrc.ok("ps", "--json"))


def test_the_same_again_with_a_seed_is_the_same_and_takes_the_time_of_the_engine(asked: Dmrc) -> None:
    report = diff(asked)

    assert (report["compared"], report["regressions"], report["counts"]) == (30, 0, {})
    ids = {row["diff_id"] for row in report["requests"]}
    sent = [one for one in json.loads(asked.ok("requests", "--json", "-n", "1000")) if one["id"] in ids]
    ends = [one["received_at"] + one["total_ms"] / 1000 for one in sent]
    took = max(ends) - min(one["received_at"] for one in sent)
    assert took <= 1.05 * sum(one["total_ms"] for one in sent) / 1000


def test_other_options_are_for_the_diff_alone(asked: Dmrc) -> None:
    before = runners(asked)

    report = diff(asked, "--last", "2", "--context-size", "256", "--flag", "--temp 0 --top-k 1")

    shown = json.loads(asked.ok("requests", "show", str(report["requests"][0]["diff_id"]), "--json"))
    assert shown["context_tokens"] == 256
    eventually(lambda: runners_are(asked, before), "the end of the runner of the diff")


def test_another_model_answers_in_its_place_and_goes(asked: Dmrc) -> None:
    before = runners(asked)

    report = diff(asked, "--last", "3", "--model", OTHER)

    assert {row["now"]["model"] for row in report["requests"]} == {"docker.io/local/tiny:latest"}
    assert all(row["differences"] for row in report["requests"])
    eventually(lambda: runners_are(asked, before), "the end of the runner of the diff")


def runners_are(dmrc: Dmrc, before: list[dict[str, object]]) -> bool:
    return [one["id"] for one in runners(dmrc)] == [one["id"] for one in before]


def test_a_flag_that_is_none_is_told_and_nothing_is_left(asked: Dmrc) -> None:
    done = asked.run("diff", "--service", "api", "--flag", "--tempp 0")

    assert done.returncode == 2, done.stderr
    assert "--tempp" in done.stderr
    assert done.stdout == ""
