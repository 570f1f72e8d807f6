"""Applications in the shape of Docker's samples for agents: the model of their file answers them, and nobody else.

Plain `docker compose up` of the same files is in `tests/docker_model/test_compose.py`.
"""

from __future__ import annotations

import shutil

import pytest

from tests.up.answered import OWN_NAMES, SAMPLES, assert_all_were_answered
from tests.up.conftest import MakeProject

pytestmark = [pytest.mark.docker, pytest.mark.engine]

_OPENAI = {"OPENAI_BASE_URL", "OPENAI_API_KEY", "OPENAI_MODEL"}


def test_each_asks_the_model_of_its_file_and_nobody_else_gets_our_key(own_project: MakeProject) -> None:
    project = own_project("samples")
    shutil.copytree(SAMPLES, project.directory)

    up = project.up("--detach")

    given = assert_all_were_answered(project)
    for name in OWN_NAMES:
        assert "OPENAI_API_KEY" not in given[name]
        assert given[name]["OPENAI_BASE_URL"].startswith("http://model-runner.docker.internal")
    assert given["own-url"].keys() & _OPENAI == {"OPENAI_BASE_URL"}
    assert given["simple"].keys() >= _OPENAI
    assert all(variables["no_proxy"].startswith("model-runner.docker.internal,") for variables in given.values())
    assert "own-url: is not given OPENAI_API_KEY, OPENAI_MODEL: OPENAI_BASE_URL of the project is" in up.stderr
