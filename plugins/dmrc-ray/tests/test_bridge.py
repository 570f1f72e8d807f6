"""The bridge on a real cluster of three nodes: shared, taken over, healed, and removed."""

from __future__ import annotations

import http.client
import json
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from dmrc.project import ReplicaRange, ServingOptions
from tests.ray_bridges import Bridge, model_at, servers, until
from tests.ray_cluster import RayCluster
from tests.tiny_gguf import write_tiny_llama


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny.gguf"
    write_tiny_llama(path, context_length=4096)
    return path


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A directory with a short name: it is for sockets."""
    directory = Path(tempfile.mkdtemp(prefix="b-", dir="/tmp"))
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def options(ray_cluster: RayCluster) -> ServingOptions:
    return ServingOptions(context_size=512, parallel=2, ray_address=ray_cluster.address)


@pytest.fixture
def bridges(short_path: Path) -> Iterator[list[Bridge]]:
    """Bridges that are ended after the test, whatever becomes of it."""
    begun: list[Bridge] = []
    yield begun
    for bridge in begun:
        with suppress(Exception):
            bridge.end()


def names(bridge: Bridge) -> list[str]:
    return [each["name"] for each in bridge.replicas()]


def test_a_bridge_that_was_killed_leaves_its_application_and_the_next_takes_it_over(
    short_path: Path, tiny: Path, options: ServingOptions, bridges: list[Bridge]
) -> None:
    first = Bridge(short_path / "a", model_at(tiny), options)
    bridges.append(first.ready())
    (before,) = first.wait_for(1)
    stream = first.chat(tokens=400, stream=True)
    stream.read(10)

    first.kill()
    second = Bridge(short_path / "a", model_at(tiny), options).ready()
    bridges.append(second)

    assert names(second) == [before["name"]]
    # What the killed one held is free again.
    until(lambda: [each["in_use"] for each in second.replicas()] == [0], 60, str(second.replicas()))
    assert second.chat().status == 200
    assert second.end() == 0
    until(lambda: not servers(tiny), 60, str(servers(tiny)))


def test_two_homes_share_an_application_and_the_last_one_removes_it(
    short_path: Path, tiny: Path, options: ServingOptions, bridges: list[Bridge]
) -> None:
    here = Bridge(short_path / "a", model_at(tiny), options).ready()
    bridges.append(here)
    there = Bridge(short_path / "b", model_at(tiny), options).ready()
    bridges.append(there)
    other = Bridge(short_path / "b", model_at(tiny), options, runner="2" * 12).ready()
    bridges.append(other)

    assert names(here) == names(there) != names(other)
    here.end()
    assert there.chat().status == 200
    there.end()

    until(lambda: len(servers(tiny)) == 1, 60, str(servers(tiny)))
    assert other.chat().status == 200
    other.end()
    until(lambda: not servers(tiny), 60, str(servers(tiny)))


def test_an_answer_says_where_it_is_from_is_that_of_one_machine_and_needs_the_key_of_its_replica(
    short_path: Path, tiny: Path, options: ServingOptions, bridges: list[Bridge]
) -> None:
    bridge = Bridge(short_path / "a", model_at(tiny), options).ready()
    bridges.append(bridge)
    (replica,) = bridge.wait_for(1)

    answer = bridge.chat()

    assert answer.status == 200
    assert answer.headers["x-dmrc-replica"] == replica["name"]
    assert answer.headers["x-dmrc-node"] == replica["node"]
    assert replica["node"] in ("node-1", "node-2", "node-3")
    assert json.loads(answer.read())["model"] == "ai/tiny"
    assert "slot" in bridge.ask("GET", f"/replicas/{replica['name']}/log?lines=50").read().decode()
    assert bridge.ask("GET", "/replicas/nobody/log").status == 404
    (server,) = servers(tiny)
    (listens,) = [each.laddr for each in server.net_connections() if each.status == psutil.CONN_LISTEN]
    assert _status_without_key(listens) == 401


def _status_without_key(address: Any) -> int:
    connection = http.client.HTTPConnection(*address, timeout=10)
    connection.request("POST", "/v1/chat/completions", "{}")
    return connection.getresponse().status


def test_a_replica_whose_server_died_is_replaced_and_the_request_that_had_no_byte_goes_elsewhere(
    short_path: Path, tiny: Path, options: ServingOptions, bridges: list[Bridge]
) -> None:
    bridge = Bridge(short_path / "a", model_at(tiny), options).ready()
    bridges.append(bridge)
    (before,) = bridge.wait_for(1)
    (server,) = servers(tiny)
    server.send_signal(signal.SIGSTOP)
    answers: list[http.client.HTTPResponse] = []
    asking = threading.Thread(target=lambda: answers.append(bridge.chat()))
    asking.start()
    until(lambda: bridge.replicas()[0]["in_use"] == 1, 30, "the request does not come to the replica")

    server.kill()

    asking.join(120)
    (answer,) = answers
    assert answer.status == 200
    assert answer.headers["x-dmrc-instead-of"].startswith(f"{before['name']} on {before['node']}: ")
    (after,) = bridge.wait_for(1)
    assert answer.headers["x-dmrc-replica"] == after["name"] != before["name"]


def test_requests_of_a_session_go_to_one_replica(
    short_path: Path, tiny: Path, options: ServingOptions, bridges: list[Bridge]
) -> None:
    said = replace(options, parallel=4, replicas=ReplicaRange(min=2, max=2))
    bridge = Bridge(short_path / "a", model_at(tiny), said).ready()
    bridges.append(bridge)
    bridge.wait_for(2)

    def replicas_of(times: int = 8, **headers: str) -> set[str]:
        found = set()
        for _ in range(times):
            answer = bridge.chat(**headers)
            assert json.loads(answer.read())
            found.add(answer.headers["x-dmrc-replica"])
            # Serve goes elsewhere when a replica is full, and hears later than we do that a request has ended.
            until(lambda: not any(each["in_use"] for each in bridge.replicas()), 30, "a request does not end")
        return found

    until(lambda: len(replicas_of()) == 2, 20, "requests without a session all go to one replica")

    # So many that not all of them belong to one replica, whatever its name is.
    sessions = [replicas_of(3, x_session_id=str(number)) for number in range(32)]

    assert [len(each) for each in sessions] == [1] * 32
    assert len(set.union(*sessions)) == 2


def test_the_last_replica_goes_when_nobody_asks_and_comes_back_for_the_next_request(
    short_path: Path, tiny: Path, options: ServingOptions, bridges: list[Bridge]
) -> None:
    bridge = Bridge(short_path / "a", model_at(tiny), replace(options, replicas=ReplicaRange(min=0, max=2))).ready()
    bridges.append(bridge)
    (before,) = bridge.wait_for(1)

    until(lambda: not bridge.replicas(), 60, "the replica stays")

    assert next(bridge.shown())["slots"] == 2  # what is let through to bring the first one
    assert bridge.chat().status == 200
    assert names(bridge) != [before["name"]]


def test_a_replica_that_cannot_start_is_told_in_one_line_and_its_application_goes(
    short_path: Path, tiny: Path, options: ServingOptions, bridges: list[Bridge], tmp_path: Path
) -> None:
    model = model_at(tiny)
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(tiny.read_bytes()[:-1000])
    bridge = Bridge(short_path / "a", replace(model, path=damaged), options)
    bridges.append(bridge)

    assert bridge.process.wait(120) == 1

    (line,) = [each for each in bridge.log.read_text().splitlines() if each.startswith("dmrc-ray: ")]
    assert line.startswith("dmrc-ray: 'ai/tiny' is a damaged GGUF file: its tensors need ")
