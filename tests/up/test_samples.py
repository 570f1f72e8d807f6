"""Applications in the shape of Docker's samples for agents: the model of their file answers them, and nobody else.

Plain `docker compose up` of the same files is in `tests/docker_model/test_compose.py`.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.up.answered import OWN_NAMES, SAMPLES, assert_all_were_answered
from tests.up.conftest import MakeProject

_OPENAI = {"OPENAI_BASE_URL", "OPENAI_API_KEY", "OPENAI_MODEL"}


def test_each_asks_the_model_of_its_file_and_nobody_else_gets_our_key(own_project: MakeProject, tmp_path: Path) -> None:
    project = own_project("samples")
    shutil.copytree(SAMPLES, project.directory)
    shared, own = Path(project.dmrc.environment["DOCKER_CONFIG"]), tmp_path / "docker"
    shutil.copytree(shared, own, symlinks=True)
    (own / "config.json").write_text(json.dumps({"proxies": {"default": {"noProxy": "localhost,.corp"}}}))
    project.dmrc.environment["DOCKER_CONFIG"] = str(own)

    up = project.up("--detach")

    given = assert_all_were_answered(project)
    for name in OWN_NAMES:
        assert "OPENAI_API_KEY" not in given[name]
        assert given[name]["OPENAI_BASE_URL"].startswith("http://model-runner.docker.internal")
    assert given["own-url"].keys() & _OPENAI == {"OPENAI_BASE_URL"}
    assert given["simple"].keys() >= _OPENAI
    past = f"localhost,.corp,model-runner.docker.internal,{project.engine.bridge.ip}"
    assert {(each["NO_PROXY"], each["no_proxy"]) for each in given.values()} == {(past, past)}
    assert "own-url: is not given OPENAI_API_KEY, OPENAI_MODEL: OPENAI_BASE_URL of the project is" in up.stderr
