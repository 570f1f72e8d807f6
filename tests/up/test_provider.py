"""A model as a provider service: plain `docker compose up` of a project that knows of dmrc by one word."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.polling import eventually
from tests.up.compose_project import STAY, TINY, ComposeProject, question, runners, service
from tests.up.conftest import MakeProject

_OPTIONS = {"model": TINY, "context-size": 256, "parallel": 1, "keep-alive": "-1"}


def _compose(project: ComposeProject, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the user's own Compose, with `dmrc` on PATH."""
    path = f"{Path(project.dmrc.program).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["docker", "compose", *arguments],
        cwd=project.directory,
        env={**project.dmrc.environment, "PATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=180,
    )


def _write(project: ComposeProject, script: str, **options: object) -> None:
    provider = {"type": "dmrc", "options": {**_OPTIONS, **options}}
    app = service(f"{script}; {STAY}", depends_on=["llm"])
    project.write({"services": {"app": app, "llm": {"provider": provider}}})


def _projects(project: ComposeProject) -> object:
    return json.loads(project.dmrc.ok("status", "--json"))["projects"]


@pytest.fixture
def provided(own_project: MakeProject) -> Iterator[ComposeProject]:
    """A project that is down afterwards, by Compose alone."""
    project = own_project("provided")
    yield project
    down = _compose(project, "down")
    assert down.returncode == 0, down.stdout


def test_a_dependant_is_given_the_model_and_answers(provided: ComposeProject) -> None:
    _write(provided, f"{question()} && {question('${LLM_URL}', '$LLM_API_KEY', '$LLM_MODEL')}")

    up = _compose(provided, "up", "--detach")

    assert up.returncode == 0, up.stdout
    found = eventually(lambda: len(each := provided.exchanges()) == 2 and each, "two questions of the container")
    assert [(one["service"], one["status"], one["completion_tokens"]) for one in found] == [("llm", 200, 4)] * 2
    assert [one["container"] for one in found] == [provided.containers()["app"].id[:12]] * 2
    assert '"Hi"' in provided.dmrc.ok("requests", "show", str(found[0]["id"]), "--raw")
    assert list(runners(provided.dmrc).values()) == [256]


def _environment(project: ComposeProject, service: str = "app") -> list[str]:
    """Return the variables of the container; Docker has them in any order."""
    printed = project.engine.docker("inspect", "--format", "{{json .Config.Env}}", project.containers()[service].id)
    return sorted(json.loads(printed))


def test_a_context_that_is_cut_is_said(provided: ComposeProject) -> None:
    _write(provided, "true", **{"context-size": 5000})

    up = _compose(provided, "up", "--detach")

    assert up.returncode == 0, up.stdout
    assert "context_size 5000 is cut to 2048" in up.stdout


def test_a_second_up_gives_the_same_and_down_forgets_all(provided: ComposeProject) -> None:
    """Compose v5.6.1 makes the dependants of every provider anew on each `up`, even one that always says the same."""
    _write(provided, "true")
    assert _compose(provided, "up", "--detach").returncode == 0
    environment, loaded = _environment(provided), runners(provided.dmrc)

    again = _compose(provided, "up", "--detach")

    assert again.returncode == 0, again.stdout
    assert (_environment(provided), runners(provided.dmrc)) == (environment, loaded)

    down = _compose(provided, "down")

    assert down.returncode == 0, down.stdout
    assert provided.containers() == {}
    assert _projects(provided) == []
    eventually(lambda: runners(provided.dmrc) == {}, "the end of the runner")


def test_stop_unloads_and_start_answers_again(provided: ComposeProject) -> None:
    _write(provided, question())
    assert _compose(provided, "up", "--detach").returncode == 0
    eventually(lambda: len(provided.exchanges()) == 1, "the first question")

    assert _compose(provided, "stop").returncode == 0
    eventually(lambda: runners(provided.dmrc) == {}, "the end of the runner")
    assert _compose(provided, "start").returncode == 0

    answers = eventually(lambda: len(each := provided.exchanges()) == 2 and each, "the second question")
    assert [one["status"] for one in answers] == [200, 200]


