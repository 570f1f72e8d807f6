"""Commands beside a daemon that lives and does not answer: "not reachable" is not "not there"."""

import json
import os
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.cli.refusals import write_program, write_project
from tests.dmrc_command import Dmrc
from tests.groups import compose_binary
from tests.polling import eventually
from tests.small_disk import fill, small_disk


def _pid(dmrc: Dmrc) -> int:
    pid: int = json.loads(dmrc.ok("status", "--json"))["pid"]
    return pid


@contextmanager
def _stopped(pid: int) -> Iterator[None]:
    """Keep a process from doing anything."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def _keys(dmrc: Dmrc) -> list[tuple[str, ...]]:
    with sqlite3.connect(dmrc.home / "projects.sqlite3") as database:
        return database.execute("SELECT project, service FROM service_key").fetchall()


@pytest.fixture
def compose(dmrc: Dmrc, tmp_path: Path, needs_compose: None) -> Dmrc:
    """A dmrc with the real Compose, which has nothing to take down: there is no Docker engine."""
    script = f'case " $* " in *" down "*) exit 0;; esac\nexec {compose_binary()} "$@"'
    dmrc.environment["PATH"] = f"{write_program(tmp_path / 'bin', 'docker-compose', script)}:/usr/bin:/bin"
    return dmrc


@pytest.mark.parametrize("runs", [True, False], ids=["daemon", "no daemon"])
def test_down_without_compose_ends_the_keys(dmrc: Dmrc, tiny: str, tmp_path: Path, runs: bool) -> None:
    """Where `dmrc exec` is used without Docker there was no way to end a project's keys."""
    dmrc.environment["PATH"] = str(tmp_path)
    project = write_project(tmp_path / "shop", tiny, "context_size: 64")
    dmrc.ok("env", "web", cwd=project)
    assert _keys(dmrc)
    if not runs:
        dmrc.ok("stop-runner")

    done = dmrc.run("down", cwd=project)

    assert done.returncode == 0, done.stderr
    assert ": no container is stopped, only the project's keys end" in done.stderr
    assert not _keys(dmrc)
    assert dmrc.run("down", "web", cwd=project).returncode == 6


def test_down_beside_a_daemon_that_does_not_answer_fails_and_edits_nothing(
    compose: Dmrc, tiny: str, tmp_path: Path
) -> None:
    project = write_project(tmp_path / "shop", tiny, "context_size: 64")
    compose.ok("env", "web", cwd=project)
    pid, keys = _pid(compose), _keys(compose)

    with _stopped(pid):
        done = compose.run("down", cwd=project)
        again = _keys(compose)

    assert keys != []
    assert again == keys
    assert done.returncode == 1
    assert f"the daemon (process {pid}) runs and does not answer: it said nothing for 10 s" in done.stderr
    assert f"kill -9 {pid}" in done.stderr
    # Once it answers again, the same command ends the key.
    compose.run("down", cwd=project)
    assert _keys(compose) == []


_COMMANDS = (
    *(["status"], ["ps"], ["unload", "--all"], ["rm", "me/tiny"], ["stop-runner"]),
    ["configure", "me/tiny", "--context-size", "32"],
)


def test_no_command_takes_a_silent_daemon_for_none(dmrc: Dmrc, tiny: str, project: Path) -> None:
    dmrc.ok("env", "web", cwd=project)
    pid = _pid(dmrc)

    with _stopped(pid), ThreadPoolExecutor(len(_COMMANDS)) as pool:
        all_done = list(pool.map(lambda command: dmrc.run(*command), _COMMANDS))

    for done in all_done:
        assert done.returncode == 1, done
        assert f"the daemon (process {pid}) runs and does not answer" in done.stderr
        assert "does not run" not in done.stdout + done.stderr
    assert tiny in dmrc.ok("list")


def test_a_daemon_whose_socket_is_gone_is_not_taken_for_none(dmrc: Dmrc, tiny: str, project: Path) -> None:
    dmrc.ok("env", "web", cwd=project)
    pid = _pid(dmrc)
    (dmrc.home / "run" / "admin.sock").unlink()

    done = dmrc.run("status")

    assert done.returncode == 1
    assert f"the daemon (process {pid}) runs and does not answer: its socket" in done.stderr
    psutil.Process(pid).terminate()
    eventually(lambda: not dmrc.processes(), "end of the daemon")
    assert "The daemon does not run" in dmrc.run("status").stdout


@pytest.mark.tmpfs
def test_a_full_disk_is_told_as_a_full_disk(dmrc: Dmrc, tiny: str, tmp_path: Path) -> None:
    project = write_project(tmp_path / "shop", tiny, "context_size: 64")
    model_files = dmrc.home / "store"
    with small_disk(tmp_path / "home", 16 << 20) as home:
        small = Dmrc(home)
        (home / "store").symlink_to(model_files)
        try:
            small.ok("configure", tiny, "--context-size", "48")
            filler = fill(home)

            configured = small.run("configure", tiny, "--", *("--seed", "1") * 500)
            declared = small.run("env", "web", cwd=project)

            assert configured.returncode != 0
            assert "full" in configured.stderr
            assert "does not run" not in configured.stderr + declared.stderr
            assert declared.returncode != 0
            assert "full" in declared.stderr or "No space left" in declared.stderr
            filler.unlink()
            small.ok("env", "web", cwd=project)
        finally:
            small.stop()


def test_a_daemon_that_ends_at_once_says_why(dmrc: Dmrc, tmp_path: Path) -> None:
    """The cause is the last line of its log: here an import that fails under it, by a file that is damaged."""
    (tmp_path / "uvloop.py").write_text("raise ImportError('the file is damaged')\n")

    done = dmrc.run("ui", env={"PYTHONPATH": str(tmp_path)})

    assert done.returncode == 1
    assert "dmrc: the daemon ended at once, with exit code 1: ImportError: the file is damaged" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_daemon_whose_parent_has_not_looked_yet_has_stopped(dmrc: Dmrc) -> None:
    daemon = subprocess.Popen([dmrc.program, "serve"], env=dmrc.environment, stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: dmrc.run("status").returncode == 0, seconds=20)
        dmrc.ok("stop-runner")
        assert daemon.poll() == 0
    finally:
        daemon.kill()
        daemon.wait()
