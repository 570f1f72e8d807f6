"""The plugin of pytest, in real runs of pytest: it records with a real engine, and replays where there is nothing."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pytest

from dmrc.pytest_plugin.wishes import cassette_name
from tests.dmrc_command import Dmrc, temporary_dmrc
from tests.scripted_gguf import PROMPT_END, write_scripted_llama

_MODEL = "local/says"
_SAID = ["Good", " day", ", sir", "."]
_TEMPLATE = "{% for message in messages %}{{ message.content }}{% endfor %}" + PROMPT_END

_COMPOSE = f"""
services:
  api:
    image: busybox
    models: [llm]
    environment: {{GREETING: Hello}}
  db:
    image: busybox
models:
  llm: {{model: {_MODEL}}}
"""

_APP = """
import json, os, urllib.request

def ask(text):
    url, key = os.environ["OPENAI_BASE_URL"], os.environ["OPENAI_API_KEY"]
    body = {"model": os.environ["OPENAI_MODEL"], "messages": [{"role": "user", "content": text}]}
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}/chat/completions", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)["choices"][0]["message"]["content"]

def try_to_ask(text):
    try:
        return ask(text)
    except OSError:
        return "Nobody answers"
"""

_TESTS = """
import os, random
import pytest
from app import ask, try_to_ask

def test_a_greeting(dmrc_replay):
    assert ask(os.environ["GREETING"]) == "Good day, sir."
    assert dmrc_replay.environment["OPENAI_BASE_URL"] == dmrc_replay.base_url
    assert dmrc_replay.environment["OPENAI_MODEL"] == dmrc_replay.model

@pytest.mark.parametrize("number", range(6))
def test_a_number(dmrc_replay, number):
    assert ask(f"Say {number}") == "Good day, sir."

def test_two_questions(dmrc_replay):
    assert try_to_ask("One?") and try_to_ask("Two?")
