"""The log of the daemon."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from dmrc.gateway.server import logging as daemon_logging


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Yield the file that this process's log goes to; what logging was before is put back."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    for name in ("_srcfile", "logThreads", "logProcesses", "logMultiprocessing"):
        monkeypatch.setattr(logging, name, getattr(logging, name))
    root.handlers = []
    monkeypatch.setattr(daemon_logging, "_LOG_BYTES", 1000)
    daemon_logging.configure(tmp_path / "daemon.log", "text")
    yield tmp_path / "daemon.log"
    for handler in root.handlers:
        handler.close()
    root.handlers, root.level = before, level


def test_a_full_log_gets_another_name_and_no_line_is_lost(log: Path) -> None:
    """Whether it is full is seen by its size: Python's own handler makes each line once more to know."""
    for number in range(60):
        logging.getLogger("dmrc.test").info("line %d", number)

    files = [path for path in (*(Path(f"{log}.{number}") for number in (3, 2, 1)), log) if path.exists()]
    lines = [line.rsplit(" ", 1)[1] for path in files for line in path.read_text().splitlines()]
    assert lines == [str(number) for number in range(60 - len(lines), 60)]
    assert len(lines) > 40
    assert all(900 < path.stat().st_size < 1100 for path in files[:-1])


def test_a_line_begins_with_the_time_to_the_millisecond_as_pythons_own_does(log: Path) -> None:
    record = logging.makeLogRecord({"name": "dmrc.test", "levelno": 20, "levelname": "INFO", "msg": "100 % of it"})
    record.created, record.msecs = 1795889081.0079, 7.9
    pythons_own = logging.Formatter("%(asctime)s %(levelname)-7s %(name)s %(message)s")

    logging.getLogger("dmrc.test").handle(record)

    line = log.read_text()
    assert line == pythons_own.format(record) + "\n" and ",007 INFO    dmrc.test 100 % of it" in line
