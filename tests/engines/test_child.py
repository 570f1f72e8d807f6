"""The real child of engine `llama.cpp`, on a tiny model: ready, used, refused, ended."""

import asyncio
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from dmrc.engines.process import STOP_SECONDS
from tests.engines.child import Child, deltas, launch_in, real_child, started

CHAT = {"messages": [{"role": "user", "content": "Tell me a fact."}], "max_tokens": 12}


def test_a_chat_streams_under_the_models_name(tiny: Path, tmp_path: Path) -> None:
    async def use(child: Child) -> None:
        events = [event async for event in child.stream("/v1/chat/completions", CHAT)]
        assert events[-1] == "[DONE]"
        assert len(deltas(events)) > 12
        assert all('"model":"ai/tiny:latest"' in event for event in events[:-1])
        assert str(tiny) not in "".join(events)

    real_child(tmp_path, use, gguf=tiny)


def test_only_what_the_gateway_needs_is_served_and_only_to_us(tiny: Path, tmp_path: Path) -> None:
    async def use(child: Child) -> None:
        mode = child.launch.socket.stat().st_mode
        assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600
        assert "llamacpp:requests_processing" in (await child.get("/metrics"))[1]
        assert (await child.get("/slots"))[0] == 501
        assert (await child.get("/"))[0] == 404
        assert '"temperature":0.25' in (await child.get("/props"))[1].replace(" ", "")

    real_child(tmp_path, use, gguf=tiny, runtime_flags=("--temp", "0.25"))


@pytest.mark.parametrize("parallel", [1, 2, 3, 4])
def test_every_slot_has_the_whole_context_and_no_more(tiny: Path, tmp_path: Path, parallel: int) -> None:
    async def use(child: Child) -> None:
        async def ask(tokens: int) -> tuple[int, dict[str, dict[str, object]]]:
            return await child.post("/v1/completions", {"prompt": [300] * tokens, "max_tokens": 2})

        for status, answer in await asyncio.gather(*(ask(500) for _ in range(parallel))):
            assert (status, answer["usage"]["prompt_tokens"]) == (200, 500)
        status, answer = await ask(520)
        assert (status, answer["error"]["type"]) == (400, "exceed_context_size_error")
        assert answer["error"]["n_ctx"] == 512

    # llama.cpp rounds each slot up to 256 tokens, so a smaller context could not tell.
    real_child(tmp_path, use, gguf=tiny, context_size=512, parallel=parallel)


def test_embeddings_come_from_a_child_of_that_mode(tiny: Path, tmp_path: Path) -> None:
    async def use(child: Child) -> None:
        status, answer = await child.post("/v1/embeddings", {"input": ["one", "two"]})
        assert status == 200
        assert [len(item["embedding"]) for item in answer["data"]] == [64, 64]

    real_child(tmp_path, use, gguf=tiny, mode="embedding", runtime_flags=("--pooling", "mean"))


def test_a_grammar_of_the_project_binds_the_answers(tiny: Path, tmp_path: Path) -> None:
    async def use(child: Child) -> str:
        _, answer = await child.post("/v1/completions", {"prompt": "fact", "max_tokens": 4})
        return str(answer["choices"][0]["text"])

    assert real_child(tmp_path, use, gguf=tiny, runtime_flags=("--grammar", 'root ::= "ba"+')).strip("ba") == ""


def test_sigterm_ends_it_at_once_with_0_even_while_it_answers(tiny: Path, tmp_path: Path) -> None:
    async def use(child: Child) -> None:
        stream = child.stream("/v1/completions", {"prompt": "fact", "max_tokens": 2000})
        assert await anext(stream)
        await child.until_sigterm_is_handled()
        began = time.monotonic()
        await child.process.stop()
        assert child.process.exit_code == 0
        assert time.monotonic() - began < STOP_SECONDS
        assert not child.launch.socket.exists()
        assert child.process.resident_bytes() == 0
        await stream.aclose()

    real_child(tmp_path, use, gguf=tiny, context_size=2048)


def test_a_child_that_ignores_sigterm_is_killed(tiny: Path, tmp_path: Path) -> None:
    async def use(child: Child) -> None:
        await child.until_sigterm_is_handled()
        os.kill(child.process.pid, signal.SIGSTOP)
        await child.process.stop(grace_seconds=0.2)
        assert child.process.exit_code == -signal.SIGKILL

    real_child(tmp_path, use, gguf=tiny)


