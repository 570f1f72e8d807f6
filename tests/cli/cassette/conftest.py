"""`dmrc cassette` in this process, in a directory with cassettes and without a project."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dmrc.cassettes.runs import ReplayRun
from dmrc.cli.main import main
from dmrc.project import Replay
from tests.cassettes.exchanges import chat, exchange, streamed, whole


@dataclass(frozen=True)
class Ran:
    """What a command has done."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Ran]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DMRC_HOME", str(tmp_path / "home"))

    def run(*arguments: object) -> Ran:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(["cassette", *map(str, arguments)])
        told = capsys.readouterr()
        return Ran(int(ended.value.code or 0), told.out, told.err)

    return run


def record(directory: Path, *exchanges: object) -> None:
    """Write exchanges into cassettes, as a run that records does."""
    run = ReplayRun.load(Replay(directory=str(directory), mode="record"))
    for one in exchanges:
        run.add(one)  # type: ignore[arg-type]
    run.close()


@pytest.fixture
def cassettes(tmp_path: Path) -> Path:
    """Those of two services: `api` with a stream and a whole answer, `web` with one."""
    directory = tmp_path / "cassettes"
    record(
        directory,
        exchange(chat("Capital of France?", stream=True), streamed(["The", " capital", " is", " Paris", "."])),
        exchange(chat("Capital of Italy?", temperature=0), whole("Rome")),
        exchange(chat("Hi"), whole("Hello"), service="web"),
    )
    return directory
