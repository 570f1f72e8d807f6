"""The example of a replay: the tests of both services pass by what is committed, and fail where a prompt changes."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.cache import cache_directory
from tests.dmrc_command import Dmrc
from tests.pages import ROOT, blocks, page

_REPLAY = ROOT / "examples" / "replay"
_WORKFLOW = yaml.safe_load((_REPLAY / ".github" / "workflows" / "test.yaml").read_text())
_STEPS = [step["run"] for step in _WORKFLOW["jobs"]["test"]["steps"] if "run" in step]
_INSTALLS = ("pip install", "npm ci")
_NO_COPY = shutil.ignore_patterns("node_modules", "__pycache__", ".pytest_cache")


class _Example:
    """A copy of the example, for a user who has no model."""

    def __init__(self, directory: Path, user: Dmrc) -> None:
        shutil.copytree(_REPLAY, directory, ignore=_NO_COPY)
        self.directory = directory
        self._environment = {**user.environment, "PATH": f"{user.program.parent}:{user.environment['PATH']}"}

    def change(self, name: str, old: str, new: str) -> None:
        path = self.directory / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def run(self, step: str) -> tuple[int, str]:
        """Run a step of the workflow as CI does, and return its exit code and what it printed."""
        done = subprocess.run(
            ["bash", "-e", "-c", step],
            cwd=self.directory,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=180,
        )
        return done.returncode, done.stdout


@pytest.fixture
def example(dmrc: Dmrc, tmp_path: Path) -> Iterator[_Example]:
    found = _Example(tmp_path / "replay", dmrc)
    yield found
    assert not (dmrc.home / "store" / "blobs").exists(), "nothing is pulled"


def _steps(word: str) -> list[str]:
    """Return the steps of the workflow with a word, as they stand there."""
    found = [step for step in _STEPS if word in step and not step.startswith(_INSTALLS)]
    assert found
    return found


def test_the_readme_says_what_the_workflow_does() -> None:
    written = {re.sub(r"\s+#.*", "", line) for line in blocks(page("examples/replay/README.md"), "sh")[0].splitlines()}

    assert written - {""} == {step.removesuffix(" --dmrc-strict") for step in _STEPS}


def test_the_page_about_replays_shows_the_steps_of_the_workflow() -> None:
    shown = yaml.safe_load(blocks(page("docs/replay.md"), "yaml")[1])

    assert [step["run"] for step in shown["steps"]] == [step for step in _STEPS if not step.startswith("npm ci")]


def test_what_is_committed_names_no_machine() -> None:
    for path in _REPLAY.rglob("*.jsonl"):
        assert not re.search(r"/home/|/tmp/|/work|localhost|127\.0\.0\.1|sk-", path.read_text()), path


@pytest.mark.process
def test_the_kitchen_is_tested_by_pytest_alone(example: _Example) -> None:
    for step in (*_steps("cassette check"), *_steps("pytest")):
        code, said = example.run(step)
        assert code == 0, said
    assert "4 passed" in said

    example.change("kitchen/kitchen.py", "Name one dish", "Name a dish")
    code, said = example.run("pytest")

    assert code == 1, said
    assert "4 failed" in said
    assert re.search(r"recorded: .*Name one dish", said)
    assert re.search(r"asked: .*Name a dish", said)


@pytest.mark.process
@pytest.mark.node
def test_the_waiter_is_tested_by_nodes_own_runner(example: _Example) -> None:
    cache = f"--cache={cache_directory() / 'npm'}"
    npm = ["npm", "ci", "--silent", "--prefer-offline", cache]
    subprocess.run(npm, cwd=example.directory / "waiter", check=True)

    (step,) = _steps("npm test")
    code, said = example.run(step)
    assert code == 0, said
    assert "# pass 2" in said

    example.change("waiter/waiter.js", "Recommend one dish", "Recommend a dish")
    code, said = example.run(step)

    assert code != 0
    assert re.search(r"recorded: .*Recommend one dish", said)
    assert re.search(r"asked: .*Recommend a dish", said)
