"""`x-dmrc: {replicas, ray}` of a model: how many servers on a cluster, and on which."""

from __future__ import annotations

from pathlib import Path

import pytest

from dmrc.engines.llama_cpp.engine import LlamaCpp
from dmrc.engines.options_check import check_options
from dmrc.errors import ProjectError, UnsupportedError
from dmrc.project import ModelDeclaration, Project, ReplicaRange


def declared(options: object) -> ModelDeclaration:
    return ModelDeclaration.parse("llm", {"model": "ai/smollm2", "x-dmrc": options}, Path("/srv/app"))


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ({"min": 1, "max": 3, "target": 4}, ReplicaRange(min=1, max=3, target=4)),
        ({"max": 3}, ReplicaRange(min=1, max=3)),
        ({"min": 2}, ReplicaRange(min=2, max=2)),
        ({"min": 0}, ReplicaRange(min=0, max=1)),
        ({}, ReplicaRange()),
        (2, ReplicaRange(min=2, max=2)),
    ],
)
def test_replicas_are_a_number_or_a_range(written: object, expected: ReplicaRange) -> None:
    model = declared({"engine": "ray", "replicas": written, "ray": {"address": "10.0.0.5:6379"}})

    assert (model.options.replicas, model.options.ray_address) == (expected, "10.0.0.5:6379")
    assert ModelDeclaration.from_json(model.to_json()) == model


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"replicas": 0}, "models.llm.x-dmrc.replicas must be a whole number above 0, not 0"),
        ({"replicas": {"min": -1}}, "models.llm.x-dmrc.replicas.min must be a whole number from 0, not -1"),
        ({"replicas": {"min": False}}, "models.llm.x-dmrc.replicas.min must be a whole number from 0, not False"),
        ({"replicas": {"min": 3, "max": 2}}, "models.llm.x-dmrc.replicas.min must be at most 2, which is its max, not"),
        ({"replicas": {"target": "4"}}, "models.llm.x-dmrc.replicas.target must be a whole number above 0, not '4'"),
        ({"replicas": {"most": 4}}, "models.llm.x-dmrc.replicas has no field 'most'"),
        ({"ray": "10.0.0.5:6379"}, "models.llm.x-dmrc.ray must be a mapping, not '10.0.0.5:6379'"),
        ({"ray": {}}, "models.llm.x-dmrc.ray.address must be an address of a cluster, not None"),
        ({"upstream": "https://host/v1", "replicas": 2}, "models.llm.x-dmrc.replicas has no effect on an upstream"),
    ],
)
def test_what_contradicts_itself_is_refused_by_its_place(options: object, message: str) -> None:
    with pytest.raises(ProjectError) as refused:
        declared(options)

    assert message in refused.value.message


@pytest.mark.parametrize(("options", "name"), [({"replicas": 2}, "replicas"), ({"ray": {"address": "auto"}}, "ray")])
def test_an_engine_of_one_machine_refuses_them_by_the_names_that_were_written(options: object, name: str) -> None:
    with pytest.raises(UnsupportedError, match=f"engine 'llama.cpp' has no {name}") as refused:
        check_options(LlamaCpp("llama-server"), declared(options).options)

    assert refused.value.remedy == "Remove it, or use engine ray"


def test_the_cluster_of_the_command_is_that_of_models_that_name_none() -> None:
    on_ray = {"model": "ai/smollm2", "x-dmrc": {"engine": "ray"}}
    named = {"model": "ai/smollm2", "x-dmrc": {"engine": "ray", "ray": {"address": "10.0.0.5:6379"}}}
    document = {"name": "shop", "models": {"a": on_ray, "b": named, "c": {"model": "ai/smollm2"}}}
    project = Project.parse(document, (Path("/srv/app/compose.yaml"),))

    models = project.on_cluster("10.0.0.9:6379").models

    addresses = {key: model.options.ray_address for key, model in models.items()}
    assert addresses == {"a": "10.0.0.9:6379", "b": "10.0.0.5:6379", "c": None}
    assert list(models) == ["a", "b", "c"]
