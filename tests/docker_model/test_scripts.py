"""What scripts of `docker model` users write: each line was run against Docker Model Runner 642c7211, too.

Usage errors are 2 here and 1 there, which docs/commands.md says.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import click
import pytest
import urllib3

from dmrc.docker_model.pflag import TakesBoolean, translated
from tests.cli.test_search import Places
from tests.dmrc_command import Dmrc, temporary_dmrc
from tests.docker_model.conftest import as_docker_model
from tests.polling import eventually

_HEADER = "MODEL NAME"
_HELP = "Usage: docker model "

SUCCEEDS = [
    (["unload", "nosuch"], "No such model(s) running.\n"),
    (["stop", "nosuch"], "No such model(s) running.\n"),
    (["unload", "--all"], "No models are running.\n"),
    (["unload", "--all=true"], "No models are running.\n"),
    (["ls", "nosuch"], _HEADER),
    (["list", "nosuch"], _HEADER),
    (["ls", "-q", "nosuch"], ""),
    (["ls", "-q=true", "nosuch"], ""),
    (["ls", "--json", "nosuch"], "[]\n"),
    (["ls", "0123456789ab"], _HEADER),
    (["ls", "--json=true"], "[]\n"),
    (["ls", "--json=1"], "[]\n"),
    (["ls", "--json=T"], "[]\n"),
    (["ls", "--quiet=false"], _HEADER),
    (["ls", "-q=f"], _HEADER),
    (["ls", "--json", "--json=FALSE"], _HEADER),
    (["configure", "show", "nosuch"], "[]\n"),
    (["configure", "show"], "[]\n"),
    (["config", "show", "--json=true"], "[]\n"),
    (["configure", "ai/later"], ""),
    (["configure", "--context-size", "2048", "ai/later"], ""),
    (["configure", "--context-size", "0", "ai/later"], ""),
    (["configure", "--context-size", "-5", "ai/later"], ""),
    (["configure", "--context-size=-1", "ai/later"], ""),
    (["configure", "--think", "true", "ai/later"], ""),
    (["configure", "--think=true", "ai/later"], ""),
    (["configure", "--think=false", "ai/later", "--", "--temp", "0.1"], ""),
    (["configure", "--speculative-draft-model", "ai/small", "ai/later"], ""),
    (["configure", "--speculative-draft-model=ai/small", "--speculative-num-tokens=4", "ai/later"], ""),
    (["configure", "--speculative-min-acceptance-rate", "0.6", "ai/later"], ""),
    (["configure", "--mode=", "--keep-alive", "", "ai/later"], ""),
    (["configure", "--mode", "Completion", "ai/later"], ""),
    (["configure", "--speculative-draft-model", "", "--speculative-num-tokens", "-3", "ai/later"], ""),
    (["ls", ""], _HEADER),
    (["ls", "-q", ""], ""),
    (["ls", "--openaiurl", ""], _HEADER),
    (["ps", "x"], _HEADER),
    (["df", "x", "y"], "TYPE"),
    (["status", "--json", "true"], "{\n"),
    (["version", "x"], "Client:\n"),
    (["requests", "--model=", "x"], "[]\n"),
    (["start-runner", "x"], "The daemon runs"),
    ([], _HELP),
    (["help"], _HELP),
    (["help", "run"], "Usage: docker model run "),
    (["help", "configure", "show"], "Usage: docker model configure show "),
    (["--help"], _HELP),
    (["help", "model", "run"], "Usage: docker model run "),
    (["-D", "--log-level", "debug", "model", "ls"], _HEADER),
    (["context"], "Usage: docker model context "),
    (["compose"], "Usage: docker model compose "),
    (["purge", "--force=true"], ""),
    (["purge", "-f=true"], ""),
    (["version"], "Client:\n"),
]
REFUSED = [
    (["unload", "--all", "x"], "--all is every model"),
    (["unload"], "name a model, or say --all"),
    (["unload", "--backend", "llama.cpp"], "--backend alone"),
    (["purge", "ai/x"], "unexpected extra argument (ai/x)"),
    (["run", "--color", "bogus", "ai/x", "hi"], "'bogus' is not one of"),
    (["ls", "--json=maybe"], "'maybe' must be a boolean"),
    (["configure"], "Missing command"),
    (["configure", "--speculative-min-acceptance-rate", "2", "ai/later"], "2"),
    (["search", "--source", "elsewhere"], "'elsewhere' is not one of"),
]


def _line(value: object) -> str | None:
    return " ".join(value) if isinstance(value, list) else None


@pytest.fixture(scope="module")
def scripted(tmp_path_factory: pytest.TempPathFactory, needs_process: None) -> Iterator[Dmrc]:
    """One `docker model` for all lines, without a model."""
    with temporary_dmrc() as dmrc:
        yield as_docker_model(dmrc, tmp_path_factory.mktemp("docker"))


@pytest.mark.parametrize(("arguments", "begin"), SUCCEEDS, ids=_line)
def test_a_line_that_succeeds_there_succeeds_here(scripted: Dmrc, arguments: list[str], begin: str) -> None:
    done = scripted.run(*arguments)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(begin) if begin else done.stdout == ""


@pytest.mark.parametrize(("arguments", "words"), REFUSED, ids=_line)
def test_a_line_that_is_refused_there_is_refused_here(scripted: Dmrc, arguments: list[str], words: str) -> None:
    done = scripted.run(*arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr


@pytest.mark.parametrize("answer", ["n\n", "\n", ""])
def test_a_purge_that_is_not_agreed_to_is_cancelled(docker_model: Dmrc, gguf: Path, answer: str) -> None:
    docker_model.ok("package", "--gguf", gguf, "ai/tiny")

    asked = docker_model.run("purge", input=answer)

    assert (asked.returncode, asked.stdout) == (0, "Operation cancelled.\n")
    assert "Are you sure you want to continue? [y/N]" in asked.stderr
    assert len(docker_model.ok("ls", "-q").split()) == 1


def test_what_is_configured_before_the_pull_holds_after_it(docker_model: Dmrc, gguf: Path) -> None:
    docker_model.ok("configure", "--context-size", "128", "--think", "false", "ai/tiny", "--", "--temp", "0.5")
    before = json.loads(docker_model.ok("configure", "show", "ai/tiny") or "[]")
    waiting = json.loads(docker_model.ok("configure", "show"))
    docker_model.ok("package", "--gguf", gguf, "ai/tiny")

    (after,) = json.loads(docker_model.ok("configure", "show", "ai/tiny"))

    assert before == []
    assert (waiting[0]["Model"], waiting[0]["ModelID"]) == ("docker.io/ai/tiny:latest", "")
    for entry in (waiting[0], after):
        assert entry["Config"]["context-size"] == 128
        assert entry["Config"]["runtime-flags"] == ["--temp", "0.5"]
        assert entry["Config"]["llamacpp"] == {"reasoning-budget": 0}


def test_what_has_no_date_of_its_own_was_created_when_it_came(docker_model: Dmrc, gguf: Path) -> None:
    docker_model.ok("package", "--gguf", gguf, "--context-size=0", "ai/tiny")

    listed = json.loads(docker_model.ok("ls", "--json"))[0]["created"]
    shown = re.search(r"^Created: +(\S+)$", docker_model.ok("show", "ai/tiny"), re.MULTILINE)

    assert shown is not None
    assert datetime.fromisoformat(shown[1]).timestamp() == listed


def test_configure_replaces_what_was_set(docker_model: Dmrc, gguf: Path) -> None:
    docker_model.ok("package", "--gguf", gguf, "ai/tiny")

    def config() -> object:
        return json.loads(docker_model.ok("configure", "show", "ai/tiny"))[0]["Config"]

    untouched = config()
    docker_model.ok("configure", "--context-size", "128", "ai/tiny", "--", "--temp", "0.5")
    docker_model.ok("configure", "--keep-alive", "-1", "ai/tiny")
    replaced = config()
    docker_model.ok("configure", "--context-size", "64", "ai/tiny")
    docker_model.ok("configure", "--context-size", "0", "--keep-alive", "5m", "ai/tiny")
    size_forgotten = config()
    docker_model.ok("configure", "ai/tiny")

    assert isinstance(untouched, dict)
    assert replaced == {**untouched, "keep_alive": "-1"}
    assert size_forgotten == config() == untouched


@pytest.mark.engine
def test_a_draft_model_is_loaded_beside_it(docker_model: Dmrc, gguf: Path) -> None:
    docker_model.ok("package", "--gguf", gguf, "--context-size", "64", "ai/tiny")
    draft = ["--speculative-draft-model", "ai/tiny", "--speculative-num-tokens", "2"]
    docker_model.ok("configure", *draft, "--speculative-min-acceptance-rate", "0.5", "ai/tiny")

    answer = docker_model.ok("run", "ai/tiny", "Hi")

    config = json.loads(docker_model.ok("configure", "show", "ai/tiny"))[0]["Config"]
    wanted = {"draft_model": "docker.io/ai/tiny:latest", "num_tokens": 2, "min_acceptance_rate": 0.5}
    assert answer.strip()
    assert config["speculative"] == wanted
    assert "draft" in docker_model.ok("logs", "ai/tiny")


@pytest.mark.engine
def test_a_draft_that_is_not_there_is_told_as_one_with_the_way_back(docker_model: Dmrc, gguf: Path) -> None:
    docker_model.ok("package", "--gguf", gguf, "--context-size", "64", "ai/tiny")
    docker_model.ok("configure", "--speculative-draft-model", "ai/x", "ai/tiny")

    refused = docker_model.run("run", "ai/tiny", "Hi")
    docker_model.ok("configure", "rm", "ai/tiny")

    assert refused.returncode == 5
    assert refused.stderr.splitlines()[-1].endswith(
        "the draft of model 'docker.io/ai/tiny:latest': model 'docker.io/ai/x:latest' is not in the store. "
        "Run: docker model pull docker.io/ai/x:latest. "
        "Or forget what was set: docker model configure rm docker.io/ai/tiny:latest"
    )
    assert docker_model.ok("run", "ai/tiny", "Hi").strip()


@pytest.mark.engine
def test_a_model_is_removed_right_after_it_was_asked(docker_model: Dmrc, gguf: Path) -> None:
    docker_model.ok("package", "--gguf", gguf, "--context-size", "64", "ai/tiny")
    docker_model.ok("run", "ai/tiny", "Hi")

    removed = docker_model.ok("rm", "ai/tiny")

    assert removed.startswith("Untagged: docker.io/ai/tiny:latest\nDeleted: sha256:")
    assert len(docker_model.ok("ps").splitlines()) == 1


@pytest.mark.engine
def test_a_busy_model_is_removed_and_finishes_its_answer(docker_model: Dmrc, gguf: Path) -> None:
    docker_model.ok("package", "--gguf", gguf, "--context-size", "2048", "ai/tiny")
    docker_model.ok("start-runner")
    body = {"model": "ai/tiny", "prompt": "Hi", "max_tokens": 600, "ignore_eos": True, "stream": True}
    url = f"http://127.0.0.1:{docker_model.port}/engines/v1/completions"
    with urllib3.PoolManager() as pool:
        answer = pool.request("POST", url, json=body, timeout=60, preload_content=False)
        begin = answer.read(64)
        removed = docker_model.ok("rm", "ai/tiny")
        rest = answer.read()

    assert "Deleted: sha256:" in removed
    assert docker_model.ok("ls", "-q") == ""
    assert (begin + rest).endswith(b"data: [DONE]\n\n")
    eventually(lambda: len(docker_model.ok("ps").splitlines()) == 1, "end of the runner")


@pytest.mark.parametrize("source", ["all", "dockerhub", "docker", "hub", "huggingface", "hf"])
def test_every_name_of_a_source_is_known(docker_model: Dmrc, source: str) -> None:
    places = Places()
    with places.server:
        docker_model.environment["HF_ENDPOINT"] = places.url
        found = docker_model.ok("search", "-n=3", f"--source={source}", "--json=true", "--hub-url", places.url)

    sources = {each["Source"] for each in json.loads(found)}
    hub, hugging_face = source in ("all", "dockerhub", "docker", "hub"), source in ("all", "huggingface", "hf")
    assert len(sources) == hub + hugging_face


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (["--json=true", "x"], ["--json", "x"]),
        (["x", "--json=0"], ["x"]),
        (["-q=true"], ["-q"]),
        (["-fq=true"], ["-f", "-q"]),
        (["-fq=false", "-q"], ["-f", "-q"]),
        (["-q", "--quiet=false"], []),
        (["-n=5", "-n5", "-n", "5"], ["-n", "5", "-n5", "-n", "5"]),
        (["--limit", "--json=true"], ["--limit", "--json=true"]),
        (["--", "--json=true"], ["--", "--json=true"]),
        (["--think", "true", "x"], ["--think", "x"]),
        (["--think", "F", "x"], ["--no-think", "x"]),
        (["--think", "x"], ["--think", "x"]),
        (["--think=false", "x"], ["--no-think", "x"]),
        (["--no-think=false", "x"], ["--think", "x"]),
        (["--unknown=true", "-z=1"], ["--unknown=true", "-z=1"]),
        (["--mode=", "x", "--mode", ""], ["x"]),
        (["--limit=", "--limit", ""], ["--limit", "", "--limit", ""]),
        (["--license=", "--mode"], ["--license", "", "--mode"]),
    ],
    ids=_line,
)
def test_flags_are_read_as_pflag_does(written: list[str], read: list[str]) -> None:
    options = [
        click.Option(["--json"], is_flag=True),
        click.Option(["-q", "--quiet"], is_flag=True),
        click.Option(["-f"], is_flag=True),
        click.Option(["-n", "--limit"], type=int),
        click.Option(["--mode"]),
        click.Option(["--license"], multiple=True),
        TakesBoolean(["--think/--no-think"], default=None),
    ]

    assert translated(options, written) == read
