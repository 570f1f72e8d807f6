"""The checks that other tests rely on refuse what Kubernetes does."""

from tests.kubernetes.schemas import VERSIONS, KubernetesSchemas

_POD = {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "a", "image": "a"}]}}
_DEPLOYMENT = {"selector": {"matchLabels": {"app": "a"}}, "template": _POD}
_CLUSTER = {"headGroupSpec": {"rayStartParams": {}, "template": _POD}}


def _document(kind: str, spec: object, version: str = "apps/v1") -> dict:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": "a"}, "spec": spec}


def test_what_kubernetes_takes_is_no_fault(kubernetes_schemas: KubernetesSchemas) -> None:
    cluster = _document("RayService", {"rayClusterConfig": _CLUSTER}, "ray.io/v1")

    assert kubernetes_schemas.faults([_document("Deployment", _DEPLOYMENT), cluster]) == []


_REFUSED = [
    (_document("Deployment", {**_DEPLOYMENT, "replica": 1}), "'replica' was unexpected"),
    (_document("Deployment", {**_DEPLOYMENT, "replicas": "1"}), "'1' is not of type 'integer'"),
    (_document("Deployment", {"template": _POD}), "'selector' is a required property"),
    (_document("Deployment", _DEPLOYMENT, "apps/v2"), "Couldn't find schema"),
    (_document("RayService", {"serveConfig": ""}, "ray.io/v1"), "'serveConfig' was unexpected"),
    (_document("RayService", {"rayClusterConfig": {}}, "ray.io/v1"), "'headGroupSpec' is a required property"),
    (_document("LLMInferenceService", {"modell": {}}, "serving.kserve.io/v1alpha2"), "'modell' was unexpected"),
    (_document("InferencePool", {"targetPorts": []}, "inference.networking.k8s.io/v1"), "'selector' is a required"),
    (_document("HTTPRoute", {"host": "a"}, "gateway.networking.k8s.io/v1"), "'host' was unexpected"),
]


def test_what_kubernetes_refuses_is_a_fault(kubernetes_schemas: KubernetesSchemas) -> None:
    for document, words in _REFUSED:
        document["metadata"] = {"name": words}  # each fault begins with the name of its document

    found = kubernetes_schemas.faults([document for document, _ in _REFUSED])

    for version in VERSIONS:
        for document, words in _REFUSED:
            head = f"{version}: {document['kind']}/{words}: "
            of_this = [fault.removeprefix(head) for fault in found if fault.startswith(head)]
            assert any(words in fault for fault in of_this), (version, words, found)