"""


class _Project:
    """A compose project with tests, and pytest in it."""

    def __init__(self, directory: Path, user: Dmrc) -> None:
        """Run for a user whose dmrc is `user`."""
        self.directory = directory
        self.user = user

    def add(self, name: str, cassette: str | None, tests: str) -> None:
        """Write a file of tests, with the cassette of a recorded test for one of the same name."""
        path = self.directory / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"import pytest\nfrom app import ask, try_to_ask\n\n{tests}")
        if cassette:
            cassettes = self.directory / "cassettes"
            shutil.copytree(cassettes / "test_app" / cassette, cassettes / name / cassette)

    def results(self) -> dict[str, str]:
        """Return of each test what is said of its failures, by its name in `results.xml`; nothing where it passed."""
        found: dict[str, str] = {}
        for case in ElementTree.parse(self.directory / "results.xml").iter("testcase"):
            name = f"{case.get('classname')}.{case.get('name')}"
            texts = [f"{one.tag}: {one.get('message')}\n{one.text}" for one in case if one.tag in ("failure", "error")]
            found[name] = found.get(name, "") + "\n".join(texts)
        return found

    def pytest(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:randomly", *arguments],
            cwd=self.directory,
            env={**self.user.environment, "PYTHONPATH": str(self.directory)},
            capture_output=True,
            text=True,
            timeout=120,
        )

    def passes(self, *arguments: str) -> str:
        done = self.pytest(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def fails(self, *arguments: str) -> str:
        done = self.pytest(*arguments)
        assert done.returncode == 1, done.stdout + done.stderr
        return done.stdout

    def cassettes(self) -> dict[str, bytes]:
        directory = self.directory / "cassettes"
        return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*.jsonl")}


@dataclass(frozen=True)
class _Recorded:
    directory: Path
    """A project whose tests were recorded with a model; the model is gone."""
    first: dict[str, bytes]
    """Its cassettes as they were recorded first, when a test asked one question more."""
    again: dict[str, bytes]
    """As they are, recorded twice."""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory, needs_engine: None) -> Iterator[_Recorded]:
    directory = tmp_path_factory.mktemp("shop")
    (directory / "compose.yaml").write_text(_COMPOSE)
    (directory / "app.py").write_text(_APP)
    (directory / "test_app.py").write_text(
        _TESTS.replace("    assert try_to_ask", "    ask('Zero?')\n    assert try_to_ask")
    )
    (directory / "pytest.ini").write_text("[pytest]\n")
    with temporary_dmrc() as user:
        model = write_scripted_llama(directory / "says.gguf", _SAID, _TEMPLATE)
        user.ok("package", "--gguf", model, _MODEL)
        project = _Project(directory, user)
        project.passes("--dmrc-record")
        first = project.cassettes()
        (directory / "test_app.py").write_text(_TESTS)
        project.passes("--dmrc-record")
        assert user.registered() == []
        assert user.processes() == [], "the daemon that was started for the tests ends with them"
        model.unlink()
    shutil.rmtree(directory / ".pytest_cache", ignore_errors=True)
    yield _Recorded(directory, first, project.cassettes())


@pytest.fixture
def project(recorded: _Recorded, tmp_path: Path) -> Iterator[_Project]:
    """A copy of it for one test, on a machine without a model and without a daemon, where neither comes to be."""
    directory = tmp_path / "shop"
    shutil.copytree(recorded.directory, directory)
    user = Dmrc(tmp_path / "home")
    yield _Project(directory, user)
    assert not user.home.exists(), "a replay touches nothing of the user's dmrc"
    replaying = Dmrc(directory / ".pytest_cache" / "d" / "dmrc" / "home")
    left = replaying.processes()
    for process in left:
        process.kill()
    assert not left, "the daemon ends with the tests"


@pytest.mark.engine
def test_tests_pass_from_their_cassettes_without_a_model(project: _Project) -> None:
    before = project.cassettes()

    said = project.passes("--dmrc-strict")

    assert "8 passed" in said
    assert "warning" not in said
    assert project.cassettes() == before
    assert sorted(before) == [
        "test_app/test_a_greeting/api.jsonl",
        *(f"test_app/test_a_number-{number}/api.jsonl" for number in range(6)),
        "test_app/test_two_questions/api.jsonl",
    ]
    assert str(project.directory).encode() not in b"".join(before.values())
    assert not (project.directory / ".pytest_cache/d/dmrc/home").exists()


@pytest.mark.engine
def test_a_recording_drops_what_is_not_asked_any_more_and_keeps_the_other_lines(recorded: _Recorded) -> None:
    changed = "test_app/test_two_questions/api.jsonl"

    header, zero, *rest = recorded.first[changed].splitlines()

    assert b"Zero?" in zero
    assert recorded.again == {**recorded.first, changed: b"\n".join([header, *rest, b""])}


@pytest.mark.engine
def test_the_daemon_of_a_pytest_that_was_killed_ends_with_the_next_one(project: _Project) -> None:
    killing = "import os, signal\ndef test_a_greeting(dmrc_replay):\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    project.add("test_killed", "test_a_greeting", killing)

    killed = project.pytest("test_killed.py")

    assert killed.returncode == -signal.SIGKILL
    assert "1 passed" in project.passes("-k", "greeting", "--deselect", "test_killed.py")


@pytest.mark.engine
def test_processes_of_xdist_share_a_daemon_in_any_order(project: _Project) -> None:
    project.add("test_unused", "test_two_questions", "def test_two_questions(dmrc_replay):\n    ask('One?')\n")
    (project.directory / "conftest.py").write_text(
        "import random\ndef pytest_collection_modifyitems(items):\n    random.Random(7).shuffle(items)\n"
    )

    said = project.fails("-n", "2", "--dmrc-strict")

    assert "9 passed, 1 error" in said
    assert "cassettes/test_unused/test_two_questions/api.jsonl: 1 of 2 interactions were not asked" in said


_VARIANTS = {
    "test_changed": ("test_a_greeting", "def test_a_greeting(dmrc_replay):\n    ask('Hello, dear')\n"),
    "test_swallowed": (
        "test_two_questions",
        "def test_two_questions(dmrc_replay):\n    try_to_ask('One?')\n    try_to_ask('Three?')\n",
    ),
    "test_late": (
        "test_two_questions",
        "@pytest.fixture\ndef late(dmrc_replay):\n    yield\n    try_to_ask('Late?')\n\n"
        "def test_two_questions(late):\n    ask('One?')\n    ask('Two?')\n",
    ),
    "test_unused": ("test_two_questions", "def test_two_questions(dmrc_replay):\n    ask('One?')\n"),
    "test_new": (None, "def test_new(dmrc_replay):\n    ask('Two?')\n"),
    "tests/test_other": (
        None,
        "@pytest.mark.dmrc(service='api', file='../compose.yaml', speed=1,\n"
        "    cassette='../cassettes/test_app/test_two_questions')\n"
        "def test_one(dmrc_replay):\n    assert ask('Two?') == 'Good day, sir.'\n",
    ),
}
"""Tests that differ from what was recorded: by the name of their file, the recorded test whose cassette they have."""

_REFUSED = {
    'service="web"': "project 'shop' has no service 'web'",
    'service="db"': "service 'db' uses no model",
    'file="other.yaml"': "compose file 'other.yaml'",
    '"api"': "takes service, file, cassette, speed, each by its name",
    'server="api"': "takes service, file, cassette, speed, each by its name",
    "speed=-1": "speed of @pytest.mark.dmrc must be a number, 0 or more",
}
"""Markers that cannot be meant, and what is said of each."""


@pytest.mark.engine
def test_what_differs_from_its_cassette_is_told_of_each_test(project: _Project) -> None:
    """One run for all, for each starts a daemon."""
    for name, (cassette, tests) in _VARIANTS.items():
        project.add(name, cassette, tests)
    refused = "".join(
        f"@pytest.mark.dmrc({marker})\ndef test_{number}(dmrc_replay): pass\n" for number, marker in enumerate(_REFUSED)
    )
    project.add("test_refused", None, refused)

    said = project.fails("--deselect", "test_app.py", "--junitxml", "results.xml")
    told = project.results()

    changed, swallowed = told["test_changed.test_a_greeting"], told["test_swallowed.test_two_questions"]
    assert re.search(r"recorded: .*Hello", changed)
    assert re.search(r"asked: .*Hello, dear", changed)
    assert "pytest --dmrc-record 'test_changed.py::test_a_greeting'" in changed
    assert re.search(r"recorded: .*(One|Two)\?", swallowed)
    assert re.search(r"asked: .*Three\?", swallowed)
    assert re.search(r"error.*Late\?", told["test_late.test_two_questions"], re.DOTALL)
    assert told["test_unused.test_two_questions"] == ""
    unused = "cassettes/test_unused/test_two_questions/api.jsonl: 1 of 2 interactions were not asked"
    assert f"UnusedRecordingWarning: {unused}" in said
    assert "no cassette cassettes/test_new/test_new/api.jsonl" in told["test_new.test_new"]
    assert "During handling of the above exception" not in said
    assert "Record it with the real model: pytest --dmrc-record 'test_new.py::test_new'" in told["test_new.test_new"]
    assert told["tests.test_other.test_one"] == ""
    assert said.count("Warning: ") == 1, "a cassette that a marker names may be others' too"
    for number, message in enumerate(_REFUSED.values()):
        assert message in told[f"test_refused.test_{number}"]


@pytest.mark.process
def test_options_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    done = _Project(tmp_path, Dmrc(tmp_path / "home")).pytest("--dmrc-record", "--dmrc-replay-or-record")

    assert done.returncode == 4
    assert "choose one" in done.stderr


@pytest.mark.process
def test_nothing_of_dmrc_is_imported_for_tests_that_do_not_use_it(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import sys\ndef test_it():\n"
        "    assert {name for name in sys.modules if name.startswith('dmrc.')}"
        " <= {'dmrc.pytest_plugin', 'dmrc.pytest_plugin.given'}\n"
    )
    project = _Project(tmp_path, Dmrc(tmp_path / "home"))

    project.passes()
    project.passes("-p", "no:dmrc")
    assert not (tmp_path / ".pytest_cache" / "d").exists()


@pytest.mark.parametrize(
    ("node_id", "name"),
    [
        ("t.py::test_order", "test_order"),
        ("t.py::TestOrders::test_order", "TestOrders.test_order"),
        ("t.py::test_order[large]", "test_order-large"),
        ("t.py::test_order[a/b]", "test_order-a-b-"),
        ("t.py::test_order[a b]", "test_order-a-b-"),
        (f"t.py::test_order[{'x' * 300}]", f"test_order-{'x' * 89}-"),
    ],
)
def test_the_name_of_a_cassette_is_readable_and_one_tests_own(node_id: str, name: str) -> None:
    class Item:
        nodeid = node_id

    found = cassette_name(Item())  # type: ignore[arg-type]

    assert found == name or re.fullmatch(re.escape(name) + "[0-9a-f]{6}", found)
