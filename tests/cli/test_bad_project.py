"""Docker, Compose and the project's files, when they are not as they should be: refused before anything starts."""

import hashlib
import json
import socket
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.refusals import (
    assert_left_nothing,
    assert_refused,
    interrupt,
    without_root_rights,
    write_program,
    write_project,
)
from tests.dmrc_command import Dmrc
from tests.groups import compose_binary
from tests.sources.misbehaving import Misbehaving, respond, stall
from tests.sources.misbehaving import serve as registry_answers

_DOCKER_WITHOUT_COMPOSE = 'echo "docker: unknown command: docker compose" >&2; exit 1'
_OLD_COMPOSE = """case "$*" in
  *"version --short") echo 2.30.0 ;;
  *) echo "validating compose.yaml: (root) Additional property models is not allowed" >&2; exit 15 ;;
esac"""


@pytest.fixture
def compose(dmrc: Dmrc, tmp_path: Path, needs_compose: None) -> Dmrc:
    """A dmrc with the real Compose, and with no Docker engine."""
    programs = tmp_path / "compose-bin"
    programs.mkdir()
    (programs / "docker-compose").symlink_to(compose_binary() or "")
    dmrc.environment["PATH"] = str(programs)
    return dmrc


def test_no_docker_on_path(dmrc: Dmrc, tmp_path: Path) -> None:
    done = dmrc.run("up", cwd=write_project(tmp_path / "shop"), env={"PATH": str(tmp_path)})

    assert_refused(done, 6, "no docker on PATH", "Install Docker", "dmrc exec SERVICE -- COMMAND")
    assert_left_nothing(dmrc)


def test_no_engine_behind_docker(compose: Dmrc, tmp_path: Path) -> None:
    done = compose.run("up", cwd=write_project(tmp_path / "shop"))

    assert_refused(done, 6, f"no Docker engine answers at unix://{compose.home}/no-docker.sock", "Start Docker")
    assert_left_nothing(compose)


def test_a_docker_that_refuses_us(compose: Dmrc, tmp_path: Path) -> None:
    without_root_rights(compose, tmp_path / "bin")
    path = compose.home / "no-docker.sock"
    with closing(socket.socket(socket.AF_UNIX)) as engine:
        engine.bind(str(path))
        engine.listen()
        path.chmod(0)

        done = compose.run("up", cwd=write_project(tmp_path / "shop"))

    assert_refused(done, 6, f"Docker at unix://{path} refuses this user: permission denied", "group docker")
    assert_left_nothing(compose)


def test_an_engine_that_breaks_off_ends_the_daemon_that_was_started_for_it(compose: Dmrc, tmp_path: Path) -> None:
    with Misbehaving(lambda handler: setattr(handler, "close_connection", True)) as engine:
        host = f"tcp://{engine.address}"
        done = compose.run("up", cwd=write_project(tmp_path / "shop"), env={"DOCKER_HOST": host})

    assert_refused(done, 6, f"no Docker engine answers at {host}")
    assert_left_nothing(compose)


@pytest.mark.parametrize("by_context", [True, False], ids=["context", "DOCKER_HOST"])
def test_a_docker_on_another_machine(compose: Dmrc, tmp_path: Path, by_context: bool) -> None:
    host = "ssh://me@build"
    name = hashlib.sha256(b"build").hexdigest()
    meta = tmp_path / "docker" / "contexts" / "meta" / name / "meta.json"
    meta.parent.mkdir(parents=True)
    meta.write_text(json.dumps({"Name": "build", "Endpoints": {"docker": {"Host": host}}}))
    env = {"DOCKER_CONTEXT": "build", "DOCKER_HOST": ""} if by_context else {"DOCKER_HOST": host}

    done = compose.run(
        "up", cwd=write_project(tmp_path / "shop"), env={**env, "DOCKER_CONFIG": str(tmp_path / "docker")}
    )

    named = "Docker context 'build'" if by_context else "DOCKER_HOST"
    assert_refused(done, 6, f"{named} is on another machine ({host})", "cannot reach", "docker context use default")
    assert_left_nothing(compose)


@pytest.mark.parametrize(
    ("docker", "words"),
    [
        (_DOCKER_WITHOUT_COMPOSE, ("Docker Compose is not installed", "Install Compose 2.38.0 or newer")),
        (_OLD_COMPOSE, ("Compose 2.30.0 does not know 'models:'", "Install 2.38.0 or newer")),
    ],
    ids=["none", "old"],
)
def test_a_compose_that_is_missing_or_too_old(dmrc: Dmrc, tmp_path: Path, docker: str, words: tuple[str, ...]) -> None:
    programs = write_program(tmp_path / "bin", "docker", docker)

    done = dmrc.run("up", cwd=write_project(tmp_path / "shop"), env={"PATH": str(programs)})

    assert_refused(done, 6, *words)
    assert_left_nothing(dmrc)


def test_a_stand_alone_compose_serves_where_docker_has_none(compose: Dmrc, tmp_path: Path) -> None:
    write_program(Path(compose.environment["PATH"]), "docker", _DOCKER_WITHOUT_COMPOSE)

    done = compose.run("up", cwd=write_project(tmp_path / "shop"))

    assert_refused(done, 6, "no Docker engine answers")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["up"], ("no compose file in", "name it with -f FILE")),
        (["up", "-f", "other.yaml"], ("compose file 'other.yaml', named by -f, is not there",)),
        (["exec", "web", "--", "true"], ("no compose file in",)),
    ],
    ids=["none", "named", "exec"],
)
def test_no_compose_file(compose: Dmrc, tmp_path: Path, arguments: list[str], words: tuple[str, ...]) -> None:
    done = compose.run(*arguments, cwd=tmp_path)

    assert_refused(done, 2, *words)
    assert_left_nothing(compose)


