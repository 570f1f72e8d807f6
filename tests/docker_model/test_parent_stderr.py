"""The reason of a failure in a file: Compose wrote over it (#16, A13)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_CHILD = "from dmrc.docker_model.parent_stderr import write_to_parent; write_to_parent('the reason, all of it')"
_PARENT = f"""
import subprocess, sys
print("before", file=sys.stderr, flush=True)
subprocess.run([sys.executable, "-c", {_CHILD!r}], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
print("exit status 4", file=sys.stderr, flush=True)
"""


@pytest.mark.process
@pytest.mark.parametrize("redirect", ["> log 2>&1", "2> log", ">> log 2>&1", "2>&1 | cat > log"])
def test_what_a_child_says_stands_in_its_place(tmp_path: Path, redirect: str) -> None:
    """Compose's part is played by a parent that throws its child's stderr away, and writes before and after it."""
    (tmp_path / "parent.py").write_text(_PARENT)

    subprocess.run(f"'{sys.executable}' parent.py {redirect}", shell=True, cwd=tmp_path, check=True)

    assert (tmp_path / "log").read_text() == "before\nthe reason, all of it\nexit status 4\n"


_ANSWERING = """
import logging
from dmrc.docker_model.parent_stderr import give_stderr_to_parent
give_stderr_to_parent()
logging.warning("a warning")
print("the answer")
"""
_READING = f"""
import subprocess, sys
reader = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
print(subprocess.run([sys.executable, "-c", {_ANSWERING!r}], **reader).stdout, end="")
"""


@pytest.mark.process
def test_what_is_said_beside_an_answer_goes_past_who_reads_it(tmp_path: Path) -> None:
    """Compose reads `status --json` and `ls --json` with stderr: a warning there was a broken `docker compose up`."""
    (tmp_path / "parent.py").write_text(_READING)

    ran = subprocess.run([sys.executable, "parent.py"], cwd=tmp_path, capture_output=True, text=True)

    assert (ran.stdout, ran.stderr) == ("the answer\n", "WARNING:root:a warning\n")
