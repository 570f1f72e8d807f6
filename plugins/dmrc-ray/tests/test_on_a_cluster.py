"""A project on a real cluster of Ray: one head without processors, and three nodes that are killed and come back.

`DMRC_TEST_RAY_KILLS=20` kills as often; a usual run does it 4 times.
"""

import os
import random
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.dmrc_command import Dmrc, temporary_dmrc
from tests.polling import eventually
from tests.ray_cluster import RayCluster
from tests.ray_shop import MODEL, SERVICES, Seen, Shop, callers, servers, wait_until

KILLS = int(os.environ.get("DMRC_TEST_RAY_KILLS", "4"))
BACK_SECONDS = 15.0
ON_RAY = "engine: ray, parallel: 2, keep_alive: 10m, replicas: {min: 1, max: 3, target: 2}"

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow("waits for replicas on a cluster"),
    pytest.mark.timeout(300 + 60 * KILLS),
]


@pytest.fixture(scope="module")
def dmrc_on_ray(ray_cluster: RayCluster, smollm2: Path) -> Iterator[Dmrc]:
    """A dmrc that knows the cluster and has the model."""
    with temporary_dmrc() as dmrc:
        dmrc.environment["RAY_ADDRESS"] = ray_cluster.address
        dmrc.ok("package", "--gguf", smollm2, MODEL)
        yield dmrc


@pytest.fixture
def shop(dmrc_on_ray: Dmrc, ray_cluster: RayCluster) -> Iterator[Shop]:
    """A project with four services; at its end nothing of it is left on the cluster."""
    with Shop.opened(dmrc_on_ray, ON_RAY) as shop:
        yield shop
    eventually(lambda: not servers(ray_cluster), "end of the servers")


def assert_recorded(shop: Shop, seen: list[Seen]) -> dict[str, dict[str, Any]]:
    """Assert that each request is in the record once, with service, node and outcome, and return what is there."""
    names = {one.name for one in seen}

    def look() -> list[dict[str, Any]]:
        rows = [row for row in shop.record() if row["user_agent"] in names]
        return rows if len(rows) >= len(names) else []

    rows = eventually(look, "all of them in the record")
    assert [name for name, count in Counter(row["user_agent"] for row in rows).items() if count > 1] == []
    found = {row["user_agent"]: row for row in rows}
    for one in seen:
        row = found[one.name]
        assert (row["service"], row["status"]) == (one.service, one.status), (one, row)
        assert row["node"] is not None, (one, row)
        assert row["replica"] is not None, (one, row)
        assert (row["error_type"] is None) == one.is_whole, (one, row)
    return found


def assert_only_begun_streams_broke(seen: list[Seen], record: dict[str, dict[str, Any]]) -> None:
    """Assert that what had no byte was answered by another replica, and that each other one names its replica."""
    for one in seen:
        if not one.is_whole:
            assert one.is_stream and one.has_begun, f"it had no byte, and was not repeated: {one}"
            row = record[one.name]
            assert row["node"] in one.text and row["replica"] in one.text, one


def busiest_node(shop: Shop) -> tuple[str, set[str]]:
    """Return the node with the most requests under way, and the names of its replicas."""
    ready = shop.ready()
    in_use: Counter[str] = Counter()
    for replica in ready:
        in_use[replica["node"]] += replica["in_use"] + 1
    busiest = in_use.most_common(1)[0][0]
    return busiest, {replica["name"] for replica in ready if replica["node"] == busiest}


def at_work(shop: Shop, number: int) -> list[dict[str, Any]]:
    """Return the replicas, where there are so many and each of them has a request; else none."""
    found = [replica for replica in shop.ready() if replica["in_use"]]
    return found if len(found) == number else []


def test_replicas_follow_the_load_and_say_the_same_as_one_machine(
    shop: Shop, dmrc_on_ray: Dmrc, ray_cluster: RayCluster
) -> None:
    first = shop.ask("web", name="first")
    assert first.status == 200, first
    assert len(shop.ready()) == 1

    with callers(shop) as seen:
        three = eventually(lambda: at_work(shop, 3), "three replicas that work", seconds=90)
    shop.wait_for(1, seconds=90)

    assert [one for one in seen if not one.is_whole] == []
    assert len({replica["node"] for replica in three}) >= 2
    record = assert_recorded(shop, [first, *seen])
    assert {row["service"] for row in record.values()} == set(SERVICES)
    assert len({row["replica"] for row in record.values()}) == 3
    assert len(servers(ray_cluster)) == 1
    with Shop.opened(dmrc_on_ray, "parallel: 2", "here") as here:
        assert here.ask(name="first").text == first.text


def test_strangers_are_refused_and_another_project_with_the_same_configuration_shares_the_replicas(
    shop: Shop, dmrc_on_ray: Dmrc
) -> None:
    shop.ask()
    before = [replica["name"] for replica in shop.ready()]

    stranger = shop.ask("sk-dmrc-of-nobody")
    with Shop.opened(dmrc_on_ray, ON_RAY, "other") as other:
        shared = other.ask()

    assert stranger.status == 401, stranger
    assert shared.status == 200, shared
    assert [replica["name"] for replica in shop.ready()] == before
    assert shop.ask().status == 200


