"""The log of a replica, on its way through the control connection to a bridge."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from dmrc_ray.control import LONGEST_TEXT, Leases
from dmrc_ray.replica import end_of_log
from dmrc_ray.replica_info import ReplicaInfo
from dmrc_ray.replicas import Replicas


async def with_replicas(log: Path, ask: list[tuple[str, int]]) -> list[str | BaseException | None]:
    """Ask a replica with this log, all at once."""

    async def tell(lines: int) -> str:
        return await asyncio.to_thread(end_of_log, log, lines)

    leases, gone = Leases(), []
    server = await leases.serve("127.0.0.1", "key", tell)
    port = server.sockets[0].getsockname()[1]
    replicas = Replicas("bridge", gone.append)
    replicas.told(
        [ReplicaInfo(name="llm-1", node="box", state="ready", host="127.0.0.1", control_port=port, key="key")]
    )
    starting = ReplicaInfo(name="llm-2", node="box", state="starting")
    while replicas.all()[0].writer is None:
        await asyncio.sleep(0.01)
    replicas.know(starting)
    try:
        return await asyncio.gather(*(replicas.log(*each) for each in ask), return_exceptions=True)
    finally:
        replicas.close()
        server.close()
        assert not gone


def test_several_who_ask_at_once_get_each_their_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("".join(f"line {number}\n" for number in range(100)))

    found = asyncio.run(with_replicas(log, [("llm-1", 1), ("llm-1", 2), ("llm-3", 1)]))

    assert found == ["line 99\n", "line 98\nline 99\n", None]


def test_one_that_has_not_started_is_not_told_to_be_missing(tmp_path: Path) -> None:
    (found,) = asyncio.run(with_replicas(tmp_path / "none", [("llm-2", 1)]))

    assert isinstance(found, ConnectionError)


@pytest.mark.parametrize("letter", ["x", "\N{PILE OF POO}"])
def test_a_log_that_is_too_long_is_cut_and_the_connection_stays_open(tmp_path: Path, letter: str) -> None:
    """A line that cannot be read would close the connection, by which the replica would count as gone."""
    log = tmp_path / "log"
    log.write_text(letter * (5 << 20) + "end\n")

    (found,) = asyncio.run(with_replicas(log, [("llm-1", 10)]))

    assert isinstance(found, str)
    assert found.endswith("end\n")
    assert len(found) == LONGEST_TEXT
    assert len(json.dumps(found)) < 4 << 20