def test_a_stop_that_is_cancelled_leaves_nothing(tiny: Path, tmp_path: Path) -> None:
    async def use(child: Child) -> None:
        await child.until_sigterm_is_handled()
        os.kill(child.process.pid, signal.SIGSTOP)
        stopping = asyncio.create_task(child.process.stop())
        await asyncio.sleep(0)
        stopping.cancel()
        await asyncio.gather(stopping, return_exceptions=True)
        assert await asyncio.wait_for(child.process.wait_exit(), 10) == -signal.SIGKILL
        assert not child.launch.socket.exists()

    real_child(tmp_path, use, gguf=tiny)


def test_a_start_that_is_cancelled_leaves_nothing(tiny: Path, tmp_path: Path) -> None:
    async def run() -> None:
        async with started(launch_in(tmp_path, gguf=tiny)) as process:
            waiting = asyncio.create_task(process.wait_ready())
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        assert process.exit_code is not None
        assert not psutil.pid_exists(process.pid)

    asyncio.run(run())


def test_a_killed_child_is_reaped_and_its_failure_says_so(tiny: Path, tmp_path: Path) -> None:
    async def use(child: Child) -> None:
        os.kill(child.process.pid, signal.SIGKILL)
        assert await child.process.wait_exit() == -signal.SIGKILL
        assert not psutil.pid_exists(child.process.pid)
        # Somebody did it: the system counts whom it kills for want of memory, and has killed nobody meanwhile.
        assert "it was killed (SIGKILL)" in str(child.process.failure())
        assert "the system killed it" not in str(child.process.failure())
        assert child.launch.socket.exists()
        await child.process.stop()
        assert not child.launch.socket.exists()

    real_child(tmp_path, use, gguf=tiny)


def test_a_stale_socket_is_no_obstacle(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "e.sock").write_bytes(b"")

    async def use(child: Child) -> int:
        return (await child.get("/health"))[0]

    assert real_child(tmp_path, use, gguf=tiny) == 200


@pytest.mark.parametrize("watch", ["the system's signal", "a watching process"])
def test_no_child_outlives_a_parent_that_was_killed(tiny: Path, tmp_path: Path, watch: str) -> None:
    """The second way is for systems without PR_SET_PDEATHSIG; this one is told that it is such a system."""
    program = """
import asyncio, sys
from pathlib import Path
from dmrc.engines.engine import Launch
from dmrc.project import ServingOptions
from tests.engines.child import local_model
from dmrc.engines.llama_cpp.engine import LlamaCpp
from dmrc.engines.process import EngineProcess

class Engine(LlamaCpp):
    def command(self, launch):
        python, *arguments, text = super().command(launch)
        if sys.argv[3] == "the system's signal":
            return [python, *arguments, text]
        started = "import sys; sys.platform = 'other'; from dmrc.engines.llama_cpp.xllamacpp_child import main;"
        started += " main(sys.argv[1])"
        return [python, "-c", started, text]

async def main():
    directory = Path(sys.argv[2])
    model = local_model(Path(sys.argv[1]))
    launch = Launch(name="m", model=model, options=ServingOptions(context_size=256), parallel=1,
                    socket=directory / "e.sock", log=directory / "e.log")
    process = (await Engine(None).start(launch)).process
    await process.wait_ready()
    print(process.pid, flush=True)
    await process.wait_exit()

asyncio.run(main())
"""
    arguments = [sys.executable, "-c", program, str(tiny), str(tmp_path), watch]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        family = [child, *child.children()]

        parent.kill()

    assert len(family) == (1 if watch == "the system's signal" else 2)
    assert psutil.wait_procs(family, timeout=20)[1] == []


def test_a_large_log_is_moved_away_before_a_start(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "e.log").write_bytes(b"old\n" * (2 << 20))

    async def use(child: Child) -> None:
        deadline = time.monotonic() + 10
        while "model loaded" not in child.process.log_tail():  # llama.cpp writes its log from a thread of its own
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)

    real_child(tmp_path, use, gguf=tiny)
    assert (tmp_path / "e.log").stat().st_size < 1 << 20
    assert (tmp_path / "e.old.log").read_bytes().startswith(b"old\n")


def test_the_log_of_a_child_that_runs_stays_bounded_and_goes_on(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dmrc.engines.child_log.LOG_BYTES", 4096)

    async def use(child: Child) -> None:
        deadline = time.monotonic() + 30
        while not (tmp_path / "e.old.log").exists():
            await child.post("/v1/completions", {"prompt": "fact", "max_tokens": 1})
            assert time.monotonic() < deadline
        await child.post("/v1/completions", {"prompt": "fact", "max_tokens": 1})
        assert (tmp_path / "e.log").stat().st_size < 3 * 4096

    real_child(tmp_path, use, gguf=tiny)
