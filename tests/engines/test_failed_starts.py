"""Starts of the real child that fail: one sentence each, and nothing is left."""

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from dmrc.engines.child_engine import ChildEngine
from dmrc.engines.child_log import ChildLog
from dmrc.engines.engine import Launch
from dmrc.engines.http_client.connectors import UnixConnector
from dmrc.engines.llama_cpp.engine import LlamaCpp
from dmrc.engines.process import Child, EngineProcess
from dmrc.errors import EngineStartError, InsufficientMemoryError
from tests.engines.child import launch_in, started
from tests.polling import eventually
from tests.processes import has_ended
from tests.tiny_gguf import write_tiny_llama

pytestmark = pytest.mark.engine


def failure_of(directory: Path, **changes: object) -> EngineStartError | InsufficientMemoryError:
    async def run() -> EngineStartError | InsufficientMemoryError:
        launch = launch_in(directory, **changes)
        async with started(launch) as process:
            with pytest.raises((EngineStartError, InsufficientMemoryError)) as caught:
                await process.wait_ready()
        assert not launch.socket.exists()
        return caught.value

    return asyncio.run(run())


def test_a_failed_start_is_one_sentence_and_leaves_its_log(tmp_path: Path) -> None:
    (tmp_path / "text.gguf").write_text("This is no model." * 100)

    error = failure_of(tmp_path, gguf=tmp_path / "text.gguf")

    assert str(error) == (
        "model 'ai/tiny:latest' does not start: the file is not GGUF. "
        f"Package a GGUF file: dmrc package --gguf FILE REFERENCE. The log: {tmp_path / 'e.log'}"
    )
    assert "invalid magic characters" in (tmp_path / "e.log").read_text()


def test_an_unknown_architecture_is_named_with_the_engines_version(tmp_path: Path) -> None:
    model = write_tiny_llama(tmp_path / "new.gguf", architecture="mystery")

    assert "xllamacpp 20" in (message := str(failure_of(tmp_path, gguf=model)))
    assert "does not know the architecture 'mystery'" in message


def test_a_broken_template_and_a_missing_tensor_are_named(tiny: Path, tmp_path: Path) -> None:
    model = write_tiny_llama(tmp_path / "template.gguf", chat_template="{% for x in %}")
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(tiny.read_bytes().replace(b"blk.1.attn_v.weight", b"blk.1.attn_x.weight"))

    assert "its chat template cannot be parsed" in str(failure_of(tmp_path, gguf=model))
    assert "has no tensor 'blk.1.attn_v.weight'" in str(failure_of(tmp_path, gguf=damaged))


def test_the_log_of_an_earlier_start_explains_nothing(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "e.log").write_text("E gguf_init_from_reader: invalid magic characters: 'hell', expected 'GGUF'\n")

    assert "cannot be opened" in str(failure_of(tmp_path, gguf=tmp_path / "absent.gguf"))


def test_a_child_that_makes_no_progress_is_given_up(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dmrc.engines.process.STALL_SECONDS", 0.3)

    async def run() -> None:
        async with started(launch_in(tmp_path, gguf=tiny)) as process:
            os.kill(process.pid, signal.SIGSTOP)
            with pytest.raises(EngineStartError, match="made no progress"):
                await process.wait_ready()
            os.kill(process.pid, signal.SIGCONT)

    asyncio.run(run())


def test_the_deadline_moves_while_the_load_goes_on(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A load of many gigabytes takes longer than any deadline, and says so in its log."""
    monkeypatch.setattr("dmrc.engines.process.STALL_SECONDS", 3.0)
    began = time.monotonic()

    async def run() -> None:
        async with started(launch_in(tmp_path, gguf=tiny), SlowToLoad()) as process:
            await process.wait_ready()

    asyncio.run(run())

    assert time.monotonic() - began > 3.5


class SlowToLoad(LlamaCpp):
    """The real engine behind a load that writes to its log for longer than a child may stall."""

    def __init__(self) -> None:
        super().__init__(None)

    def command(self, launch: Launch) -> list[str]:
        load = 'for step in 1 2 3 4 5 6 7 8; do echo "loaded $step"; sleep 0.5; done; exec "$@"'
        return ["sh", "-c", load, "sh", *super().command(launch)]


def test_a_program_that_is_not_there_is_an_error_of_the_engine(tiny: Path, tmp_path: Path) -> None:
    class Absent(ChildEngine):
        name = program = "absent"

        def command(self, launch: Launch) -> list[str]:
            return [str(tmp_path / "absent")]

    with pytest.raises(EngineStartError, match="cannot be started"):
        asyncio.run(Absent().start(launch_in(tmp_path, gguf=tiny)))


def test_a_child_that_has_gone_before_anybody_looked_is_a_failed_start(tiny: Path, tmp_path: Path) -> None:
    async def run() -> None:
        process = await asyncio.create_subprocess_exec("false")
        eventually(lambda: has_ended(process.pid), "its end")  # while the event loop stands, and hears nothing of it
        log = tmp_path / "e.log"
        told = Child(
            command=["false"],
            program="false",
            model="ai/tiny",
            socket=tmp_path / "e.sock",
            connector=UnixConnector(tmp_path / "e.sock"),
            log=log,
        )
        child = EngineProcess(process, told, ChildLog(log))

        with pytest.raises(EngineStartError, match="exit code 1"):
            await child.wait_ready()
        await child.stop()

    asyncio.run(run())
