"""Make a file of `crds/`: `python reduce_crd.py VERSION < DEFINITION.yaml > NAME.json.gz`.

Of megabytes of YAML remain 1 to 26 kB: one version, without descriptions. What an API server checks is all there.
"""

from __future__ import annotations

import gzip
import json
import sys

import yaml


def reduced(definition: dict, version: str) -> dict:
    """Return the definition with one version of its kind."""
    (kept,) = (each for each in definition["spec"]["versions"] if each["name"] == version)
    spec = {**definition["spec"], "versions": [{**kept, "storage": True}]}
    spec.pop("conversion", None)  # by a webhook of its operator
    annotations = definition["metadata"].get("annotations")
    metadata = {"name": definition["metadata"]["name"], **({"annotations": annotations} if annotations else {})}
    return _undescribed(
        {**{key: definition[key] for key in ("apiVersion", "kind")}, "metadata": metadata, "spec": spec}
    )


def _undescribed(node: object, names: bool = False) -> object:
    """Drop descriptions; `names` says that the keys of this node are names of fields."""
    if isinstance(node, dict):
        kept = {key: each for key, each in node.items() if names or key != "description"}
        return {key: _undescribed(each, not names and key == "properties") for key, each in kept.items()}
    return [_undescribed(each) for each in node] if isinstance(node, list) else node


if __name__ == "__main__":
    found = reduced(yaml.load(sys.stdin, yaml.CSafeLoader), sys.argv[1])
    text = json.dumps(found, separators=(",", ":"), sort_keys=True).encode()
    sys.stdout.buffer.write(gzip.compress(text, 9, mtime=0))
