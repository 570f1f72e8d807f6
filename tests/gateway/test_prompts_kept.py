"""What services get back of their prompts through the gateway, and what of them may lie in a file."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dmrc.settings import Settings
from tests.dmrc_command import Dmrc, temporary_dmrc
from tests.gateway.conftest import MODEL, Gateway
from tests.polling import eventually

pytestmark = pytest.mark.engine

COMPOSE = f"""
name: NAME
x-dmrc: {{capture: LEVEL}}
services: {{web: {{image: none, models: [chat]}}}}
models: {{chat: {{model: "{MODEL}", context_size: 512, runtime_flags: FLAGS, x-dmrc: {{parallel: 3, keep_alive: 2s}}}}}}
"""
FLAGS = '["--threads", "1", "--threads-batch", "1"]'  # to compute a prompt takes a while on any machine

FACTS = "The whale is the largest animal of the sea, and sings. " * 16
SECRET = "sk-proj-" + "a1b2c3d4e5" * 3


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, smollm2: Path) -> Iterator[Gateway]:
    """Two projects with one model, of which one keeps what it asks out of the record."""
    keys = {}
    with temporary_dmrc() as dmrc:
        dmrc.ok("package", "--gguf", smollm2, MODEL)
        for name, level in (("shop", "full"), ("quiet", "metadata")):
            directory = tmp_path_factory.mktemp(name)
            (directory / "compose.yaml").write_text(
                COMPOSE.replace("NAME", name).replace("LEVEL", level).replace("FLAGS", FLAGS)
            )
            told = json.loads(dmrc.ok("env", "web", "--format", "json", cwd=directory))
            keys[name] = told["OPENAI_API_KEY"]
        yield Gateway(dmrc, keys)


def ask(gateway: Gateway, project: str, *texts: str) -> tuple[int, int]:
    """Return the tokens of a prompt, and those of them that were there already."""
    roles = ("user", "assistant")
    messages = [{"role": roles[number % 2], "content": text} for number, text in enumerate(texts)]
    asked = gateway.client(project).chat.completions.create(
        model="chat", messages=messages, max_tokens=2, temperature=0
    )
    usage = asked.usage
    assert usage is not None
    assert usage.prompt_tokens_details is not None
    return usage.prompt_tokens, usage.prompt_tokens_details.cached_tokens or 0


def files_of_rest(dmrc: Dmrc) -> list[Path]:
    """Wait until the model is unloaded, and return what is kept of its prompts."""
    eventually(lambda: not json.loads(dmrc.ok("ps", "--json")), "the idle model is unloaded", seconds=60)
    return list((Settings.from_environment(dmrc.environment).paths.run / "prompts").iterdir())


def by_command(*argv: str) -> Callable[[Dmrc], object]:
    return lambda dmrc: dmrc.run(*argv)  # it fails where no such model runs


def by_ollamas_words(dmrc: Dmrc) -> object:
    body = json.dumps({"model": MODEL, "keep_alive": 0}).encode()
    with urllib.request.urlopen(f"http://127.0.0.1:{dmrc.port}/api/generate", body) as answer:
        return json.load(answer)


@pytest.mark.parametrize(
    "unload",
    [by_command("unload", MODEL), by_ollamas_words, by_command("rm", "--force", MODEL)],
    ids=["unload", "keep_alive", "rm"],
)
def test_who_unloads_a_model_that_is_at_rest_leaves_no_prompt_of_it(
    gateway: Gateway, smollm2: Path, unload: Callable[[Dmrc], object]
) -> None:
    ask(gateway, "shop", f"One. {FACTS}")
    assert files_of_rest(gateway.dmrc)

    unload(gateway.dmrc)

    assert not any((Settings.from_environment(gateway.dmrc.environment).paths.run).glob("prompts/*"))
    gateway.dmrc.ok("package", "--gguf", smollm2, MODEL)  # for who comes next


def test_of_three_prompts_the_one_is_kept_that_may_all_be_on_record(gateway: Gateway) -> None:
    ask(gateway, "shop", f"One. {FACTS}")
    ask(gateway, "quiet", f"Two. {FACTS}")
    ask(gateway, "shop", f"Three. My key is {SECRET}. {FACTS}")

    kept = files_of_rest(gateway.dmrc)

    assert len(kept) == 1
    total, cached = ask(gateway, "shop", f"One. {FACTS}", "Yes.", "And?")
    assert cached > 180
    assert total - cached < 40
    listed = [(each["prompt_tokens"], each["cached_tokens"]) for each in gateway.exchanges()]
    assert (total, cached) in listed
    gateway.dmrc.ok("stop-runner")
    assert not any((Settings.from_environment(gateway.dmrc.environment).paths.run).glob("prompts/*"))
