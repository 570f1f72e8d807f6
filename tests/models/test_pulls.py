"""Pulls that run, seen from this process and from others."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from dmrc.errors import CancelledError
from dmrc.models import Models, Pulls
from dmrc.reference import Reference
from dmrc.sources import ProgressEvent, Transfer
from dmrc.store import Store

_LAYER = "sha256:" + "a" * 64


class Moving:
    """A source that brings some bytes, and then none."""

    name = "moving"

    def __init__(self) -> None:
        self.moved = threading.Event()

    def recognize(self, text: str) -> Reference | None:
        return Reference.parse("moving/x")

    def fetch(self, text: str, transfer: Transfer) -> bytes:
        transfer.report(ProgressEvent("Already exists", "sha256:" + "b" * 64, 7, 7, was_there=True))
        transfer.report(ProgressEvent("Downloading", _LAYER, 250, 1000, is_resumed=True))
        self.moved.set()
        transfer.pause(60)
        raise AssertionError


def test_a_pull_is_seen_with_its_bytes_and_can_be_cancelled_where_it_runs(tmp_path: Path) -> None:
    source, ended = Moving(), []
    models = Models(Store(tmp_path), lambda: [source], command="dmrc up")

    def pull() -> None:
        with pytest.raises(CancelledError) as error:
            models.pull("https://me:secret@example.com/x.gguf")
        ended.append(error.value)

    thread = threading.Thread(target=pull)
    thread.start()
    assert source.moved.wait(30)

    (seen,) = models.pulls.running()
    assert (seen.done_bytes, seen.size_bytes, seen.bytes_per_second) == (250, 1000, None)
    assert (seen.command, seen.process, seen.status, seen.can_cancel) == ("dmrc up", os.getpid(), "Downloading", True)
    assert "secret" not in seen.model
    (other,) = Pulls(tmp_path).running()
    assert (other.id, other.can_cancel) == (seen.id, False)
    assert not Pulls(tmp_path).cancel(seen.id)

    assert models.pulls.cancel(seen.id)
    thread.join(30)
    assert len(ended) == 1
    assert models.pulls.running() == []
    assert list((tmp_path / "pulls").iterdir()) == []


_PULL = """
import sys, time
from pathlib import Path
from dmrc.models import Pulls
from dmrc.sources import ProgressEvent

with Pulls(Path(sys.argv[1]), "dmrc pull").noted("ai/x", lambda event: None, lambda: False) as told:
    told.progress(ProgressEvent("Downloading", "sha256:x", 5, 10))
    print("moved", flush=True)
    time.sleep(60)
"""


@pytest.mark.process
def test_what_a_killed_process_left_is_no_pull_and_is_removed(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", _PULL, tmp_path], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "moved\n"
        (seen,) = Pulls(tmp_path).running()
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()

    assert (seen.model, seen.process, seen.done_bytes) == ("ai/x", process.pid, 5)
    assert len(list((tmp_path / "pulls").iterdir())) == 1
    assert Pulls(tmp_path).running() == []
    assert list((tmp_path / "pulls").iterdir()) == []


def test_the_file_of_a_pull_is_written_seldom_and_of_nothing_that_travels_not_at_all(tmp_path: Path) -> None:
    heard: list[ProgressEvent] = []
    with Pulls(tmp_path).noted("ai/x", heard.append, lambda: False) as told:
        told.progress(ProgressEvent("Already exists", _LAYER, 9, 9, was_there=True))
        assert not (tmp_path / "pulls").exists()
        for count in range(1000):
            told.progress(ProgressEvent("Downloading", _LAYER, count, 1000))
        (path,) = (tmp_path / "pulls").iterdir()
        assert json.loads(path.read_bytes())["done_bytes"] < 999  # the later ones came within half a second
    assert len(heard) == 1001


def test_a_file_that_another_version_wrote_is_passed_over(tmp_path: Path) -> None:
    with Pulls(tmp_path).noted("ai/x", lambda _event: None, lambda: False) as told:
        told.progress(ProgressEvent("Downloading", _LAYER, 1, 10))
        (path,) = (tmp_path / "pulls").iterdir()
        path.write_text('["what is this"]')
        assert Pulls(tmp_path).running() == []
