"""`dmrc up` here with the model there: containers ask the gateway of this machine, by their own keys."""

from __future__ import annotations

import json
from pathlib import Path

from tests.docker_engine import DockerEngine
from tests.ssh_host import HOST, two_machines
from tests.up.compose_project import STAY, TINY, ComposeProject, question, service


def test_containers_here_are_answered_by_the_model_there(
    docker_engine: DockerEngine, busybox: str, tiny: Path, tmp_path: Path, needs_engine: None, needs_ssh: None
) -> None:
    with two_machines() as box:
        box.there.ok("package", "--gguf", tiny, TINY)
        box.here.environment |= docker_engine.environment
        shop = ComposeProject(box.here, docker_engine, tmp_path / "hosted", "hosted")
        services = {name: service(f"{question()}; {STAY}", models=["llm"]) for name in ("one", "two")}
        shop.write({"services": services, "models": {"llm": {"model": TINY, "x-dmrc": {"host": HOST}}}})

        up = shop.up("--detach")

        answers = shop.answers("one", "two")
        assert f"on {HOST}" in up.stderr
        assert [(one["status"], one["node"]) for one in answers.values()] == [(200, "box")] * 2
        assert json.loads(box.here.ok("list", "--json")) == []
        assert json.loads(box.there.ok("requests", "--json")) == []
        shop.down()
