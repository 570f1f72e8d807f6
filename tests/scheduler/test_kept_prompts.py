"""Prompts of a model that was unloaded since it was idle come back with it, where that pays and may be."""

from __future__ import annotations

import asyncio
import shutil
import stat
from collections import namedtuple
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dmrc.engines.engine import Counts
from dmrc.engines.llama_cpp.engine import LlamaCpp
from dmrc.engines.local_model import Companion, Companions, LocalModel
from dmrc.engines.session import Session
from dmrc.project import ServingOptions
from dmrc.scheduler import kept_prompts
from dmrc.scheduler.fitting import needs
from dmrc.scheduler.scheduler import Scheduler
from tests.groups import LLAMA_SERVER
from tests.scheduler.asking import Conversation, Told, by_leases
from tests.scheduler.conftest import Workshop, children, play, until

Usage = namedtuple("Usage", "total used free")


class Slow(LlamaCpp):
    """The engine with a model that takes long to compute a prompt, as its own counts say."""

    async def counts(self, session: Session) -> Counts | None:
        told = await super().counts(session)
        return told and replace(told, prompt_seconds=told.computed * 0.02)


def files(scheduler: Scheduler) -> list[Path]:
    return sorted(scheduler.starts.kept.directory.iterdir())


def after_a_rest(
    workshop: Workshop,
    engine: LlamaCpp,
    *,
    may_be_kept: bool = True,
    meanwhile: Callable[[Scheduler], None] = lambda scheduler: None,
) -> list[Told]:
    """Two turns of two conversations, with a rest between the turns in which the model is unloaded."""
    scheduler, told = workshop.scheduler(engine=engine), list[Told]()
    target = workshop.target(1024, parallel=2, keep_alive_seconds=0.3)
    ask = by_leases(scheduler, target, may_be_kept=may_be_kept)

    async def story() -> None:
        conversations = [Conversation(number, length=60) for number in range(2)]
        for _ in range(2):
            told.extend([await one.turn(ask) for one in conversations])
            await until(lambda: not scheduler.runners(), "the idle model is unloaded")
            meanwhile(scheduler)
        assert not children()

    play(scheduler, story)
    assert not scheduler.starts.kept.directory.exists()
    return told


@pytest.mark.parametrize(
    "binary",
    [
        pytest.param(None, id="wheel", marks=pytest.mark.engine),
        pytest.param(LLAMA_SERVER, id="llama-server", marks=pytest.mark.llama_server),
    ],
)
def test_after_a_rest_only_what_is_new_is_computed_and_the_answers_are_the_same(
    workshop: Workshop, binary: str | None
) -> None:
    seen: list[tuple[list[str], set[int]]] = []

    def look(scheduler: Scheduler) -> None:
        assert stat.S_IMODE(scheduler.starts.kept.directory.stat().st_mode) == 0o700
        assert {stat.S_IMODE(path.stat().st_mode) for path in files(scheduler)} == {0o600}
        seen.append(([path.name[-6:] for path in files(scheduler)], {path.stat().st_size for path in files(scheduler)}))

    with_files = after_a_rest(workshop, Slow(binary), meanwhile=look)
    without = after_a_rest(workshop, Slow(binary), may_be_kept=False)

    assert [names for names, _ in seen] == [["-0.bin", "-1.bin"]] * 2  # those of the first rest were read, and are gone
    assert [one.said for one in with_files] == [one.said for one in without]
    first, again, anew = with_files[:2], with_files[2:], without[2:]
    assert all(one.computed < 0.6 * other.computed for one, other in zip(again, anew, strict=True))
    assert all(one.cached >= begun.computed for one, begun in zip(again, first, strict=True))
    assert all(one.cached < 30 for one in anew)


@pytest.mark.engine
def test_nothing_is_kept_of_a_model_that_computes_its_prompts_in_no_time(workshop: Workshop) -> None:
    left: list[list[Path]] = []

    after_a_rest(workshop, LlamaCpp(None), meanwhile=lambda scheduler: left.append(files(scheduler)))

    assert left == [[], []]


@pytest.mark.engine
def test_nothing_is_kept_of_who_may_not_be_on_record_or_of_a_prompt_with_a_secret(workshop: Workshop) -> None:
    left: list[list[Path]] = []
    after_a_rest(workshop, Slow(None), may_be_kept=False, meanwhile=lambda scheduler: left.append(files(scheduler)))

    def refuse(scheduler: Scheduler) -> None:
        left.append([path for path in files(scheduler) if left[1:]])
        scheduler.starts.kept.mask = lambda text: text.replace("1 bada", "…")

    told = after_a_rest(workshop, Slow(None), meanwhile=refuse)

    assert left[:2] == [[], []]
    assert len(left[-1]) == 1
    assert told[2].cached > 300  # the first rest had no secret yet


