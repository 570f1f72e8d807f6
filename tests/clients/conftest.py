"""The programs of this folder, their packages, and a dmrc with two models for them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import filelock
import pytest

from tests.cache import cache_directory
from tests.dmrc_command import Dmrc, temporary_dmrc
from tests.gateway.tools import TEMPLATE
from tests.replay.stage import Pair, Side, Stage
from tests.scripted_gguf import PROMPT_END, RESULT_END, write_scripted_llama

PROGRAMS = Path(__file__).with_name("programs")
CHATS, CALLS = "local/smollm2", "local/calls"
MODELS = {"chats": {"model": CHATS}, "calls": {"model": CALLS}}

_CALL = [
    "<tool_call>",
    '\n{"name": "get_',
    "weather",
    '", "arguments": {',
    '"city": "',
    "Bern",
    '"}}',
    "\n</tool_call>",
]
REPLY = "It is sunny."
_REPLY = ["It", " is", " sunny", "."]
_TEMPLATE = TEMPLATE.replace(
    "<|im_start|>assistant\n",
    "{% if messages[-1].role == 'tool' %}" + RESULT_END + "{% else %}" + PROMPT_END + "{% endif %}",
)

Program = Callable[..., dict[str, Any]]
"""Runs a program and returns what it printed; those of Node and Go run again with what was recorded of them."""


def write_calls(path: Path) -> Path:
    """Write a model that calls a tool, and replies to its result; return its path."""
    return write_scripted_llama(path, _CALL, _TEMPLATE, _REPLY)


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory, smollm2: Path, needs_engine: None) -> Iterator[Dmrc]:
    """`local/smollm2`, whose template knows no tools, and `local/calls`, which calls one and replies to its result."""
    calls = write_calls(tmp_path_factory.mktemp("calls") / "calls.gguf")
    with temporary_dmrc() as dmrc:
        dmrc.ok("package", "--gguf", smollm2, CHATS)
        dmrc.ok("package", "--gguf", calls, CALLS)
        dmrc.ok("run", "--detach", CHATS)
        yield dmrc


@pytest.fixture(scope="session")
def shop(served: Dmrc, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A project with these models for the programs, which is recorded, and replayed by a daemon without any model."""
    with temporary_dmrc() as replaying:
        stage = Pair(served, replaying).stage(tmp_path_factory.mktemp("shop"), "clients")
        stage.recording.begin("record", MODELS)
        yield stage


@pytest.fixture(scope="session")
def python(shop: Stage, needs_clients: None) -> Program:
    """Runs a program with the packages of `requirements.txt`, installed once per user.

    Once only: they take seconds to be imported, and `tests/replay` replays the official clients that most of them use.
    """
    binary = installed_python()
    return lambda name, *arguments: _run(shop.recording, [str(binary), str(PROGRAMS / name), *arguments])


@pytest.fixture(scope="session")
def node(shop: Stage, tmp_path_factory: pytest.TempPathFactory, needs_node: None) -> Program:
    """Runs a program with the packages of `package.json`."""
    directory = tmp_path_factory.mktemp("node")
    for path in PROGRAMS.glob("*.mjs"):
        shutil.copy(path, directory)
    shutil.copy(PROGRAMS / "package.json", directory)
    cache = f"--cache={cache_directory() / 'npm'}"
    npm = ["npm", "install", "--silent", "--prefer-offline", "--no-audit", "--ignore-scripts", cache]
    subprocess.run(npm, cwd=directory, check=True)
    return lambda name, *arguments: _run_twice(shop, ["node", str(directory / name), *arguments])


@pytest.fixture(scope="session")
def go(shop: Stage, needs_go: None) -> Program:
    """Runs `main.go`, compiled once per user."""
    binary = _installed("go-client", PROGRAMS / "main.go", _build_go) / "client"
    return lambda: _run_twice(shop, [str(binary)])


def installed_python() -> Path:
    """Return a Python with the packages of `requirements.txt`."""
    return _installed("clients", PROGRAMS / "requirements.txt", _install_python) / "bin" / "python"


def _installed(name: str, inputs: Path, install: Callable[[Path, Path], None]) -> Path:
    """Return a directory that `install` filled from `inputs`; made anew when they change."""
    stamp = hashlib.sha256(inputs.read_bytes() + sys.version.encode()).hexdigest()[:12]
    path = cache_directory() / f"{name}-{stamp}"
    with filelock.FileLock(cache_directory() / f"{name}.lock"):
        if not (path / "complete").exists():
            shutil.rmtree(path, ignore_errors=True)
            path.mkdir()
            install(path, inputs)
            (path / "complete").touch()
    return path


def _install_python(path: Path, requirements: Path) -> None:
    venv.create(path, with_pip=True)
    pip = [str(path / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--requirement", str(requirements)], check=True)


def _build_go(path: Path, _main: Path) -> None:
    subprocess.run(["go", "build", "-o", str(path / "client"), "."], cwd=PROGRAMS, check=True)


def _run_twice(shop: Stage, argv: list[str]) -> dict[str, Any]:
    """Run a program with models, and again with what was recorded of it; return what it printed both times."""
    found = _run(shop.recording, argv)
    shop.recording.report()
    shop.replaying.begin("replay", MODELS)
    assert _run(shop.replaying, argv) == found
    assert shop.replaying.report()["misses"] == []
    assert shop.replaying.engines() == []
    return found


def _run(side: Side, argv: list[str]) -> dict[str, Any]:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
        # None of the clients is told a key here, so it is in the path.
        "DMRC_URL": f"{side.url}/k/{side.keys['web']}",
        "CHAT_MODEL": CHATS,
        "TOOL_MODEL": CALLS,
        # litellm would ask for a list of prices.
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    }
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
