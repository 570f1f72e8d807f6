"""Ten thousand interactions: read in a second, found in a millisecond, in little memory. Times are a processor's."""

import itertools
import json
import shutil
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path
from statistics import median, quantiles

import pytest

from dmrc.cassettes.interaction import Asked, Interaction
from dmrc.cassettes.lines import header, line_of
from dmrc.cassettes.runs import ReplayRun
from dmrc.project import Replay
from tests.cassettes.exchanges import chat, exchange, streamed

pytestmark = pytest.mark.fast

COUNT = 10_000
SYSTEM = "Today is Saturday, 28 November 2026, 10:15. " + "You answer questions of customers, and you are brief. " * 22
TOOLS = [{"type": "function", "function": {"name": "order", "parameters": {"type": "object", "properties": {}}}}]
WORDS = [f" word{number}" for number in range(60)]


def request(number: int) -> dict:
    text = f"Customer {number} asks where order {number * 7} is. " + f"Line {number} of the conversation so far. " * 25
    return chat("", stream=True, tools=TOOLS) | {
        "messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": text}]
    }


def asked(number: int, **changes: object) -> Asked:
    return Asked.of(exchange({**request(number), **changes}, streamed(["x"])))


@pytest.fixture(scope="module")
def directory(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("cassettes")
    answer = Interaction.of(exchange(request(0), streamed(WORDS)))
    tail = line_of(answer).partition(', "answer": ')[2]
    with (place / "api.jsonl").open("w") as file:
        file.write(header("api") + "\n")
        for number in range(COUNT):
            one = replace(answer.asked, body=request(number))
            head = {"dialect": one.dialect, "operation": one.operation, "path": one.path, "model": one.model}
            file.write(f'{{"request": {json.dumps({**head, "body": one.body})}, "answer": {tail}\n')
    return place


def load(directory: Path) -> ReplayRun:
    return ReplayRun.load(Replay(directory=str(directory), mode="replay"))


def pace(directory: Path) -> float:
    """Return how much slower this machine is than one that reads all lines as plain JSON in a second; 1 at least."""
    began = time.process_time()
    with (directory / "api.jsonl").open() as file:
        for line in itertools.islice(file, 1, None, 5):
            json.loads(line)
    return max(1.0, 5 * (time.process_time() - began))


def test_ten_thousand_interactions_are_read_and_found_in_time(directory: Path) -> None:
    size = len(json.dumps(request(9999)))
    before = pace(directory)
    began = time.process_time()
    run = load(directory)
    read_seconds = time.process_time() - began

    found = {True: [], False: []}
    for number in range(0, COUNT, 25):
        for stream in (True, False):
            one = asked(number)
            began = time.process_time()
            taken = run.take("api", one, stream=stream)
            found[stream].append((time.process_time() - began) * 1000)
            taken.released()
            assert taken.place == f"api.jsonl:{number + 2}"
    began = time.process_time()
    miss = run.miss("api", asked(5000, messages=[*request(5000)["messages"], {"role": "user", "content": "And?"}]))
    miss_seconds = time.process_time() - began
    run.close()
    slower = max(before, pace(directory))

    figures = {form: (median(times), quantiles(times, n=100)[98]) for form, times in found.items()}
    print(f"request {size} bytes; read {read_seconds:.2f} s; median and p99 ms {figures}; miss {miss_seconds:.2f} s")
    assert 2000 <= size <= 3000
    assert read_seconds <= slower
    assert figures[True][0] <= slower
    assert figures[False][0] <= slower
    assert miss_seconds <= slower
    assert "the nearest is api.jsonl:5002: message 3 (user) is not in it" in miss.message


def test_what_is_added_to_many_is_written_at_once(directory: Path, tmp_path: Path) -> None:
    """Lines that were read before are not read again: nobody waits for a recording."""
    shutil.copy(directory / "api.jsonl", tmp_path)
    run = ReplayRun.load(Replay(directory=str(tmp_path), mode="record"))
    run.add(exchange(chat("New", stream=True), streamed(WORDS)))

    began = time.process_time()
    run.flush()
    seconds = time.process_time() - began
    run.close()

    print(f"written in {seconds:.2f} s")
    assert seconds <= 0.5


def test_an_interaction_needs_little_memory(directory: Path, tmp_path: Path) -> None:
    """A tenth of them, since each allocation is looked at."""
    with (directory / "api.jsonl").open() as file, (tmp_path / "api.jsonl").open("w") as tenth:
        tenth.writelines(next(file) for _ in range(COUNT // 10))
    tracemalloc.start()
    try:
        run = load(tmp_path)
        run.miss("api", asked(1, temperature=0.3))
        _, peak = tracemalloc.get_traced_memory()
        run.close()
    finally:
        tracemalloc.stop()

    print(f"at most {peak / 1e6:.1f} MB for {COUNT // 10}")
    assert peak <= 5e6
