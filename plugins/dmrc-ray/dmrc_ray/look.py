"""What `dmrc doctor` says of the cluster: whether it answers, what it has, and whether its versions are ours.

`python -m dmrc_ray.look ADDRESS` looks at one and prints JSON; in a process of its own, since Ray takes over what
imports it, and may wait for ever.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from dmrc.engines.engine import Finding
from dmrc_ray.cluster import settle_environment, unreachable

_LOOK_SECONDS = 30.0


def cluster_finding(environment: Mapping[str, str]) -> Finding | None:
    """Return what there is to say of the cluster that the environment names, if any; blocks for some seconds."""
    if not (address := environment.get("RAY_ADDRESS")):
        return None
    remedy = "Start it there: ray start --head; or set RAY_ADDRESS to another one"
    if why := unreachable(address):
        return Finding("problem", f"no cluster answers at {address}: {why}", remedy)
    argv = [sys.executable, "-P", "-m", __name__, address]
    try:
        looked = subprocess.run(argv, capture_output=True, text=True, timeout=_LOOK_SECONDS, check=False)
        seen = json.loads(looked.stdout)
    except (subprocess.TimeoutExpired, ValueError):
        return Finding("problem", f"what listens at {address} is no cluster of Ray, or it hangs", remedy)
    return described(address, seen)


def described(address: str, seen: Mapping[str, Any]) -> Finding:
    """Return what a look at a cluster means: `{"error"}`, or `{"ray", "python", "nodes": [{"CPU": 8.0, …}, …]}`."""
    if error := seen.get("error"):
        remedy = "Install the same Ray and Python here and on its nodes" if "ersion" in error else None
        return Finding("problem", f"the cluster at {address} does not take us: {error}", remedy)
    nodes = [node for node in seen["nodes"] if node.get("CPU")]
    if not nodes:
        return Finding(
            "warning", f"the cluster at {address} has no node with processors", f"Run: ray start --address={address}"
        )
    parts = [
        f"{len(nodes)} {'node' if len(nodes) == 1 else 'nodes'} at {address}",
        f"{_total(nodes, 'CPU'):g} processors",
        *([f"{cards:g} graphics cards"] if (cards := _total(nodes, "GPU")) else []),
        f"{_total(nodes, 'memory') / 1e9:.1f} GB",
    ]
    return Finding("ok", f"{', '.join(parts)}; Ray {seen['ray']} and Python {seen['python']} there as here")


def _total(nodes: list[dict[str, float]], resource: str) -> float:
    return sum(node.get(resource, 0) for node in nodes)


def _look(address: str) -> dict[str, Any]:
    """Join the cluster for a moment. Ray itself compares the versions, and refuses other ones."""
    settle_environment("", address)
    os.environ.pop("RAY_ADDRESS", None)
    import ray

    try:
        ray.init(address=address, log_to_driver=False, configure_logging=False, logging_level=logging.ERROR)
    except Exception as error:  # noqa: BLE001 whatever it is, it is told
        return {"error": " ".join(str(error).split())}
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return {"ray": ray.__version__, "python": sys.version.split()[0], "nodes": nodes}


if __name__ == "__main__":
    print(json.dumps(_look(sys.argv[1])))
