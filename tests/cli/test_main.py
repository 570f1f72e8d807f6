"""The entry point: help, versions, typing errors, and what may be imported before a command is known."""

import json
import os
import subprocess
import sys

import pytest

from dmrc import __version__
from dmrc.cli.commands import COMMANDS
from tests.dmrc_command import Dmrc

_HEAVY = (
    "asyncio",
    "docker",
    "fastapi",
    "filelock",
    "httptools",
    "platformdirs",
    "psutil",
    "requests",
    "rich",
    "sqlite3",
    "urllib3",
    "uvicorn",
    "uvloop",
    "xllamacpp",
    "yaml",
)
"""What `dmrc --help` would be slow with."""

_PRINT_MODULES = """
import json, os, sys
from dmrc.cli.main import main
try:
    main(sys.argv[1:])
finally:
    os.write(2, json.dumps(sorted(sys.modules)).encode())
"""


def test_help_lists_every_command_with_a_summary(dmrc: Dmrc) -> None:
    shown = dmrc.ok("--help")

    rows = {line.split()[0]: line.split()[1:] for line in shown.splitlines() if line.startswith("  ") and line.split()}
    for name, command in COMMANDS.items():
        if command.summary:
            assert rows[name] == command.summary.split()
    assert max(map(len, shown.splitlines())) <= 90


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["--version"]])
def test_help_and_version_import_nothing_heavy_and_make_nothing(dmrc: Dmrc, arguments: list[str]) -> None:
    """A hint of 150 ms to hold: each of these modules alone costs a good part of it."""
    done = subprocess.run(
        [sys.executable, "-c", _PRINT_MODULES, *arguments], env=dmrc.environment, capture_output=True, text=True
    )

    assert done.returncode == 0
    assert not set(json.loads(done.stderr)) & set(_HEAVY)
    assert list(dmrc.home.iterdir()) == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(dmrc: Dmrc, name: str) -> None:
    shown = dmrc.ok(name, "--help")

    own_name = "list" if name == "ls" else name
    assert shown.startswith(f"Usage: dmrc {name} ")
    assert "Example: " in shown
    assert f"dmrc {own_name}" in shown.partition("Example: ")[2]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["pul"], "no such command 'pul' (did you mean 'pull'?)"),
        (["stats"], "no such command 'stats' (did you mean 'status'?)"),
        (["zzz"], "no such command 'zzz'"),
        (["up", "--detahc"], "No such option '--detahc'. Did you mean '--detach'?"),
        (["--versoin"], "No such option '--versoin'. Did you mean '--version'?"),
        (["rm"], "Missing argument 'MODEL...'."),
        (["requests", "-n", "many"], "Invalid value for '-n' / '--limit': 'many' is not a valid integer range."),
        (["unload"], "name a model, or say --all"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_typing_error_is_named_with_what_is_near(dmrc: Dmrc, arguments: list[str], line: str) -> None:
    done = dmrc.run(*arguments)

    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1] == f"Error: {line}"
    assert "Usage: dmrc" in done.stderr


def test_version(dmrc: Dmrc) -> None:
    assert dmrc.ok("--version") == f"dmrc {__version__}\n"


def test_python_dash_m_is_the_same_command(dmrc: Dmrc) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dmrc", "--version"], env=dmrc.environment, capture_output=True, text=True
    )

    assert done.stdout == f"dmrc {__version__}\n"


def test_a_reader_who_went_away_is_no_traceback(dmrc: Dmrc) -> None:
    """As in `dmrc --help | head -0`."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [dmrc.program, "--help"], env=dmrc.environment, stdout=writer, stderr=subprocess.PIPE, text=True
    )
    os.close(writer)

    assert done.returncode == 1
    assert done.stderr == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_its_completion(dmrc: Dmrc, shell: str) -> None:
    source = dmrc.ok(env={"_DMRC_COMPLETE": f"{shell}_source"})

    assert f"_DMRC_COMPLETE={shell}_complete" in source


@pytest.mark.parametrize(
    ("words", "expected"),
    [("dmrc st", ["status", "stop-runner"]), ("dmrc requests --se", ["--service", "--session"])],
)
def test_completion_names_commands_and_options(dmrc: Dmrc, words: str, expected: list[str]) -> None:
    position = str(len(words.split()) - 1)
    answer = dmrc.ok(env={"_DMRC_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": position})

    assert sorted(line.partition(",")[2] for line in answer.splitlines()) == expected
