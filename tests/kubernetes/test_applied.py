"""What a real API server, its scheduler and its controllers make of an export. No container runs: see cluster.py."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.kubernetes.cluster import Cluster, Namespace, fake_nodes
from tests.kubernetes.exporting import Exported, Exporter
from tests.polling import eventually

SHOP = """
services:
  web:
    image: example/web:1
    command: ["serve", "--price=$$(COST)"]
    models: [llm]
    ports: ["8080:80"]
  Batch_Job.1:
    image: example/batch:1
    models: {llm: {endpoint_var: URL, model_var: NAME}}
    environment: {Y: "y", THOUSAND: "1e3", LINES: "a\\nb", LIKE_A_KEY: "'; rm -rf / #"}
models:
  llm:
    model: registry.example/me/tiny:v1
    context_size: 128
    x-dmrc: {parallel: 3}
"""


@pytest.fixture(scope="module")
def machines(cluster: Cluster) -> Iterator[None]:
    """Nodes for all that is not about nodes, and room for records."""
    nodes = fake_nodes(3, {"cpu": "16", "memory": "64Gi"}, "machine")
    cluster.apply([*nodes, *({**_VOLUME, "metadata": {"name": f"volume-{number}"}} for number in range(8))])
    yield
    cluster.kubectl("delete", "nodes", "--selector", "pool=machine", "--wait=false")


_VOLUME = {
    "apiVersion": "v1",
    "kind": "PersistentVolume",
    "spec": {"capacity": {"storage": "5Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/nowhere"}},
}


@pytest.fixture
def namespace(cluster: Cluster, machines: None, request: pytest.FixtureRequest) -> Iterator[Namespace]:
    """A namespace of this test's own."""
    with cluster.namespace(f"test-{abs(hash(request.node.name))}") as created:
        yield created


def test_an_export_is_accepted_placed_and_ready_and_applied_again_changes_nothing(
    exporter: Exporter, namespace: Namespace
) -> None:
    exported = exporter.export(SHOP)

    tried = namespace.kubectl("apply", "--dry-run=server", "--validate=strict", "-k", exported.directory / "base")
    applied = namespace.kubectl("apply", "--validate=strict", "-k", exported.directory / "base")
    pods = namespace.settled()
    again = namespace.kubectl("apply", "--validate=strict", "-k", exported.directory / "base")

    assert len(tried.splitlines()) == len(applied.splitlines()) == len(exported.documents())
    assert Counter(pod["metadata"]["labels"]["app.kubernetes.io/name"] for pod in pods) == Counter(
        ["dmrc-gateway", "dmrc-model-llm", "web", _batch(exported)]
    )
    assert {line.split()[-1] for line in again.splitlines()} == {"unchanged"}
    assert namespace.run("diff", "-k", exported.directory / "base").returncode == 0


def _batch(exported: Exported) -> str:
    """Return what the service with the odd name is called there."""
    (name,) = (
        each["metadata"]["name"]
        for each in exported.documents()
        if each["kind"] == "Deployment" and each["metadata"]["name"].startswith("batch-job-1-")
    )
    return str(name)


def test_a_changed_context_rolls_over_its_own_engine_and_nothing_else(exporter: Exporter, namespace: Namespace) -> None:
    namespace.kubectl("apply", "-k", exporter.export(SHOP).directory / "base")
    before = _pods(namespace)

    namespace.kubectl("apply", "-k", exporter.export(SHOP.replace("128", "256")).directory / "base")
    after = _pods(namespace)

    assert "768" in after["dmrc-model-llm"]["spec"]["containers"][0]["args"]  # 256 tokens for each of three slots
    assert {name for name in before if before[name]["metadata"]["uid"] != after[name]["metadata"]["uid"]} == {
        "dmrc-model-llm"
    }
    history = namespace.kubectl("rollout", "history", "deployment/dmrc-model-llm")
    assert [line.split()[0] for line in history.splitlines()[2:] if line] == ["1", "2"]