_WITHOUT_PLUGINS = {"DMRC_PLUGINS": "none"}
"""Whatever is installed beside dmrc: one of them brings an engine that is unknown here."""

_BAD = {
    "no YAML": ("services: [", ("compose.yaml",)),
    "undefined model": (
        "services: {web: {image: none, models: [lmm]}}\nmodels: {llm: {model: ai/x}}",
        ("web", "undefined model", "lmm"),
    ),
    "unknown key of a model": ("models: {llm: {model: ai/x, contextsize: 9}}", ("models.llm", "contextsize")),
    "unknown key of a service": ("services: {web: {image: none, modles: [llm]}}", ("services.web", "modles")),
    "unknown key of ours": (
        "services: {web: {image: none, models: [llm]}}\nmodels: {llm: {model: ai/x, x-dmrc: {engin: a}}}",
        ("models.llm.x-dmrc", "'engin'", "did you mean 'engine'?"),
    ),
    "context_size: lots": ("models: {llm: {model: ai/x, context_size: lots}}", ("models.llm.context_size", "integer")),
    "unknown flag": (
        "services: {web: {image: none, models: [llm]}}\nmodels: {llm: {model: ai/x, runtime_flags: [--tmp, '0']}}",
        ("models.llm", "runtime flag '--tmp' is unknown", "Did you mean --temp"),
    ),
    "forbidden flag": (
        "services: {web: {image: none, models: [llm]}}\nmodels: {llm: {model: ai/x, runtime_flags: [--host, a]}}",
        ("models.llm", "runtime flag '--host' is not allowed: dmrc sets it", "Remove it"),
    ),
    "flag with a path": (
        "services: {web: {image: none, models: [llm]}}\nmodels: {llm: {model: ai/x, runtime_flags: [--seed=/etc/x]}}",
        ("models.llm", "'--seed' looks like a path"),
    ),
    "no reference": (
        "services: {web: {image: none, models: [llm]}}\nmodels: {llm: {model: AI//x}}",
        ("models.llm", "'AI//x' is not a model reference"),
    ),
    "unknown engine": (
        "services: {web: {image: none, models: [llm]}}\nmodels: {llm: {model: ai/x, x-dmrc: {engine: llama-cpp}}}",
        ("models.llm.x-dmrc.engine is 'llama-cpp'", "did you mean 'llama.cpp'?"),
    ),
    "engine of a plugin": (
        "services: {web: {image: none, models: [llm]}}\nmodels: {llm: {model: ai/x, x-dmrc: {engine: ray}}}",
        ("models.llm.x-dmrc.engine is 'ray', which a plugin brings that is not here", "pip install dmrc-ray"),
    ),
    "no network": (
        "services: {web: {image: none, network_mode: none, models: [llm]}}\nmodels: {llm: {model: ai/x}}",
        ("service 'web'", "network_mode: none"),
    ),
}


@pytest.mark.parametrize(("text", "words"), _BAD.values(), ids=_BAD)
def test_up_refuses_a_bad_project_before_it_asks_docker_or_a_registry(
    compose: Dmrc, tmp_path: Path, text: str, words: tuple[str, ...]
) -> None:
    """There is no Docker here: an error about it would mean that it was asked first."""
    (tmp_path / "compose.yaml").write_text(f"name: shop\n{text}\n")
    with Misbehaving(lambda handler: respond(handler, 404)) as registry:
        done = compose.run("up", cwd=tmp_path, env={"DEFAULT_REGISTRY": registry.address, **_WITHOUT_PLUGINS})

    assert_refused(done, 2, *words)
    assert registry.requests == []
    assert_left_nothing(compose)


@pytest.mark.parametrize(("text", "words"), _BAD.values(), ids=_BAD)
def test_a_bad_project_is_refused_without_compose_too(
    dmrc: Dmrc, tmp_path: Path, text: str, words: tuple[str, ...]
) -> None:
    (tmp_path / "compose.yaml").write_text(f"name: shop\n{text}\n")

    done = dmrc.run("exec", "web", "--", "true", cwd=tmp_path, env={"PATH": str(tmp_path), **_WITHOUT_PLUGINS})

    assert_refused(done, 2, *words)
    assert_left_nothing(dmrc)


@pytest.mark.parametrize("command", [["env", "wbe"], ["exec", "wbe", "--", "true"]], ids=lambda words: words[0])
def test_a_service_that_there_is_not(dmrc: Dmrc, tmp_path: Path, command: list[str]) -> None:
    done = dmrc.run(*command, cwd=write_project(tmp_path / "shop"), env={"PATH": str(tmp_path)})

    assert_refused(done, 3, "'wbe'", "web")
    assert_left_nothing(dmrc)


def test_ctrl_c_while_compose_reads_the_project(dmrc: Dmrc, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    programs = write_program(tmp_path / "bin", "docker", f"touch {begun}; exec sleep 60")
    dmrc.environment["PATH"] = f"{programs}:{dmrc.environment['PATH']}"

    code, stderr = interrupt(dmrc, ["up"], write_project(tmp_path / "shop"), begun.exists)

    assert (code, stderr.strip()) == (130, "dmrc: interrupted")
    assert_left_nothing(dmrc)


def test_ctrl_c_while_a_model_is_pulled(dmrc: Dmrc, tmp_path: Path) -> None:
    with Misbehaving(registry_answers(weights=stall)) as registry:
        project = write_project(tmp_path / "shop", f"{registry.address}/me/slow")
        code, stderr = interrupt(
            dmrc,
            ["exec", "web", "--", "true"],
            project,
            lambda: any("/blobs/" in path for path, _ in registry.requests),
        )

    assert (code, stderr.strip()) == (130, "dmrc: interrupted")
    assert_left_nothing(dmrc)
