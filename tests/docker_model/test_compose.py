"""An unmodified `docker compose up` of a project with `models:`, with dmrc as its `docker-model`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dmrc.docker_model.compose import _names
from tests.dmrc_command import Dmrc
from tests.docker_engine import DockerEngine
from tests.polling import eventually
from tests.registry import RegistryServer
from tests.up.answered import SAMPLES, assert_all_were_answered
from tests.up.compose_project import STAY, TINY, ComposeProject, question, runners, service
from tests.up.conftest import own_dmrc, tiny  # noqa: F401 fixtures

_LONG = {"llm": {"endpoint_var": "AI_URL", "model_var": "AI_MODEL"}}
_SHORT_QUESTION = question("${LLM_URL}", "none", "$LLM_MODEL")
_LONG_QUESTION = question("${AI_URL}", "none", "$AI_MODEL")


def test_a_tag_is_listed_under_every_name_that_a_compose_file_may_use() -> None:
    assert set(_names(("docker.io/ai/smollm2:latest",))) == {
        *("docker.io/ai/smollm2:latest", "docker.io/ai/smollm2", "ai/smollm2:latest", "ai/smollm2"),
        *("smollm2:latest", "smollm2"),
    }
    assert set(_names(("docker.io/org/x:q4",))) == {"docker.io/org/x:q4", "org/x:q4"}
    assert set(_names(("registry.example.com:5000/x:q4",))) == {"registry.example.com:5000/x:q4"}


class Plain(ComposeProject):
    """A project that is started by Compose alone."""

    def compose(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the user's own Compose."""
        return subprocess.run(
            ["docker", "compose", *arguments],
            cwd=self.directory,
            env={"PATH": os.environ["PATH"], **self.dmrc.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=180,
        )

    def write_both_syntaxes(self, model: str = TINY, **more: object) -> None:
        """Write a project with a service in each syntax, both of which ask once."""
        services = {
            "short": service(f"{_SHORT_QUESTION}; {STAY}", models=["llm"]),
            "long": service(f"{_LONG_QUESTION}; {STAY}", models=_LONG),
        }
        self.write({"services": services, "models": {"llm": {"model": model, "context_size": 256, **more}}})


@pytest.fixture
def plain(own_dmrc: Dmrc, docker_engine: DockerEngine, tmp_path: Path) -> Iterator[Plain]:  # noqa: F811
    """A project without dmrc's commands, and dmrc as the plugin of a Docker configuration of its own."""
    config = tmp_path / "docker"
    (config / "cli-plugins").mkdir(parents=True)
    shared = Path(docker_engine.environment["DOCKER_CONFIG"]) / "cli-plugins" / "docker-compose"
    (config / "cli-plugins" / "docker-compose").symlink_to(shared)
    own_dmrc.environment["DOCKER_CONFIG"] = str(config)
    own_dmrc.ok("plugin", "install")
    (tmp_path / "plain").mkdir()
    project = Plain(own_dmrc, docker_engine, tmp_path / "plain", "plain")
    yield project
    project.compose("down")


def _exchanges(project: Plain, count: int) -> list[dict[str, object]]:
    return eventually(lambda: len(found := project.exchanges()) == count and found, f"{count} questions")


def test_both_syntaxes_of_models_are_served(plain: Plain) -> None:
    plain.write_both_syntaxes(runtime_flags=["--temp", "0.2"])

    up = plain.compose("up", "--detach")

    assert up.returncode == 0, up.stdout
    found = sorted(_exchanges(plain, 2), key=lambda each: str(each["service"]))
    # The key in the URL is the project's; the service is told by the container's address.
    assert [(each["project"], each["service"], each["status"]) for each in found] == [
        ("plain", name, 200) for name in ("long", "short")
    ]
    assert '"Hi"' in plain.dmrc.ok("requests", "show", str(found[0]["id"]), "--raw")
    assert list(runners(plain.dmrc).values()) == [256]

    plain.compose("down")

    eventually(lambda: json.loads(plain.dmrc.ok("status", "--json"))["projects"] == [], "end of the project")
    assert json.loads(plain.dmrc.ok("configure", "show", "--json")) == []


def test_a_context_that_is_cut_is_said(plain: Plain) -> None:
    plain.write_both_syntaxes(context_size=5000)

    up = plain.compose("up", "--detach")

    assert up.returncode == 0, up.stdout
    assert f"{TINY}: context_size 5000 is cut to 2048, what {TINY} was trained for" in up.stdout


def test_c1_a_container_of_compose_run_is_served(plain: Plain) -> None:
    """Compose's own TestComposeModel: the container itself reaches the URL."""
    plain.write({"services": {"test": service("true", models=["llm"])}, "models": {"llm": {"model": TINY}}})

    ran = plain.compose("run", "--rm", "test", _SHORT_QUESTION)

    assert ran.returncode == 0, ran.stdout
    assert '"chat.completion"' in ran.stdout


def test_the_key_is_in_no_record_and_opens_no_other_model(plain: Plain, tiny: Path) -> None:  # noqa: F811
    plain.dmrc.ok("package", "--gguf", tiny, "local/other")
    other = question("${LLM_URL}", "none", "local/other")
    plain.write({"services": {"app": service(f"{other}; {STAY}", models=["llm"])}, "models": {"llm": {"model": TINY}}})

    assert plain.compose("up", "--detach").returncode == 0

    (exchange,) = _exchanges(plain, 1)
    assert (exchange["status"], exchange["path"]) == (403, "/engines/v1/chat/completions")
    assert "sk-dmrc-" not in json.dumps(exchange)


def test_a_second_up_pulls_nothing_and_works_without_the_registry(
    plain: Plain,
    registry: RegistryServer,
    tiny: Path,  # noqa: F811
) -> None:
    registry.push_model("ai/pulled", tiny)
    plain.write_both_syntaxes(f"{registry.address}/ai/pulled")
    assert plain.compose("up", "--detach").returncode == 0
    containers = plain.containers()
    registry.stop()

    again = plain.compose("up", "--detach")

    assert again.returncode == 0, again.stdout
    assert plain.containers() == containers
    assert "Pulling" not in again.stdout


@pytest.mark.parametrize(
    ("declared", "reason"),
    [
        ({"model": "127.0.0.1:1/ai/none"}, "127.0.0.1:1"),
        ({"runtime_flags": ["--no-such-flag"]}, "--no-such-flag"),
    ],
)
def test_a_failure_shows_its_reason_in_composes_output(plain: Plain, declared: dict[str, object], reason: str) -> None:
    """Compose says no more than `exit status 4` of a plugin that fails."""
    plain.write({"services": {"app": service("true", models=["llm"])}, "models": {"llm": {"model": TINY, **declared}}})

    up = plain.compose("up", "--detach")

    assert up.returncode != 0
    assert reason in up.stdout
    assert plain.containers() == {}


@pytest.mark.parametrize("redirect", ["> log 2>&1", "2> log"])
def test_a_failure_shows_its_reason_in_a_file(plain: Plain, redirect: str) -> None:
    """#16, A13: Compose wrote over it, for the file had been opened a second time."""
    models = {"llm": {"model": "127.0.0.1:1/ai/none"}}
    plain.write({"services": {"app": service("true", models=["llm"])}, "models": models})
    environment = {"PATH": os.environ["PATH"], **plain.dmrc.environment}

    command = f"docker compose up --detach {redirect}"
    ran = subprocess.run(command, shell=True, cwd=plain.directory, env=environment, timeout=120)

    log = (plain.directory / "log").read_text()
    assert ran.returncode != 0
    assert "dmrc: model '127.0.0.1:1/ai/none' cannot be pulled: " in log
    assert log.endswith("\n")


def test_what_compose_reads_is_json_with_nothing_beside_it(plain: Plain) -> None:
    """Compose reads stderr too, and several compose files or a variable that is not set are told there."""
    plain.write({"services": {"app": service("true${NOT_SET}", models=["llm"])}, "models": {"llm": {"model": TINY}}})
    (plain.directory / "docker-compose.yml").write_text("services: {}")
    environment = {**plain.dmrc.environment, "COMPOSE_PROJECT_NAME": "plain", "PATH": os.environ["PATH"]}
    program = Path(plain.dmrc.environment["DOCKER_CONFIG"]) / "cli-plugins" / "docker-model"
    for arguments in (["docker-cli-plugin-metadata"], ["ls", "--json"], ["status", "--json"]):
        ran = subprocess.run(
            [program, *arguments],
            cwd=plain.directory,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )

        assert ran.returncode == 0, ran.stdout
        json.loads(ran.stdout)


def test_docker_model_is_dmrc(plain: Plain) -> None:
    environment = {**plain.dmrc.environment, "PATH": os.environ["PATH"]}
    ran = subprocess.run(["docker", "model", "list"], env=environment, capture_output=True, text=True, timeout=60)

    assert ran.returncode == 0, ran.stderr
    assert "local/tiny" in ran.stdout


def test_a_person_who_configures_gets_dmrcs_own_command(docker_model: Dmrc) -> None:
    assert docker_model.ok("model", "configure", "show", "ai/none") == "[]\n"
    assert docker_model.run("model", "status").stdout.startswith("Docker Model Runner is not running\n")
    assert not (docker_model.home / "projects" / "keys.json").exists()


def test_a_provider_of_docker_model_runner_is_served_as_there(plain: Plain) -> None:
    """#16, A3: its URL needed a key, of which such a file knows nothing."""
    provider = {"type": "model", "options": {"model": TINY, "context-size": -1}}
    script = f"{question('${LLM_URL}', 'sk-docker-model-runner', '$LLM_MODEL')}; /busybox env; {STAY}"
    plain.write({"services": {"app": service(script, depends_on=["llm"]), "llm": {"provider": provider}}})

    up = plain.compose("up", "--detach")

    assert up.returncode == 0, up.stdout
    (exchange,) = _exchanges(plain, 1)
    assert (exchange["status"], exchange["service"]) == (200, "llm")
    assert "OPENAI_API_KEY" not in plain.compose("logs", "app").stdout


def test_applications_in_the_shape_of_dockers_samples_are_answered(plain: Plain) -> None:
    """#16, A1: `dmrc up` of the same files is in `tests/up/test_samples.py`."""
    shutil.copytree(SAMPLES, plain.directory / "samples")
    project = Plain(plain.dmrc, plain.engine, plain.directory / "samples", "samples")
    try:
        up = project.compose("up", "--detach")

        assert up.returncode == 0, up.stdout
        given = assert_all_were_answered(project)
        assert all("OPENAI_API_KEY" not in variables for variables in given.values())
    finally:
        project.compose("down")


def test_services_without_models_are_known_by_their_addresses(plain: Plain) -> None:
    """#16, A4: the plugin hears of a project that has a service with models, and cannot give a container names."""
    asks = question("http://model-runner.docker.internal/engines/llama.cpp/v1/", "not-needed", TINY)
    services = {
        "app": service(STAY, models=["llm"]),
        "fixed": service(f"{asks}; {STAY}", extra_hosts=["model-runner.docker.internal:host-gateway"]),
    }
    plain.write({"services": services, "models": {"llm": {"model": TINY}}, "x-dmrc": {"auth": "address"}})

    up = plain.compose("up", "--detach")

    assert up.returncode == 0, up.stdout
    (exchange,) = _exchanges(plain, 1)
    assert (exchange["service"], exchange["status"], exchange["key_id"]) == ("fixed", 200, None)


def test_what_plain_compose_cannot_do_is_said(plain: Plain) -> None:
    """#16, A2 and A9: variables cannot be set, and all entries get one URL. With dmrc up both work."""
    config = Path(plain.dmrc.environment["DOCKER_CONFIG"]) / "config.json"
    config.write_text(json.dumps({"proxies": {"default": {"httpProxy": "http://127.0.0.1:9"}}}))
    models = {"small": {"model": TINY, "context_size": 256}, "big": {"model": TINY, "context_size": 512}}
    plain.write({"services": {"app": service(STAY, models=["small", "big"])}, "models": models})

    up = plain.compose("up", "--detach")

    assert up.returncode == 0, up.stdout
    assert "Add 1" in up.stdout.split("through a proxy")[1]
    assert f"'{TINY}' is declared with different settings" in up.stdout