def test_the_daemon_killed_and_started_again_finds_its_application(shop: Shop, ray_cluster: RayCluster) -> None:
    assert shop.ask().status == 200
    before = shop.ready()
    own = {process.pid for process in servers(ray_cluster)}
    daemon = shop.dmrc.daemon()

    daemon.kill()
    daemon.wait()
    shop.dmrc.ok("env", "web", cwd=shop.directory)  # starts it
    again = shop.ask(name="again")

    assert again.status == 200, again
    assert [replica["name"] for replica in shop.ready()] == [replica["name"] for replica in before]
    assert {process.pid for process in servers(ray_cluster)} == own


def test_the_busiest_node_is_killed_again_and_again_and_no_request_is_lost(
    dmrc_on_ray: Dmrc, ray_cluster: RayCluster
) -> None:
    chance = random.Random(KILLS)
    noticed: list[float] = []
    back: list[float] = []

    with Shop.opened(dmrc_on_ray, "engine: ray, parallel: 2, keep_alive: 10m, replicas: 3", "steady") as shop:
        began = time.monotonic()
        shop.ask()
        shop.wait_for(3, seconds=90)
        first_start = time.monotonic() - began
        with callers(shop) as seen:
            for _ in range(KILLS):
                wait_until(time.monotonic() + chance.uniform(0.5, 4))
                busiest, gone = busiest_node(shop)
                began = time.monotonic()
                killed = ray_cluster.kill(busiest)
                eventually(lambda gone=gone: not gone & shop.names_of_ready(), "notice", 60)
                noticed.append(time.monotonic() - began)
                eventually(lambda: len(shop.names_of_ready()) == 3, "replicas", 120)
                back.append(time.monotonic() - began)
                assert killed.survivors == []
                assert shop.ask("sk-dmrc-of-nobody").status == 401
                ray_cluster.add(busiest)

        broken = [one for one in seen if not one.is_whole]
        print(f"first start {first_start:.1f} s; {len(seen)} requests, {len(broken)} streams cut")
        print("noticed after", [round(each, 1) for each in noticed], "back after", [round(each, 1) for each in back])
        record = assert_recorded(shop, seen)
    assert_only_begun_streams_broke(seen, record)
    assert len(seen) > 8 * KILLS
    # A machine that has other things to do starts replicas more slowly, and the first ones too, with nobody asking; one
    # time alone tells of the machine, up to a point.
    longest = max(BACK_SECONDS, first_start)
    assert statistics.median(back) <= longest, back
    assert max(back) <= 2 * longest, back


def test_a_node_that_hangs_keeps_no_request_waiting(dmrc_on_ray: Dmrc, ray_cluster: RayCluster) -> None:
    """Its connections are not closed: only that it says nothing shows what has become of it."""
    served = "engine: ray, parallel: 2, keep_alive: 10m, replicas: 3"
    with Shop.opened(dmrc_on_ray, served, "hangs") as shop, ExitStack() as until_all_is_seen:
        began = time.monotonic()
        shop.ask()
        shop.wait_for(3, seconds=90)
        first_start = time.monotonic() - began
        with callers(shop) as seen:
            eventually(lambda: at_work(shop, 3), "three replicas that work")
            busiest, gone = busiest_node(shop)
            until_all_is_seen.enter_context(ray_cluster.frozen(busiest))
            began = time.monotonic()
            eventually(lambda: not gone & shop.names_of_ready(), "notice", 60)
            eventually(lambda: len(shop.names_of_ready()) == 3, "replicas", 120)
            back = time.monotonic() - began
        ended = time.monotonic() - began
        print(f"replicas back after {back:.1f} s, the last request ended after {ended:.1f} s")
        record = assert_recorded(shop, seen)
    assert_only_begun_streams_broke(seen, record)
    # Callers wait for 120 s, the gateway for 600. A busy machine starts replicas more slowly, the first ones too.
    assert ended < min(100, max(30, 15 + first_start))


def test_down_leaves_no_process_and_the_first_request_after_scaling_to_zero_counts_load(
    dmrc_on_ray: Dmrc, ray_cluster: RayCluster
) -> None:
    zero = "engine: ray, parallel: 2, keep_alive: 2s, replicas: {min: 0, max: 1}"
    with Shop.opened(dmrc_on_ray, zero, "zero") as shop:
        assert shop.ask(name="cold").status == 200
        assert len(servers(ray_cluster)) == 1

        eventually(lambda: not servers(ray_cluster), "zero replicas", seconds=60)
        assert shop.ask(name="after").status == 200

        loads = {row["user_agent"]: row["load_ms"] for row in shop.record()}
        assert loads["after"] > 300
    eventually(lambda: not servers(ray_cluster), "end of the servers", seconds=60)