def test_a_variable_that_is_declared_no_more_goes_from_the_cluster(exporter: Exporter, namespace: Namespace) -> None:
    exported = exporter.export(SHOP)
    namespace.kubectl("apply", "-k", exported.directory / "base")
    name = f"{_batch(exported)}-variables"
    odd = {key: base64.b64decode(text).decode() for key, text in _secret(namespace, name)["data"].items()}

    namespace.kubectl("apply", "-k", exporter.export(SHOP.replace('THOUSAND: "1e3", ', "")).directory / "base")

    written = {"Y": "y", "THOUSAND": "1e3", "LINES": "a\nb", "LIKE_A_KEY": "'; rm -rf / #"}
    assert written.items() <= odd.items()
    assert odd.keys() - _secret(namespace, name)["data"].keys() == {"THOUSAND"}


def test_a_hundred_replicas_go_to_a_hundred_nodes_that_hold_one_each(
    cluster: Cluster, exporter: Exporter, namespace: Namespace
) -> None:
    exported = exporter.export(SHOP, "--replicas", "llm=100")
    asked = exported.pod("dmrc-model-llm")["containers"][0]["resources"]["requests"]
    nodes = fake_nodes(100, {"cpu": "4", "memory": f"{int(asked['memory'].removesuffix('Mi')) * 3 // 2}Mi"}, "small")
    cluster.apply([{**node, "spec": {"taints": [_FOR_ENGINES]}} for node in nodes])
    patch = [{"op": "add", "path": "/spec/template/spec/tolerations", "value": [_TOLERATED]}]
    patch += [{"op": "add", "path": "/spec/template/spec/nodeSelector", "value": {"pool": "small"}}]
    namespace.kubectl("apply", "-k", exported.directory / "base")

    namespace.kubectl("patch", "deployment/dmrc-model-llm", "--type", "json", "--patch", json.dumps(patch))
    pods = namespace.settled(seconds=120)

    engines = [pod for pod in pods if pod["metadata"]["labels"]["app.kubernetes.io/name"] == "dmrc-model-llm"]
    assert len(engines) == len({pod["spec"]["nodeName"] for pod in engines}) == 100
    (budget,) = namespace.get("poddisruptionbudgets")
    assert budget["spec"]["maxUnavailable"] == 1
    namespace.kubectl("scale", "deployment/dmrc-model-llm", "--replicas", "101")
    eventually(lambda: _pending(namespace), "Pod that has no node", 30)
    cluster.kubectl("delete", "nodes", "--selector", "pool=small", "--wait=false")


_FOR_ENGINES = {"key": "engines", "value": "only", "effect": "NoSchedule"}
_TOLERATED = {"key": "engines", "operator": "Exists"}


@pytest.mark.parametrize(
    "options",
    [
        ("--weights", "volume", "--replicas", "llm=1-3", "--autoscale"),
        ("--image", f"llama.cpp=ghcr.io/ggml-org/llama.cpp:server@sha256:{'0' * 64}", "--cpus", "8"),
    ],
    ids=["volume and autoscaler", "image by digest"],
)
def test_each_way_to_export_is_accepted(exporter: Exporter, namespace: Namespace, options: tuple[str, ...]) -> None:
    exported = exporter.export(SHOP, *options)

    applied = namespace.kubectl("apply", "--validate=strict", "-k", exported.directory / "base")

    assert len(applied.splitlines()) == len(exported.documents())


def test_engines_and_gateway_run_where_only_pods_without_rights_may(cluster: Cluster, exporter: Exporter) -> None:
    """Kubernetes' own policy `restricted`: https://kubernetes.io/docs/concepts/security/pod-security-standards/."""
    exported = exporter.export(SHOP)

    with cluster.namespace("restricted", "pod-security.kubernetes.io/enforce=restricted") as namespace:
        warned = namespace.run("apply", "--dry-run=server", "-k", exported.directory / "base").stderr

    assert "web" in warned  # as the compose file says nothing of its rights
    assert "engine" not in warned and "gateway" not in warned


def _pods(namespace: Namespace) -> dict[str, dict]:
    return {pod["metadata"]["labels"]["app.kubernetes.io/name"]: pod for pod in namespace.settled()}


def _secret(namespace: Namespace, name: str) -> dict:
    (found,) = (each for each in namespace.get("secrets") if each["metadata"]["name"] == name)
    return found


def _pending(namespace: Namespace) -> list[str]:
    messages = (
        condition.get("message", "")
        for pod in namespace.get("pods")
        for condition in pod["status"].get("conditions", ())
    )
    return [message for message in messages if "Insufficient memory" in message]
