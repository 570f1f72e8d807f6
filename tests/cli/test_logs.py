"""`dmrc logs`: the daemon's and those of engines."""

import json
import select
import signal
import subprocess
from pathlib import Path

import pytest

from tests.dmrc_command import Dmrc
from tests.polling import eventually


@pytest.mark.engine
def test_logs_are_the_daemons_or_a_models(dmrc: Dmrc, tiny: str) -> None:
    before = dmrc.run("logs")
    dmrc.ok("run", tiny, "Hi")

    daemon, engine = dmrc.ok("logs"), dmrc.ok("logs", tiny)

    assert (before.returncode, before.stderr.count("\n")) == (3, 1)
    assert f"listening on http://127.0.0.1:{dmrc.port} (loopback)" in daemon
    assert "n_ctx" in engine
    assert dmrc.ok("logs", "-n", "1") == daemon.splitlines(keepends=True)[-1]
    assert dmrc.ok("logs", "-n", "0") == ""


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


def test_logs_are_followed_over_a_rotation(dmrc: Dmrc, tiny: str, project: Path) -> None:
    dmrc.ok("env", "web", cwd=project)
    log = dmrc.home / "logs" / "daemon.log"
    process = subprocess.Popen(
        [dmrc.program, "logs", "-f", "-n", "1"], env=dmrc.environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()

    with log.open("a") as file:
        file.write("the last line of the old log\n")
    log.rename(log.with_name("daemon.log.1"))
    log.write_text("the first line of the new log\n")

    lines = [process.stdout.readline() for _ in range(2)]
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert lines == ["the last line of the old log\n", "the first line of the new log\n"]


@pytest.mark.parametrize("form", ["text", "json"])
def test_in_the_foreground_the_log_is_on_stderr(dmrc: Dmrc, form: str) -> None:
    environment = {**dmrc.environment, "DMRC_LOG_FORMAT": form}
    process = subprocess.Popen([dmrc.program, "serve"], env=environment, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    line = next(line for line in process.stderr if "listening on" in line)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)

    if form == "json":
        assert json.loads(line)["message"] == f"listening on http://127.0.0.1:{dmrc.port} (loopback)"
    else:
        assert f"listening on http://127.0.0.1:{dmrc.port} (loopback)" in line
    assert not (dmrc.home / "logs" / "daemon.log").exists()


def test_a_form_of_the_log_that_is_none_is_named(dmrc: Dmrc) -> None:
    done = dmrc.run("serve", env={"DMRC_LOG_FORMAT": "xml"})

    assert (done.returncode, done.stderr) == (2, "dmrc: DMRC_LOG_FORMAT is 'xml'. Use text or json\n")
