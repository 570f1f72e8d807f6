"""What waits for the store's lock keeps nobody else waiting, and not the end of the daemon."""

from __future__ import annotations

import http.client
import json
import select
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import filelock
import pytest

from tests.dmrc_command import Dmrc
from tests.polling import eventually
from tests.processes import has_ended
from tests.tiny_gguf import write_tiny_llama

_CALLERS = 40
"""More than Python's shared pool has threads."""


@pytest.fixture
def names(dmrc: Dmrc, tmp_path: Path) -> list[str]:
    """The names of one model."""
    dmrc.ok("package", "--gguf", write_tiny_llama(tmp_path / "tiny.gguf"), "me/tiny")
    names = [f"me/tiny:v{number}" for number in range(_CALLERS)]
    for name in names[::2]:
        dmrc.ok("tag", "me/tiny", name)
    dmrc.ok("configure", "show")  # starts the daemon
    return names


@contextmanager
def _waiting(dmrc: Dmrc, names: list[str]) -> Iterator[tuple[list[http.client.HTTPConnection], Callable[[], None]]]:
    """Callers who tag and remove while another process has the lock of the index, and what gives it back."""
    lock = filelock.FileLock(dmrc.home / "store" / "index.json.lock")
    with ExitStack() as stack:
        callers = [stack.enter_context(closing(_caller(dmrc))) for _ in names]
        with lock:
            for number, (caller, name) in enumerate(zip(callers, names, strict=True)):
                if number % 2:
                    caller.request("POST", f"/models/me/tiny/tag?repo=me/tiny&tag=v{number}")
                else:
                    caller.request("DELETE", f"/models/{name}")
            with closing(_caller(dmrc)) as last:  # whose answer comes when the daemon has taken in all before it
                last.request("GET", "/engines/status")
                assert last.getresponse().status == 200
            assert not select.select([caller.sock for caller in callers], [], [], 0.5)[0]  # all of them wait
            yield callers, lock.release


def _caller(dmrc: Dmrc) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", dmrc.port, timeout=20)


def test_who_waits_for_the_store_delays_nobody(dmrc: Dmrc, names: list[str]) -> None:
    """#17: they had the threads by which models are looked up, long requests read and pages made."""
    with _waiting(dmrc, names) as (callers, release):
        for path in ("/models", "/v1/models", "/engines/status", "/engines/df"):
            with closing(_caller(dmrc)) as other:
                other.request("GET", path)
                assert other.getresponse().status == 200
        release()
        answers = [caller.getresponse().status for caller in callers]

    assert answers == [200, 201] * (_CALLERS // 2)


def test_who_waits_for_the_store_does_not_delay_the_end(dmrc: Dmrc, names: list[str]) -> None:
    daemon = dmrc.daemon()

    with _waiting(dmrc, names) as (callers, _):
        began = time.monotonic()
        daemon.terminate()
        answers = [(answer.status, answer.read()) for caller in callers for answer in [caller.getresponse()]]
        eventually(lambda: has_ended(daemon.pid), "end of the daemon")
        seconds = time.monotonic() - began

    assert {status for status, _ in answers} == {503}
    assert all("the daemon is stopping" in json.loads(body)["error"]["message"] for _, body in answers)
    print(f"ended after {seconds:.2f} s")
    assert seconds < 15  # to wait for the lock would be for ever
