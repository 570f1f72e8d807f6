"""A store of a million exchanges: a page of the list, a search, and how long an insertion waits while old ones go."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from dmrc.capture.database import ExchangeDatabase
from dmrc.capture.queries import ExchangeFilter
from dmrc.capture.recorder import Recorder
from dmrc.exchange import Exchange, id_at
from dmrc.gateway.daemon import SWITCH_SECONDS
from tests.bench.figure import Figure

_COUNT = 1_000_000
_FIRST = 1_700_000_000.0
_BATCH = 2_000
_RUNS = 21
_DELETED = 20_000
_WORDS = (Path(__file__).parent.parent.parent / "README.md").read_text().split()
_QUERIES = {
    "newest": ExchangeFilter(),
    "of a project and a service": ExchangeFilter(project="p3", service="s1"),
    "of a model": ExchangeFilter(model="m2"),
    "failed": ExchangeFilter(failed=True),
    "status 404": ExchangeFilter(status=(404, 404)),
    "slow": ExchangeFilter(slower_ms=5000),
    "of one minute a year ago": ExchangeFilter(since=_FIRST + 60, before=_FIRST + 120),
}
_SEARCHES = {"a rare word": "needle500000", "a common word": "models", "two common words": "models gateway"}


def measure() -> list[Figure]:
    """Make the store in a temporary directory, which takes some minutes, and measure."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "exchanges.sqlite3"
        with closing(ExchangeDatabase(path)) as database:
            fill(database, _COUNT, _FIRST)
            pages = {name: _median_ms(database, query) for name, query in _QUERIES.items()}
            searches = {name: _median_ms(database, ExchangeFilter(text=text)) for name, text in _SEARCHES.items()}
        return [
            *(_figure(f"dmrc requests, a page of 1,000,000: {name}", value, 50) for name, value in pages.items()),
            *(_figure(f"dmrc requests --grep in 1,000,000: {name}", value, 200) for name, value in searches.items()),
            *_pauses(path),
        ]


def _figure(name: str, value: float, bar: float) -> Figure:
    return Figure(name=name, value=value, unit="ms", bar=bar, runs=_RUNS)


def _median_ms(database: ExchangeDatabase, query: ExchangeFilter) -> float:
    times = []
    for _ in range(_RUNS):
        started = time.perf_counter()
        database.page(query, 50)
        times.append((time.perf_counter() - started) * 1000)
    return statistics.median(times)


def fill(database: ExchangeDatabase, count: int, first: float) -> None:
    """Record so many exchanges, one a second from `first` on, in Unix seconds."""
    for start in range(0, count, _BATCH):
        database.insert_many(_exchange(number, first) for number in range(start, start + _BATCH))


def _id(number: int, first: float) -> str:
    return f"{id_at(first + number)}-7000-8000-{number:012x}"


def _first_of_conversation(number: int) -> int:
    """Return the number of the first request: five conversations of seven go on side by side, and as many singles."""
    return number if number % 10 < 5 else number - number % 70 + number % 10


def _exchange(number: int, first: float = _FIRST) -> Exchange:
    chance = random.Random(number)
    words = " ".join(chance.choices(_WORDS, k=20))
    request = {"model": "m", "messages": [{"role": "user", "content": f"{words} needle{number}"}]}
    answer = {"choices": [{"message": {"role": "assistant", "content": " ".join(chance.choices(_WORDS, k=10))}}]}
    at = first + number
    return Exchange(
        id=_id(number, first),
        conversation_id=_id(_first_of_conversation(number), first),
        project=f"p{number % 7}",
        service=f"s{number % 3}",
        method="POST",
        path="/engines/v1/chat/completions",
        operation="chat",
        model_requested="m",
        model_key=f"m{number % 5}",
        model_reference=f"docker.io/ai/m{number % 5}:latest",
        received_at=at,
        first_token_ms=80.0,
        total_ms=chance.expovariate(1 / 900),
        status=404 if number % 1000 == 0 else 200,
        request_headers={"user-agent": "bench"},
        request_body=json.dumps(request).encode(),
        response_headers={"content-type": "application/json"},
        response_body=json.dumps(answer).encode(),
    )


