"""Every way to export is valid for three versions of Kubernetes, by their own schemas; unknown fields are faults."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from tests.kubernetes.exporting import Exported, Exporter
from tests.kubernetes.schemas import KubernetesSchemas

RICH = """
services:
  web:
    image: example/web:1
    entrypoint: ["/start"]
    command: ["serve", "--at=1e3"]
    working_dir: /app
    user: "1000:1000"
    read_only: true
    tmpfs: [/run]
    stop_grace_period: 1m30s
    ports: ["8080:80", "53:53/udp"]
    expose: ["9090"]
    models: [llm, embed, far]
    environment: {GREETING: "good\\nday", EMPTY: }
    healthcheck: {test: ["CMD", "check"], interval: 7s, timeout: 1500ms, retries: 4, start_period: 1m}
    deploy: {replicas: 2, resources: {limits: {cpus: "0.5", memory: 200M}, reservations: {memory: 64M}}}
  plain:
    image: example/plain:1
  built:
    build: .
    models: {embed: {endpoint_var: OTHER_URL, model_var: OTHER_NAME}}
  db:
    image: example/db:1
    volumes: ["data:/data"]
volumes: {data: {}}
models:
  llm:
    model: registry.example/me/tiny:v1
    context_size: 128
    runtime_flags: ["--temp", "0.2"]
    x-dmrc: {parallel: 3, gpu: required}
  embed:
    model: registry.example/me/tiny:v1
    runtime_flags: ["--embeddings"]
  far:
    model: gpt-x
    x-dmrc: {upstream: "https://far.example/v1"}
"""

OPTIONS = {
    "pulled": (),
    "volume": ("--weights", "volume", "--replicas", "llm=1-3", "--autoscale"),
    "image": ("--weights", "image", "--models-in", "registry.example/models"),
    "images by digest": ("--image", f"dmrc=registry.example/dmrc@sha256:{'0' * 64}", "--cpus", "8"),
    "replicas": ("--replicas", "embed=0-5", "--autoscale"),
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_base_is_valid(exporter: Exporter, kubernetes_schemas: KubernetesSchemas, options: tuple[str, ...]) -> None:
    documents = exporter.export(RICH, *options).documents()

    assert len(documents) > 15
    assert kubernetes_schemas.faults(documents) == []


ODD = "x" * 80
ODD_NAMES = f"""
services:
  {ODD}: {{image: example/a:1, models: [llm]}}
  Web_Front.v2: {{image: example/a:1, models: [llm]}}
  web-front-v2: {{image: example/a:1, models: [llm]}}
  "0": {{image: example/a:1, models: [llm]}}
  a.-_b: {{image: example/a:1, models: {{{ODD}: {{endpoint_var: U, model_var: M}}}}}}
  llm: {{image: example/a:1, models: [LLM, mo.del_1]}}
models:
  llm: {{model: registry.example/me/tiny:v1, context_size: 128}}
  LLM: {{model: registry.example/me/tiny:v1, context_size: 256}}
  mo.del_1: {{model: registry.example/me/tiny:v1, context_size: 512}}
  {ODD}: {{model: registry.example/me/tiny:v1, context_size: 64}}
"""
_LABEL = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?")


def test_odd_names_become_names_that_are_valid_and_each_its_own(
    exporter: Exporter, kubernetes_schemas: KubernetesSchemas
) -> None:
    exported = exporter.export(ODD_NAMES)

    documents = exported.documents()
    names = [each["metadata"]["name"] for each in documents if each["kind"] in ("Deployment", "Service")]
    assert all(map(_LABEL.fullmatch, names)), names
    twice = Counter((each["kind"], each["metadata"]["name"]) for each in documents)
    assert set(twice.values()) == {1}
    assert len([name for name in names if name.startswith("dmrc-model-")]) == 2 * 4
    for labels in _labels(exported):
        assert all(map(_LABEL_VALUE.fullmatch, labels.values())), labels
    assert kubernetes_schemas.faults(documents) == []


def _labels(exported: Exported) -> list[dict[str, str]]:
    documents = exported.documents()
    templates = [each["spec"]["template"] for each in documents if each["kind"] == "Deployment"]
    return [each["metadata"]["labels"] for each in (*documents, *templates)]
