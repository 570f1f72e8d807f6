"""`dmrc up` of projects of every shape: networks, files, profiles, variables, names."""

from __future__ import annotations

import pytest

from tests.up.compose_project import STAY, TINY, ComposeProject, ask, question, service
from tests.up.conftest import MakeProject

_ONCE = f"{question()}; {STAY}"
_LLM = {"llm": {"model": TINY, "context_size": 256, "x-dmrc": {"parallel": 1}}}


def _assert_answered(project: ComposeProject, *services: str) -> None:
    """Each of the services got its answer, with its own key."""
    for name, exchange in project.answers(*services).items():
        assert (name, exchange["status"], exchange["error_message"]) == (name, 200, None)
        assert exchange["project"] == project.name
        assert exchange["completion_tokens"] == 4


@pytest.mark.parametrize(
    "network",
    [
        {"network_mode": "host"},
        {"network_mode": "service:neighbour"},
        {"networks": ["closed"]},
        {"networks": ["closed", "open"]},
        {"network_mode": "bridge"},
    ],
    ids=["host", "service", "internal", "two networks", "default bridge"],
)
def test_a_container_reaches_the_model_from_its_network(project: MakeProject, network: dict[str, object]) -> None:
    found = project("network")
    found.write(
        {
            "services": {"app": service(_ONCE, models=["llm"], **network), "neighbour": service(STAY)},
            "networks": {"closed": {"internal": True}, "open": {}},
            "models": _LLM,
        }
    )

    found.up("--detach")

    _assert_answered(found, "app")


def test_a_name_that_the_project_gives_to_another_is_not_used(project: MakeProject) -> None:
    """Else the request went there, with our key."""
    found = project("hosts")
    name = "model-runner.docker.internal"
    hosts = {"list": [f"{name}:192.0.2.1"], "mapping": {name: "192.0.2.1"}, "ours": [f"{name}:host-gateway"]}
    services = {key: service(_ONCE, models=["llm"], extra_hosts=value) for key, value in hosts.items()}
    found.write({"services": services, "models": _LLM})

    found.up("--detach")

    _assert_answered(found, *hosts)
    bases = {key: found.engine.docker("exec", found.containers()[key].id, "/busybox", "env") for key in hosts}
    assert f"OPENAI_BASE_URL=http://{name}:" in bases["ours"]
    assert all(f"OPENAI_BASE_URL=http://{found.engine.bridge.ip}:" in bases[key] for key in ("list", "mapping"))


def test_several_files_are_merged(project: MakeProject) -> None:
    found = project("files")
    found.write({"services": {"app": service(_ONCE)}}, "a.yaml")
    found.write({"services": {"app": {"models": ["llm"]}}, "models": _LLM}, "b.yaml")

    found.up("--detach", "-f", "a.yaml", "-f", "b.yaml")

    _assert_answered(found, "app")
    found.down("-f", "a.yaml", "-f", "b.yaml")
    assert found.containers() == {}


def test_a_profile_brings_its_services_and_their_keys(project: MakeProject) -> None:
    found = project("profile")
    extra = service(_ONCE, models=["llm"], profiles=["extra"])
    found.write({"services": {"app": service(_ONCE, models=["llm"]), "extra": extra}, "models": _LLM})

    found.up("--detach")

    assert found.containers().keys() == found.keys.keys() == {"app"}

    found.up("--detach", "--profile", "extra")

    _assert_answered(found, "app", "extra")
    found.down("--profile", "extra")
    assert found.containers() == {}


def test_up_without_a_profile_leaves_the_running_containers_of_that_profile_their_keys(project: MakeProject) -> None:
    found = project("profiles")
    extra = service(_ONCE, models=["llm"], profiles=["extra"])
    found.write({"services": {"app": service(_ONCE, models=["llm"]), "extra": extra}, "models": _LLM})
    found.up("--detach", "--profile", "extra")
    before, keys = found.containers(), found.keys

    found.up("--detach")

    url = f"http://127.0.0.1:{found.dmrc.port}"
    assert ask(url, keys["extra"])[0] == 200
    found.up("--detach", "--profile", "extra")
    assert found.containers() == before
    found.down("--profile", "extra")


def test_the_name_of_the_model_comes_from_an_env_file(project: MakeProject) -> None:
    found = project("variables")
    found.write({"services": {"app": service(_ONCE, models=["llm"])}, "models": {"llm": {"model": "${MODEL}"}}})
    (found.directory / "models.env").write_text(f"MODEL={TINY}\n")

    found.up("--detach", "--env-file", "models.env")

    _assert_answered(found, "app")
    (exchange,) = found.exchanges()
    assert exchange["model_requested"] == TINY


def test_a_key_with_a_dash_becomes_variables_with_an_underscore(project: MakeProject) -> None:
    found = project("dash")
    script = question("${TINY_LLAMA_URL}", "$TINY_LLAMA_API_KEY", "$TINY_LLAMA_MODEL")
    app = service(f"{script}; {STAY}", models=["tiny-llama"])
    found.write({"services": {"app": app}, "models": {"tiny-llama": {"model": TINY}}})

    found.up("--detach")

    _assert_answered(found, "app")
    assert found.exchanges()[0]["model_key"] == "tiny-llama"


def test_a_service_keeps_the_variable_that_it_sets_itself(project: MakeProject) -> None:
    found = project("own")
    app = service(_ONCE, models=["llm"], environment={"OPENAI_MODEL": "llm"})
    found.write({"services": {"app": app, "other": service(_ONCE, models=["llm"])}, "models": _LLM})

    up = found.up("--detach")

    assert [line for line in up.stderr.splitlines() if "keeps" in line] == ["app: keeps its own OPENAI_MODEL"]
    _assert_answered(found, "app", "other")
    assert {each["service"]: each["model_requested"] for each in found.exchanges()} == {"app": "llm", "other": TINY}
