"""`dmrc cassette` in this process, in a directory with cassettes and without a project."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dmrc.cassettes.interaction import Asked
from dmrc.cassettes.runs import ReplayRun
from dmrc.cli.main import main
from dmrc.project import Replay, ReplayMode
from tests.cassettes.exchanges import chat, exchange, streamed, whole

COMPOSE = """
name: shop
services:
  api: {image: none, models: [llm]}
  web: {image: none, models: [llm], environment: {SHOP_PASSWORD: correct-horse-7}}
models:
  llm: {model: ai/smollm2}
"""


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


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A compose project `shop` in this directory, on a machine without Compose."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "compose.yaml").write_text(COMPOSE)
    return tmp_path


def replayed(directory: Path, *asked: object, mode: ReplayMode = "replay") -> None:
    """Ask what exchanges ask, and leave the report of it where the daemon leaves it."""
    cassettes, reports = directory / "cassettes", directory / "home" / "replays"
    run = ReplayRun.load(Replay(directory=str(cassettes), mode=mode))
    for one in asked:
        wanted = Asked.of(one)  # type: ignore[arg-type]
        service = one.service  # type: ignore[attr-defined]
        if (taken := run.take(service, wanted, stream=False)) is not None:
            taken.delivered()
        elif mode == "replay":
            run.miss(service, wanted)
        else:
            run.add(one)  # type: ignore[arg-type]
    run.flush()
    reports.mkdir(parents=True, exist_ok=True)
    (reports / "shop.json").write_text(json.dumps(run.report()))
    run.close()


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
