"""Say what Kubernetes would not accept: `check_documents.py VERSION… < DOCUMENTS.json` prints faults as JSON.

A program of its own, with kubernetes-validate on its path (tests/kubernetes/schemas.py). Unknown fields are faults too.
"""

from __future__ import annotations

import functools
import gzip
import json
import sys
from pathlib import Path

import jsonschema
import kubernetes_validate

_DEFINITIONS = Path(__file__).parent / "crds"


def faults(documents: list[dict], version: str) -> list[str]:
    """Return one line for each document that is refused."""
    return [fault for document in documents for fault in _faults(document, version)]


def _faults(document: dict, version: str) -> list[str]:
    name = f"{document['kind']}/{document['metadata']['name']}"
    if schema := _custom_schemas().get((document["apiVersion"], document["kind"])):
        errors = jsonschema.Draft202012Validator(schema).iter_errors(document)
        return [f"{name}: {error.json_path}: {error.message[:300]}" for error in errors]
    try:
        kubernetes_validate.validate(document, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [f"{name}: {error.json_path}: {error.message[:300]}"]
    except kubernetes_validate.SchemaNotFoundError as error:
        return [f"{name}: {error.message}"]
    return []


@functools.cache
def _custom_schemas() -> dict[tuple[str, str], dict]:
    schemas = {}
    for file in _DEFINITIONS.glob("*.json.gz"):
        spec = json.loads(gzip.decompress(file.read_bytes()))["spec"]
        (version,) = spec["versions"]
        schema = version["schema"]["openAPIV3Schema"]
        schema["properties"]["metadata"]["x-kubernetes-preserve-unknown-fields"] = True  # the API server has its own
        schemas[f"{spec['group']}/{version['name']}", spec["names"]["kind"]] = _strict(schema)
    return schemas


def _strict(node: object) -> object:
    """Refuse what an API server prunes: fields that an object's schema does not name.

    Source: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#field-pruning
    """
    if isinstance(node, list):
        return [_strict(each) for each in node]
    if not isinstance(node, dict):
        return node
    closed = (
        node.get("type") == "object"
        and "additionalProperties" not in node
        and not node.get("x-kubernetes-preserve-unknown-fields")
    )
    return {**{key: _strict(each) for key, each in node.items()}, **({"additionalProperties": False} if closed else {})}


if __name__ == "__main__":
    given = json.load(sys.stdin)
    json.dump([f"{version}: {fault}" for version in sys.argv[1:] for fault in faults(given, version)], sys.stdout)
