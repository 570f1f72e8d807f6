"""The cluster of the tests does what one of machines does: it places Pods, and refuses what it does not know."""

import json

from tests.kubernetes.cluster import Cluster, fake_nodes

_POD = {
    "metadata": {"labels": {"app": "a"}},
    "spec": {"containers": [{"name": "a", "image": "a", "resources": {"requests": {"memory": "6Gi"}}}]},
}
_DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "a"},
    "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "a"}}, "template": _POD},
}


def test_pods_are_placed_where_their_memory_is_and_unknown_fields_are_refused(cluster: Cluster) -> None:
    cluster.apply(fake_nodes(2, {"cpu": "4", "memory": "8Gi"}, "self"))

    with cluster.namespace("self") as namespace:
        cluster.apply([{**_DEPLOYMENT, "metadata": {"name": "a", "namespace": "self"}}])
        pods = namespace.settled()
        unknown = {**_DEPLOYMENT, "metadata": {"name": "b"}, "field": 1}
        refused = cluster.run("apply", "--validate=strict", "-f", "-", input=json.dumps(unknown))

    assert {pod["spec"]["nodeName"] for pod in pods} == {"self-0", "self-1"}
    assert 'unknown field "field"' in refused.stderr
    cluster.kubectl("delete", "nodes", "--selector", "pool=self", "--wait=false")
