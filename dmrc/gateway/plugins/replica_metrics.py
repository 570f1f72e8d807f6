"""What `/metrics` tells of runners with several replicas. Those come and go, and labels must not do so without end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import get_args

from prometheus_client.core import GaugeMetricFamily, Metric

from dmrc.engines.replicas import ReplicaStateName
from dmrc.scheduler.runner import ManagedRunner

MOST_NAMES = 200
"""So many different names become labels; all others are `other`."""

_OTHER = "other"


class Names:
    """Names that become labels of a counter, which never forgets one."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def label(self, name: str) -> str:
        """Return the name, or `other` where there were too many before it."""
        if name not in self._known:
            if len(self._known) >= MOST_NAMES:
                return _OTHER
            self._known.add(name)
        return name


def of_replicas(runners: Iterable[ManagedRunner]) -> Iterator[Metric]:
    """Yield how many replicas each runner has, and how busy each is; of very many the last ones are told together."""
    labels = ("runner", "model", "engine")
    states = GaugeMetricFamily("dmrc_runner_replicas", "Replicas of a runner, by state", labels=(*labels, "state"))
    named = (*labels, "node", "replica")
    in_use = GaugeMetricFamily("dmrc_replica_slots_in_use", "Requests that a replica serves", labels=named)
    slots = GaugeMetricFamily("dmrc_replica_slots", "Requests that a replica can serve at once", labels=named)
    for runner in runners:
        if runner.replicas is None:
            continue
        names = (runner.key, runner.target.reference, runner.target.engine)
        now = runner.replicas.now()
        counts = Counter(one.state for one in now)
        for state in get_args(ReplicaStateName):
            states.add_metric((*names, state), counts[state])
        told = [(one.node or "", one.name, one.in_use, one.slots) for one in now[:MOST_NAMES]]
        if rest := now[MOST_NAMES:]:
            told.append((_OTHER, _OTHER, sum(one.in_use for one in rest), sum(one.slots for one in rest)))
        for node, name, used, total in told:
            in_use.add_metric((*names, node, name), used)
            slots.add_metric((*names, node, name), total)
    yield from (states, in_use, slots)
