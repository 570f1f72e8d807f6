"""What a person sees of a transfer: bars on a terminal, whole lines elsewhere."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

_SCRIPT = """
import sys, time
from dmrc.cli import progress
from dmrc.sources import ProgressEvent

progress._LINE_SECONDS = 0.2
names = ["ai/tiny", "[::1]:5000/team/a-model-with-a-long-name:Q4_K_M"]
with progress.PullProgress() as shown:
    for name in names:
        for layer in "ab":
            shown.of(name)(ProgressEvent("Waiting", f"sha256:{layer * 64}", 0, 400_000_000))
        there = ProgressEvent("Already exists", "sha256:" + "c" * 64, 10**12, 10**12, was_there=True)
        shown.of(name)(there)
    shown.of(names[0])(ProgressEvent("Waiting for another pull of ai/tiny"))
    for step in range(1, 11):
        time.sleep(0.1)
        for name in names:
            for layer in "ab":
                shown.of(name)(ProgressEvent("Downloading", f"sha256:{layer * 64}", step * 40_000_000, 400_000_000))
"""

_RESUMED = """
import time
from dmrc.cli import progress
from dmrc.sources import ProgressEvent

progress._LINE_SECONDS = 0.2
layer = "sha256:" + "a" * 64
with progress.PullProgress() as shown:
    tell = shown.of("ai/tiny")
    tell(ProgressEvent("Waiting", layer, 0, 400_000_000))
    tell(ProgressEvent("Downloading", layer, 300_000_000, 400_000_000, is_resumed=True))
    for step in range(1, 11):
        time.sleep(0.1)
        tell(ProgressEvent("Downloading", layer, 300_000_000 + step * 100_000, 400_000_000))
"""


def on_terminal(width: int, *, term: str = "xterm-256color", script: str = _SCRIPT) -> str:
    """Run the script on a terminal of this width, and return all that it wrote there."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    environment = {**os.environ, "TERM": term}
    with subprocess.Popen([sys.executable, "-c", script], stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        written = b""
        while True:
            try:
                data = os.read(ours, 65536)
            except OSError:  # Linux says so at the end
                break
            if not data:
                break
            written += data
    os.close(ours)
    assert process.returncode == 0, written.decode()
    return written.decode()


def rows(written: str) -> list[str]:
    """Return the last frame, without colours and cursor movements."""
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written)
    return [row.rstrip() for row in re.split(r"[\r\n]+", plain) if row.strip()][-6:]


@pytest.mark.process
@pytest.mark.parametrize("width", [60, 80, 140])
def test_a_terminal_shows_each_model_with_its_layers_and_no_number_is_cut(width: int) -> None:
    written = on_terminal(width)

    frame = rows(written)
    assert [row.split("━")[0].strip() for row in frame[1:3]] == ["aaaaaaaaaaaa", "bbbbbbbbbbbb"]
    assert frame[0].startswith("ai/tiny ")
    assert frame[3].startswith("[::1]:5000/team")
    for row in frame:
        assert len(row) <= width
        assert re.search(r"\d+(\.\d+)?/\d+(\.\d+)? MB +[\d.]+ MB/s \d:\d\d:\d\d$", row), row
    assert "800.0/800.0 MB" in frame[0]
    assert "Waiting for another pull of ai/tiny" in written


@pytest.mark.process
@pytest.mark.parametrize("terminal", [None, "dumb"])
def test_elsewhere_whole_lines_are_written_now_and_then(terminal: str | None) -> None:
    if terminal:
        written = on_terminal(80, term=terminal).replace("\r\n", "\n")
    else:
        done = subprocess.run([sys.executable, "-c", _SCRIPT], capture_output=True, text=True, check=True)
        assert done.stdout == ""
        written = done.stderr

    first, *lines = written.splitlines()
    assert first == "Waiting for another pull of ai/tiny"
    assert 2 <= len(lines) <= 20  # where each step takes 0.2 s; of the 40 events each would have one
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", written)
    pattern = r"(ai/tiny|\[::1\]\S+): [\d.]+ k?M?B of 800\.00 MB \(\d+ %\), [\d.]+ k?M?B/s(, \d+ seconds? left)?"
    for line in lines:
        assert re.fullmatch(pattern, line), line
    assert any(line.endswith(" left") for line in lines)


@pytest.mark.process
def test_a_small_transfer_says_nothing_of_its_own(tmp_path: Path) -> None:
    script = _SCRIPT.replace("0.2", "3.0").replace("time.sleep(0.1)", "pass").replace("Waiting for another", "W")

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stderr.splitlines() == ["W pull of ai/tiny"]


@pytest.mark.process
def test_a_transfer_that_goes_on_counts_only_new_bytes_as_its_rate() -> None:
    """Of about 1 MB/s; with what an earlier attempt left it would be hundreds."""
    elsewhere = subprocess.run([sys.executable, "-c", _RESUMED], capture_output=True, text=True, check=True).stderr
    frames = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", on_terminal(100, script=_RESUMED))

    first = elsewhere.splitlines()[0]
    assert first.startswith("ai/tiny: 30")
    for written in (elsewhere, frames):
        rates = [float(rate) * {"k": 1e-3, "M": 1}[unit] for rate, unit in re.findall(r"([\d.]+) ([kM])B/s", written)]
        assert rates
        assert max(rates) < 5
