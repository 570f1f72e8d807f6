"""A command in the foreground, on a terminal or not, that can be interrupted as Ctrl+C does."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import signal
import subprocess
import termios
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path


class Foreground:
    """A running command, alone in its session, so that nothing else gets its signals."""

    def __init__(
        self, argv: Sequence[str | Path], environment: Mapping[str, str], cwd: Path, *, has_terminal: bool
    ) -> None:
        self.text = ""
        ours, theirs = pty.openpty() if has_terminal else os.pipe()
        self._process = subprocess.Popen(
            argv,
            env={**environment, "TERM": "xterm"},
            cwd=cwd,
            stdin=theirs if has_terminal else subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=_take_terminal if has_terminal else None,
        )
        os.close(theirs)
        self._ours, self._has_terminal = ours, has_terminal
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def press_ctrl_c(self) -> None:
        """Press Ctrl+C, which reaches all processes in the foreground."""
        if self._has_terminal:
            os.write(self._ours, b"\x03")
        else:
            os.killpg(self._process.pid, signal.SIGINT)

    def interrupt(self) -> int:
        """Press Ctrl+C, and return the exit code."""
        self.press_ctrl_c()
        code = self._process.wait(30)
        self._reader.join(30)
        return code

    def close(self) -> None:
        """Kill the command if it still runs."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._reader.join(30)
        os.close(self._ours)

    def _read(self) -> None:
        # A terminal whose last user has gone gives an error instead of an end.
        with contextlib.suppress(OSError):
            while data := os.read(self._ours, 4096):
                self.text += data.decode(errors="replace")


@contextlib.contextmanager
def foreground(
    argv: Sequence[str | Path], environment: Mapping[str, str], cwd: Path, *, has_terminal: bool
) -> Iterator[Foreground]:
    """Run a command in the foreground; it is gone at the end."""
    command = Foreground(argv, environment, cwd, has_terminal=has_terminal)
    try:
        yield command
    finally:
        command.close()


def _take_terminal() -> None:
    """Make standard input the terminal that controls this session. Source: tty_ioctl(4)."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