@pytest.mark.engine
@pytest.mark.parametrize("harm", ["cut", "gone", "garbage"])
def test_a_file_that_cannot_be_read_costs_what_was_kept_and_nothing_more(
    workshop: Workshop, harm: str, caplog: pytest.LogCaptureFixture
) -> None:
    def spoil(scheduler: Scheduler) -> None:
        for path in files(scheduler):
            if harm == "gone":
                path.unlink()
            else:
                size = path.stat().st_size
                path.write_bytes(path.read_bytes()[: size // 2] if harm == "cut" else b"\x55" * size)

    told = after_a_rest(workshop, Slow(None), meanwhile=spoil)

    assert all(one.cached < 30 for one in told[2:])
    assert ("computed again" in caplog.text) == (harm == "garbage")


@pytest.mark.engine
def test_an_engine_that_dies_of_a_file_is_started_once_more_without_it(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asks = kept_prompts._ask

    async def ask(session: Session, slot: int, action: str, path: Path) -> dict[str, int]:
        if action == "restore":
            children()[0].kill()
        return await asks(session, slot, action, path)

    monkeypatch.setattr(kept_prompts, "_ask", ask)

    told = after_a_rest(workshop, Slow(None))

    assert all(one.cached < 30 for one in told[2:])
    assert "computed again: the engine broke off" in caplog.text


@pytest.mark.engine
def test_a_file_that_was_not_written_to_its_end_in_time_goes(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[list[Path]] = []
    asks = kept_prompts._ask

    async def ask(session: Session, slot: int, action: str, path: Path) -> dict[str, int]:
        await asks(session, slot, action, path)
        raise TimeoutError

    monkeypatch.setattr(kept_prompts, "_ask", ask)

    after_a_rest(workshop, Slow(None), meanwhile=lambda scheduler: left.append(files(scheduler)))

    assert left == [[], []]


@pytest.mark.engine
def test_files_have_bounds_on_a_disk(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[int] = []
    of_a_slot = needs(LlamaCpp(None), workshop.target(1024, parallel=2))[0].memory.kv_bytes // 2
    monkeypatch.setattr(kept_prompts, "_MOST_BYTES", of_a_slot)
    after_a_rest(workshop, Slow(None), meanwhile=lambda scheduler: left.append(len(files(scheduler))))
    monkeypatch.undo()
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(1 << 40, 1 << 40, 1 << 20))

    after_a_rest(workshop, Slow(None), meanwhile=lambda scheduler: left.append(len(files(scheduler))))

    assert left == [1, 1, 0, 0]


@pytest.mark.engine
def test_who_comes_while_files_are_written_is_served_and_the_model_stays(workshop: Workshop) -> None:
    scheduler = workshop.scheduler(engine=Slow(None))
    target = workshop.target(1024, parallel=1, keep_alive_seconds=300)
    ask = by_leases(scheduler, target, may_be_kept=True)

    async def story() -> None:
        conversation = Conversation(1, length=60)
        await conversation.turn(ask)
        (runner,) = scheduler.runners()
        kept = scheduler.starts.kept

        saves = kept.save(runner)
        turn = conversation.turn(ask)
        ended, told = await asyncio.gather(saves, turn)

        assert not ended
        assert told.cached > 300
        assert scheduler.runners() == [runner]
        assert not files(scheduler)

    play(scheduler, story)


def test_files_of_an_earlier_daemon_go_when_one_starts(workshop: Workshop) -> None:
    directory = workshop.directory / "run" / "prompts"
    directory.mkdir(parents=True)
    (directory / "0123456789ab-0.bin").write_bytes(b"what somebody asked")

    scheduler = workshop.scheduler()

    assert files(scheduler) == []


def test_a_model_with_a_projector_or_with_who_guesses_keeps_nothing() -> None:
    engine, options = LlamaCpp(None), ServingOptions(mode="completion")
    beside = Companion(Path("m"), None)

    def saves(*flags: str, **files: Companion) -> str | None:
        model = LocalModel(path=Path("m"), companions=Companions(**files))
        return engine.saves_slots(model, replace(options, runtime_flags=flags))

    assert saves() == engine.program
    assert saves("--spec-type", "none") == engine.program
    assert saves(mmproj=beside) is saves(draft=beside) is saves("--spec-type", "ngram-simple") is None
    assert saves("--no-cache-prompt") is None
