"""A program that is run and waited for has the terminal and the signals, each once, as if it were not waited for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.polling import eventually
from tests.up.foreground import foreground

pytestmark = pytest.mark.process

_RUN = (
    "import os, sys; from dmrc.cli.foreground import run_in_foreground as run;"
    "code = run(sys.argv[1:], os.environ); print('ended with', code, flush=True); sys.exit(code)"
)
_COUNTING = """
import os, signal, sys, time
got = []
def hear(number, frame):
    got.append(number)
    os.write(2, b"heard\\n")
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, hear)
print("ready", flush=True)
while len(got) < int(sys.argv[1]):
    time.sleep(0.01)
time.sleep(0.3)
print("got", *map(int, got), flush=True)
sys.exit(7)
"""


def waiting(number: int) -> list[str | Path]:
    """Return a command that runs a program which ends with 7 after so many signals, and says which it got."""
    return [sys.executable, "-c", _RUN, sys.executable, "-c", _COUNTING, str(number)]


@pytest.mark.parametrize("has_terminal", [True, False], ids=["terminal", "no terminal"])
@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_reaches_the_program_once_each_time(tmp_path: Path, has_terminal: bool, times: int) -> None:
    with foreground(waiting(times), os.environ, tmp_path, has_terminal=has_terminal) as command:
        eventually(lambda: "ready" in command.text, "start of the program")
        for _ in range(times - 1):
            command.press_ctrl_c()
            eventually(lambda: "heard" in command.text, "the signal")  # two at once are one: signal(7)

        code = command.interrupt()

    assert code == 7
    assert f"got{' 2' * times}" in command.text.replace("^C", "").splitlines()
    assert command.text.rstrip().endswith("ended with 7")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_for_this_process_alone_is_passed_on(number: signal.Signals) -> None:
    process = subprocess.Popen(waiting(1), stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"

    process.send_signal(number)

    assert process.communicate(timeout=20)[0] == f"got {int(number)}\nended with 7\n"
    assert process.returncode == 7


def test_a_program_that_a_signal_ended_has_the_code_that_a_shell_gives_it() -> None:
    done = subprocess.run([sys.executable, "-c", _RUN, "sh", "-c", "kill -9 $$"], capture_output=True, text=True)

    assert (done.returncode, done.stdout) == (137, "ended with 137\n")


def test_what_is_ignored_stays_ignored() -> None:
    """As nohup has it."""
    script = "import signal; print(signal.getsignal(signal.SIGHUP) is signal.SIG_IGN)"
    argv = ["nohup", sys.executable, "-c", _RUN, sys.executable, "-c", script]

    assert "True\n" in subprocess.run(argv, capture_output=True, text=True).stdout
