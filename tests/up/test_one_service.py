"""`dmrc up SERVICE`, `exec` and `env`: the models of the services that start, and no others (#16, A8)."""

from __future__ import annotations

import json

import pytest

from tests.up.compose_project import STAY, TINY, ComposeProject, ask, question, runners, service
from tests.up.conftest import MakeProject

_NOT_HERE = "127.0.0.1:1/ai/not-here:1"


def _write(shop: ComposeProject, **more: object) -> None:
    once = f"{question()}; {STAY}"
    services = {
        "db": service("echo db is up"),
        "one": service(once, models=["llm"], depends_on=["db"]),
        "two": service(once, models=["missing"]),
        "behind": service(once, models=["llm"], depends_on=["two"]),
        "extra": service(once, models=["llm"], profiles=["extra"]),
    }
    tiny = {"model": TINY, "context_size": 256, "x-dmrc": {"parallel": 1}}
    upstream = {"model": "far", "x-dmrc": {"upstream": {"url": "http://127.0.0.1:1/v1", "key": "NOT_SET_ANYWHERE"}}}
    services["far"] = service(STAY, models=["far"])
    shop.write(
        {"services": services, "models": {"llm": tiny, "missing": {"model": _NOT_HERE}, "far": upstream}, **more}
    )


def test_a_service_without_models_starts_nothing_of_dmrc(own_project: MakeProject) -> None:
    """The one that Compose's own reports had: `up db` failed without a network, or loaded what nothing used."""
    shop = own_project("db")
    _write(shop)

    up = shop.up("--detach", "db")

    assert "no service that starts uses a model" in up.stderr
    assert shop.containers().keys() == {"db"}
    assert json.loads(shop.dmrc.run("status", "--json").stdout)["running"] is False
    shop.down()


@pytest.mark.parametrize(
    "arguments", [["one"], ["one", "--", "--timeout", "5"], ["extra"], ["behind", "--", "--no-deps"]]
)
def test_only_the_models_of_what_starts_are_had(project: MakeProject, arguments: list[str]) -> None:
    shop = project("one")
    _write(shop)

    up = shop.up("--detach", *arguments)

    assert _NOT_HERE not in up.stderr
    assert shop.answers(arguments[0])[arguments[0]]["status"] == 200


def test_of_a_service_without_containers_no_model_is_had(project: MakeProject) -> None:
    shop = project("none-of-it")
    none = {**service(STAY, models=["missing"]), "scale": 0}
    also = {**service(STAY, models=["missing"]), "deploy": {"replicas": 0}}
    app = service(f"{question()}; {STAY}", models=["llm"])
    models = {"llm": {"model": TINY}, "missing": {"model": _NOT_HERE}}
    shop.write({"services": {"app": app, "none": none, "also": also}, "models": models})

    shop.up("--detach")

    assert shop.answers("app")["app"]["status"] == 200
    assert shop.containers().keys() == {"app"}
    assert shop.dmrc.run("up", "--detach", "--", "--scale", "none=1", cwd=shop.directory).returncode == 4
    shop.up("--detach", "--", "--scale=app=0")
    assert shop.containers() == {}


@pytest.mark.parametrize("arguments", [[], ["two"], ["behind"], ["--", "--exit-code-from", "one"]])
def test_a_model_of_what_starts_is_needed(project: MakeProject, arguments: list[str]) -> None:
    """The service that an option names is not one that is named to be started: then all are."""
    shop = project("needed")
    _write(shop)

    up = shop.dmrc.run("up", *arguments, cwd=shop.directory, env={"NOT_SET_ANYWHERE": "x"})

    assert (up.returncode, shop.containers()) == (4, {})
    assert _NOT_HERE in up.stderr


def test_exec_and_env_need_the_models_of_their_service_alone(project: MakeProject) -> None:
    shop = project("host")
    _write(shop)

    printed = shop.dmrc.ok("exec", "one", "--", "printenv", "OPENAI_MODEL", cwd=shop.directory)
    variables = shop.dmrc.ok("env", "one", cwd=shop.directory)

    assert printed == f"{TINY}\n"
    assert f"OPENAI_MODEL={TINY}" in variables
    assert shop.dmrc.run("env", "two", cwd=shop.directory).returncode == 4
    shop.down()


def test_keys_of_the_other_services_live_on(project: MakeProject) -> None:
    shop = project("others")
    _write(shop)
    shop.up("--detach", "extra", "--profile", "extra")
    before, keys = shop.containers(), shop.keys

    shop.up("--detach", "one")

    url = f"http://127.0.0.1:{shop.dmrc.port}"
    assert ask(url, keys["extra"])[0] == ask(url, shop.keys["one"])[0] == 200
    assert shop.containers()["extra"] == before["extra"]
    assert len(runners(shop.dmrc)) == 1
    shop.down("--profile", "extra")


def test_a_misspelt_service_is_told_before_anything_is_loaded(project: MakeProject) -> None:
    shop = project("typo")
    _write(shop)

    up = shop.dmrc.run("up", "ome", cwd=shop.directory)

    assert up.returncode == 3
    assert "has no service 'ome' (did you mean 'one'?)" in up.stderr
