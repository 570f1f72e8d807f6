"""What Docker's completion is told: it asks its plugins by `__complete`, as cobra's programs ask themselves."""

from __future__ import annotations

import pytest

from dmrc.store import Store
from tests.dmrc_command import Dmrc
from tests.store.test_store import add


@pytest.fixture
def filled(docker_model: Dmrc) -> Dmrc:
    store = Store(docker_model.home / "store")
    for number, name in enumerate(["me/tiny:q4", "smollm2"]):
        add(store, name, gguf=str(number).encode())
    return docker_model


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["run", "ai/"], "ai/smollm2\n:4\n"),
        (["run", "me/tiny:"], "me/tiny:q4\n:4\n"),
        (["rm", "smollm2", "me"], "me/tiny:q4\n:4\n"),
        (["configure", "--context-size", "64", "sm"], "smollm2\n:4\n"),
        (["configure", "show", "sm"], "smollm2\n:4\n"),
        (["requests", "--model", "sm"], "smollm2\n:4\n"),
        (["pull", "sm"], "smollm2\n:4\n"),
        (["package", "--gguf", ""], ":0\n"),
        (["ls", "--json=maybe", ""], ":1\n"),
    ],
    ids=" ".join,
)
def test_docker_is_offered_models_and_nothing_is_started(filled: Dmrc, words: list[str], answer: str) -> None:
    assert filled.ok("-D", "__complete", "model", *words) == answer
    assert filled.processes() == []


def test_commands_are_described_where_that_is_wanted(docker_model: Dmrc) -> None:
    assert docker_model.ok("__complete", "model", "uninst").startswith("uninstall-runner\tStop the daemon.")
    assert docker_model.ok("__completeNoDesc", "model", "uninst") == "uninstall-runner\n:4\n"


def test_a_setting_that_is_wrong_is_no_traceback(docker_model: Dmrc) -> None:
    done = docker_model.run("__complete", "model", "ls", env={"DMRC_PORT": "x"})

    assert (done.returncode, done.stdout, done.stderr) == (0, ":1\n", "")
