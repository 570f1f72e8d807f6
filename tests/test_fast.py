"""What fixtures say of a test's needs, and the guard of the fast ones: asked of pytest itself, in a run of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.pages import ROOT

pytestmark = pytest.mark.process

_TESTS = """
import multiprocessing, subprocess, pytest

@pytest.fixture
def tool(needs_process, needs_engine): pass

@pytest.fixture
def model(tool): pass

def test_of_a_fixture(model): subprocess.run(["true"])

@pytest.mark.process
def test_marked(): subprocess.run(["true"])

def test_plain(): pass

def test_child(): subprocess.run(["true"])

def test_swallowed():
    try:
        subprocess.run(["true"])
    except OSError:
        pass

def test_multiprocessing():
    multiprocessing.get_context("spawn").Process(target=print).start()
"""


def _pytest(directory: Path, *arguments: str) -> str:
    (directory / "test_needs.py").write_text(_TESTS)
    plugins = ("-p", "tests.groups", "-p", "tests.fast", "-p", "no:cacheprovider")
    argv = [sys.executable, "-m", "pytest", "-q", "-rA", "--rootdir", directory, *plugins, *arguments, directory]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True).stdout


def test_a_need_of_a_fixture_marks_every_test_that_comes_to_it(tmp_path: Path) -> None:
    shown = _pytest(tmp_path, "--collect-only", "-m", "engine and process and not fast")

    assert "::test_of_a_fixture" in shown
    assert "1/6 tests collected" in shown


def test_a_fast_test_that_starts_a_process_fails_by_name(tmp_path: Path) -> None:
    shown = _pytest(tmp_path, "-m", "not engine")

    assert "2 passed" in shown
    for name, what in {"child": "true", "swallowed": "true", "multiprocessing": "multiprocessing.spawn"}.items():
        assert f"test_{name} starts a process" in shown
        assert what in shown
    assert "3 failed" in shown