def test_c3_to_c7_several_providers_and_variables_that_are_there(provided: ComposeProject) -> None:
    """C3 each provider gives its variables; C5 to C7 raw ones replace what the project or the shell says."""
    provider = {"type": "dmrc", "options": {"model": TINY, "context-size": 128, "parallel": 1}}
    inherited = ["OPENAI_API_KEY=mine", "OPENAI_MODEL"]
    services = {
        "app": service(STAY, depends_on=["one", "two"], environment=inherited),
        "map": service(STAY, depends_on=["one"], environment={"OPENAI_API_KEY": "mine"}),
        **{name: {"provider": provider} for name in ("one", "two")},
    }
    provided.write({"services": services})
    provided.dmrc.environment["OPENAI_MODEL"] = "gpt-4"

    up = _compose(provided, "up", "--detach")

    assert up.returncode == 0, up.stdout
    given = dict(line.split("=", 1) for line in _environment(provided))
    for name in ("ONE", "TWO"):
        opened = given["OPENAI_BASE_URL"].replace("/engines/v1", f"/k/{given[f'{name}_API_KEY']}/engines/v1/")
        assert given[f"{name}_URL"] == opened
    assert {given["ONE_API_KEY"], given["TWO_API_KEY"]} >= {given["OPENAI_API_KEY"]}
    assert given["OPENAI_MODEL"] == TINY
    assert dict(line.split("=", 1) for line in _environment(provided, "map"))["OPENAI_API_KEY"] == given["ONE_API_KEY"]
    for name in ("OPENAI_API_KEY", "OPENAI_MODEL"):
        assert re.search(rf"{name}.*overrides environment variable|overrides environment variable.*{name}", up.stdout)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"model": "127.0.0.1:1/ai/none"}, "127.0.0.1:1"),
        ({"runtime-flags": "--no-such-flag"}, "--no-such-flag"),
        ({"context-size": "many"}, "context_size"),
    ],
)
def test_a_failure_shows_its_reason_in_composes_output(
    provided: ComposeProject, options: dict[str, object], reason: str
) -> None:
    _write(provided, "true", **options)

    up = _compose(provided, "up", "--detach")

    assert up.returncode != 0
    assert reason in up.stdout
    assert provided.containers() == {}


def _write_kind(project: ComposeProject, kind: str, script: str, **options: object) -> None:
    app = service(f"{script}; {STAY}", depends_on=["llm"])
    provider = {"type": kind, "options": {"model": TINY, "context-size": -1, **options}}
    project.write({"services": {"app": app, "llm": {"provider": provider}}})


_BY_ITS_URL = question("${LLM_URL}", "none", "$LLM_MODEL")
"""What a file for Docker Model Runner asks: it knows of no key."""


@pytest.mark.parametrize("kind", ["model", "dmrc"])
def test_dmrc_up_serves_a_provider_without_any_plugin(own_project: MakeProject, kind: str) -> None:
    """#16, A3: `exec: "model": executable file not found`."""
    shop = own_project("rewritten")
    _write_kind(shop, kind, question("${LLM_URL}", "$LLM_API_KEY", "$LLM_MODEL"))

    shop.up("--detach")

    found = shop.answers("app")["app"]
    assert (found["status"], found["model_requested"]) == (200, TINY)
    assert shop.containers().keys() == {"app"}
    assert shop.dmrc.ok("exec", "app", "--", "printenv", "LLM_MODEL", cwd=shop.directory) == f"{TINY}\n"
    before = shop.containers()
    shop.up("--detach")
    assert shop.containers() == before


def test_a_provider_that_is_named_alone_is_loaded_and_starts_no_container(own_project: MakeProject) -> None:
    shop = own_project("alone")
    _write_kind(shop, "model", "true")

    up = shop.up("--detach", "llm")

    assert f"{TINY}  present" in up.stderr
    assert shop.containers() == {}


def test_the_url_of_a_provider_opens_its_model_without_a_key(provided: ComposeProject) -> None:
    _write_kind(provided, "dmrc", _BY_ITS_URL)

    up = _compose(provided, "up", "--detach")

    assert up.returncode == 0, up.stdout
    assert provided.answers("llm")["llm"]["status"] == 200


def test_a_draft_is_loaded_beside_the_model(provided: ComposeProject) -> None:
    draft = {"speculative-draft-model": TINY, "speculative-num-tokens": 4, "speculative-min-acceptance-rate": 0.5}
    _write(provided, question(), **draft)

    up = _compose(provided, "up", "--detach")

    assert up.returncode == 0, up.stdout
    assert provided.answers("llm")["llm"]["status"] == 200


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"backend": "vllm"}, "options.backend is 'vllm'"),
        ({"speculative-num-tokens": 4}, "has no effect without a draft"),
        ({"contextsize": 256}, "(did you mean 'context-size'?)"),
    ],
)
def test_an_option_that_has_no_effect_here_is_refused(
    provided: ComposeProject, options: dict[str, object], reason: str
) -> None:
    _write(provided, "true", **options)

    up = _compose(provided, "up", "--detach")

    assert up.returncode != 0
    assert reason in up.stdout
