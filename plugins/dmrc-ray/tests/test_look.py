"""What `dmrc doctor` says of a cluster."""

import socket

import pytest
from dmrc_ray.look import cluster_finding, described

from dmrc.engines.engine import Finding
from tests.ray_cluster import RayCluster

NODE = {"CPU": 8.0, "memory": 16e9}


def test_where_no_cluster_is_named_there_is_nothing_to_say() -> None:
    assert cluster_finding({}) is None


def test_an_address_where_nothing_listens_is_a_problem_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        address = f"127.0.0.1:{gone.getsockname()[1]}"

    found = cluster_finding({"RAY_ADDRESS": address})

    assert (found.state, found.message) == ("problem", f"no cluster answers at {address}: Connection refused")


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (
            {"ray": "2.60.0", "python": "3.11.7", "nodes": [{"memory": 1e9}, NODE, {**NODE, "GPU": 2.0}]},
            Finding(
                "ok",
                "2 nodes at head:6379, 16 processors, 2 graphics cards, 32.0 GB; "
                "Ray 2.60.0 and Python 3.11.7 there as here",
            ),
        ),
        (
            {"ray": "2.60.0", "python": "3.11.7", "nodes": [{"memory": 1e9}]},
            Finding(
                "warning",
                "the cluster at head:6379 has no node with processors",
                "Run: ray start --address=head:6379",
            ),
        ),
        (
            {"error": "Version mismatch: The cluster was started with: Ray: 2.59.0 Python: 3.12.1"},
            Finding(
                "problem",
                "the cluster at head:6379 does not take us: "
                "Version mismatch: The cluster was started with: Ray: 2.59.0 Python: 3.12.1",
                "Install the same Ray and Python here and on its nodes",
            ),
        ),
    ],
)
def test_what_a_cluster_has_is_told(seen: dict[str, object], expected: Finding) -> None:
    assert described("head:6379", seen) == expected


def test_a_real_cluster_is_told_with_its_nodes_and_versions(
    ray_cluster: RayCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dmrc_ray.look._LOOK_SECONDS", 120.0)
    found = cluster_finding({"RAY_ADDRESS": ray_cluster.address})

    assert found.state == "ok", found
    assert found.message.startswith(f"3 nodes at {ray_cluster.address}, 6 processors, ")
    assert "Ray 2." in found.message