class _Timed(ExchangeDatabase):
    """Notes the CPU time of each transaction of the thread that trims."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.trimmer: threading.Thread | None = None
        self.held_ms: list[float] = []

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        started = time.thread_time()
        with super()._writing() as connection:
            yield connection
        if threading.current_thread() is self.trimmer:
            self.held_ms.append((time.thread_time() - started) * 1000)


def _pauses(path: Path) -> list[Figure]:
    """Insert one exchange after another, first alone, then while a thread deletes the oldest."""
    with closing(_Timed(path)) as database:
        alone = list(_insertions(database, "a", lambda: False, 400))
        trimmed = threading.Event()

        def trim() -> None:
            database.trim(max_count=database.count() - _DELETED)
            trimmed.set()

        database.trimmer = threading.Thread(target=trim)
        database.trimmer.start()
        beside = list(_insertions(database, "b", trimmed.is_set, 100_000))
        database.trimmer.join()
        quiet, lag = asyncio.run(_lags(database))
    return [
        Figure(
            name=f"retention deletes {_DELETED:,}: longest pause of an event loop that records beside it",
            value=max(lag),
            unit="ms",
            bar=20,
            ours=f"99.9 % within {_nearly_all(lag):.1f} ms of {len(lag):,}",
            theirs=f"longest {max(quiet):.1f} ms, 99.9 % within {_nearly_all(quiet):.1f} ms without retention",
        ),
        Figure(
            # Without a bar: it holds the recorder's thread up, and no request.
            name=f"retention deletes {_DELETED:,}: longest transaction, CPU time",
            value=max(database.held_ms),
            unit="ms",
            ours=f"median {statistics.median(database.held_ms):.1f} ms of {len(database.held_ms)}",
        ),
        Figure(
            # Told without a bar: it is the disk's and the scheduler's time too, as the wait without retention shows.
            name="an insertion meanwhile: longest wait",
            value=max(beside),
            unit="ms",
            ours=f"median {statistics.median(beside):.1f} ms",
            theirs=f"longest {max(alone):.1f} ms, median {statistics.median(alone):.1f} ms without retention",
        ),
    ]


async def _lags(database: ExchangeDatabase) -> tuple[list[float], list[float]]:
    """Return by how many milliseconds a request comes too late on an event loop that records one every 2 ms.

    First without retention, then while the oldest are deleted, in threads as the daemon has them.
    """
    sys.setswitchinterval(SWITCH_SECONDS)
    recorder = Recorder(database)
    numbers = itertools.count()

    async def run(is_done: Callable[[], bool]) -> list[float]:
        late = []
        while not is_done():
            due = time.perf_counter() + 0.002
            await asyncio.sleep(0.002)
            number = next(numbers)
            exchange = replace(_exchange(_COUNT + number), id=f"{id_at(time.time())}-7c00-8000-{number:012x}")
            recorder.record(exchange)
            late.append((time.perf_counter() - due) * 1000)
        return late

    end = time.monotonic() + 10
    quiet = await run(lambda: time.monotonic() > end)
    trimming = asyncio.create_task(asyncio.to_thread(database.trim, max_count=database.count() - _DELETED))
    busy = await run(trimming.done)
    assert await trimming >= _DELETED
    await asyncio.to_thread(recorder.close)
    return quiet, busy


def _nearly_all(values: list[float]) -> float:
    return statistics.quantiles(values, n=1000)[-1]


def _insertions(database: ExchangeDatabase, kind: str, is_done: Callable[[], bool], count: int) -> Iterator[float]:
    """Yield the milliseconds that each insertion took."""
    for number in range(count):
        exchange = replace(_exchange(_COUNT + number), id=f"{id_at(time.time())}-7{kind}00-8000-{number:012x}")
        started = time.perf_counter()
        database.insert_many([exchange])
        yield (time.perf_counter() - started) * 1000
        if is_done():
            return
        time.sleep(0.002)
