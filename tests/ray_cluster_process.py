"""The process that holds a Ray cluster for tests: it reads one command a line, and answers each with one line of JSON.

It is a process of its own since Ray takes over what imports it: threads, signals, the name of the process.
`python -m tests.ray_cluster_process DIRECTORY` starts the head, which has no processors, and says where it is.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from typing import Any

import psutil

_END_SECONDS = 45.0
_CONFIGURATION = {
    "health_check_period_ms": 1000,
    "health_check_timeout_ms": 1000,
    "health_check_failure_threshold": 3,
    "worker_niceness": 0,
}
"""As the plugin's README advises: the head looks for dead nodes each second, and nobody gives way to other programs."""


class _Held:
    def __init__(self, directory: str) -> None:
        from ray.cluster_utils import Cluster

        head = {
            "num_cpus": 0,
            "temp_dir": directory,
            "include_dashboard": False,
            "node_name": "head",
            "_system_config": _CONFIGURATION,
        }
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        self._nodes: dict[str, Any] = {}

    def where(self) -> dict[str, Any]:
        return {"address": self._cluster.address}

    def add(self, homes: dict[str, str], processors: int) -> dict[str, Any]:
        for name, home in homes.items():
            node = self._cluster.add_node(wait=False, node_name=name, num_cpus=processors, env_vars={"DMRC_HOME": home})
            self._nodes[name] = node
        self._cluster.wait_for_nodes(timeout=120)
        return {}

    def kill(self, name: str) -> dict[str, Any]:
        """Kill a node's raylet, and nothing else: tell who of its processes is there after a while, and end these."""
        node = self._nodes.pop(name)
        raylet = psutil.Process(_raylet(node).pid)
        own = raylet.children(recursive=True)
        raylet.kill()
        for each in own:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.resume()  # where it was frozen
        began = time.monotonic()
        _raylet(node).wait()
        survivors = [_described(each) for each in psutil.wait_procs(own, timeout=_END_SECONDS)[1]]
        seconds = time.monotonic() - began
        self._cluster.remove_node(node, allow_graceful=False)
        return {"survivors": survivors, "seconds": seconds, "processes": len(own)}

    def freeze(self, name: str) -> dict[str, Any]:
        """Stop all of a node as it stands, as a machine that hangs: its connections stay, and nobody answers."""
        raylet = psutil.Process(_raylet(self._nodes[name]).pid)
        for each in (raylet, *raylet.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                each.suspend()
        return {}

    def nodes(self) -> dict[str, Any]:
        known = self._cluster.global_state.node_table()
        return {"alive": sorted(node["NodeName"] for node in known if node["Alive"])}

    def end(self) -> dict[str, Any]:
        """End it all, and tell what is left of it."""
        own = psutil.Process().children(recursive=True)
        self._cluster.shutdown()
        left = psutil.wait_procs(own, timeout=_END_SECONDS)[1]
        described = [_described(each) for each in left]
        for each in left:
            each.kill()
        return {"left": described}


def _raylet(node: Any) -> Any:
    return node.all_processes["raylet"][0].process


def _described(process: psutil.Process) -> str:
    try:
        return f"{process.pid} {' '.join(process.cmdline())[:200]}"
    except psutil.NoSuchProcess:
        return f"{process.pid} (gone)"


def main() -> None:
    """Serve commands until standard input ends."""
    answers = sys.stdout
    sys.stdout = sys.stderr  # Ray prints there
    held = _Held(sys.argv[1])
    print(json.dumps(held.where()), file=answers, flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        print(json.dumps(getattr(held, command.pop("do"))(**command)), file=answers, flush=True)
        if '"end"' in line:
            return
    held.end()


if __name__ == "__main__":
    main()
