"""Runs that record exchanges, and runs that answer them."""

from pathlib import Path

from dmrc.cassettes.interaction import Asked
from dmrc.cassettes.runs import ReplayRun
from dmrc.project import Replay
from tests.cassettes.exchanges import chat, exchange, whole


def recorded(directory: Path, *exchanges, mode="record") -> dict:
    run = ReplayRun.load(Replay(directory=str(directory), mode=mode))
    for one in exchanges:
        run.add(one)
    run.flush()
    report = run.report()
    run.close()
    return report


def replay(directory: Path, **more) -> ReplayRun:
    return ReplayRun.load(Replay(directory=str(directory), mode="replay", **more))


def asked(text: str, **more) -> Asked:
    return Asked.of(exchange(chat(text, **more), whole("")))
