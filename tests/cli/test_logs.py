"""`dmrc logs`: the daemon's and those of engines."""

import logging
import select
import signal
import subprocess
from logging.handlers import RotatingFileHandler
from pathlib import Path

import pytest

from tests.dmrc_command import Dmrc
from tests.polling import eventually


@pytest.mark.engine
def test_logs_are_the_daemons_or_a_models(dmrc: Dmrc, tiny: str) -> None:
    before = dmrc.run("logs")
    dmrc.ok("run", tiny, "Hi")
    eventually(lambda: ", first after " in dmrc.ok("logs"), "the line of the request, which is the last one")

    daemon, engine = dmrc.ok("logs"), dmrc.ok("logs", tiny)

    assert (before.returncode, before.stderr.count("\n")) == (3, 1)
    assert f"listening on http://127.0.0.1:{dmrc.port} (loopback)" in daemon
    assert "n_ctx" in engine
    assert dmrc.ok("logs", "-n", "1") == daemon.splitlines(keepends=True)[-1]
    assert dmrc.ok("logs", "-n", "0") == ""
    assert "has no replica 'r1': it has none. See: dmrc ps" in dmrc.run("logs", tiny, "--replica", "r1").stderr


def test_logs_can_be_followed_until_ctrl_c(dmrc: Dmrc, tiny: str, project: Path) -> None:
    dmrc.ok("env", "web", cwd=project)
    process = subprocess.Popen(
        [dmrc.program, "logs", "-f", "-n", "0"],
        env=dmrc.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None

    def comes() -> bool:  # a line that was written before the command looked is none that it follows
        with (dmrc.home / "logs" / "daemon.log").open("a") as log:
            log.write("a line that comes later\n")
        return bool(select.select([process.stdout], [], [], 0.5)[0])

    eventually(comes)
    assert process.stdout.readline() == "a line that comes later\n"
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=10)
    assert (process.returncode, stderr.strip()) == (130, "dmrc: interrupted")


def test_following_goes_on_over_rotations_and_loses_no_line(dmrc: Dmrc, tmp_path: Path) -> None:
    """Lines that came just before a rotation are in the old file, which nobody names any more."""
    path = dmrc.home / "logs" / "daemon.log"
    path.parent.mkdir()
    handler = RotatingFileHandler(path, backupCount=3)

    def write(text: str) -> None:
        handler.emit(logging.makeLogRecord({"msg": text}))

    write("line 0")
    command = [dmrc.program, "logs", "-f"]
    with subprocess.Popen(command, env=dmrc.environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        seen = [process.stdout.readline()]
        for number in range(1, 7, 2):
            write(f"line {number}")
            handler.doRollover()
            write(f"line {number + 1}")
            seen += [process.stdout.readline(), process.stdout.readline()]
        process.send_signal(signal.SIGINT)
    handler.close()

    assert seen == [f"line {number}\n" for number in range(7)]
    assert process.returncode == 130
