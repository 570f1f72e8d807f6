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


@pytest.mark.parametrize("redirect", ["> log 2>&1", "2> log", ">> log 2>&1", "2>&1 | cat > log"])
def test_what_a_child_says_stands_in_its_place(tmp_path: Path, redirect: str) -> None:
    """Compose's part is played by a parent that throws its child's stderr away, and writes before and after it."""
    (tmp_path / "parent.py").write_text(_PARENT)

    subprocess.run(f"'{sys.executable}' parent.py {redirect}", shell=True, cwd=tmp_path, check=True)

    assert (tmp_path / "log").read_text() == "before\nthe reason, all of it\nexit status 4\n"
