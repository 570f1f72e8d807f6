"""Options of a provider service, as `docker compose config` prints them (#16, A3)."""

from __future__ import annotations

from pathlib import Path

import pytest

from dmrc.errors import ProjectError
from dmrc.project import Access, Project, inject
from dmrc.project.provider import declarations

_ACCESS = Access(host="x", port=12434, key="k", names=("x",))


def _project(kind: str = "model", name: str = "llm", **options: object) -> Project:
    document = {
        "name": "shop",
        "services": {
            "app": {"depends_on": {name: {"condition": "service_started", "required": True}}},
            "other": {},
            name: {"provider": {"type": kind, "options": options}},
        },
    }
    return Project.parse(document, (Path("/shop/compose.yaml"),))


def test_every_option_is_heeded() -> None:
    options = {
        "model": ["ai/big"],
        "context-size": ["4096"],
        "runtime-flags": ["--temp 0.2"],
        "backend": ["llama.cpp"],
        "speculative-draft-model": ["ai/small"],
        "speculative-num-tokens": ["8"],
        "speculative-min-acceptance-rate": ["0.7"],
        "keep-alive": ["1h"],
        "parallel": ["2"],
    }

    (model,) = declarations("llm", options, Path())

    assert (model.key, model.model, model.options.draft) == ("llm/ai/big", "ai/big", "ai/small")
    assert (model.options.context_size, model.options.parallel, model.options.keep_alive_seconds) == (4096, 2, 3600)
    assert model.options.runtime_flags == ("--temp", "0.2", "--spec-draft-n-max", "8", "--draft-p-min", "0.7")


@pytest.mark.parametrize("size", ["-1", "0", ""])
def test_a_context_that_is_not_set_is_the_default(size: str) -> None:
    (model,) = declarations("llm", {"model": ["ai/big"], "context-size": [size]}, Path())

    assert model.options.context_size is None


def test_the_defaults_of_docker_model_runner_say_nothing() -> None:
    unset = {"speculative-draft-model": [""], "speculative-num-tokens": ["0"], "speculative-min-acceptance-rate": ["0"]}

    (model,) = declarations("llm", {"model": ["ai/big"], "backend": [""], "runtime-flags": [""], **unset}, Path())

    assert (model.options.draft, model.options.runtime_flags) == (None, None)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "names no model"),
        ({"backend": ["vllm"]}, "options.backend is 'vllm'"),
        ({"context_size": ["512"]}, "no field 'context_size' (did you mean 'context-size'?)"),
        ({"context-size": ["-5"]}, "context_size must be a whole number above 0, not '-5'"),
        ({"runtime-flags": ["--temp '1"]}, "runtime-flags cannot be split"),
        ({"speculative-num-tokens": ["4"]}, "speculative-num-tokens has no effect without a draft"),
        ({"parallel": ["many"]}, "parallel must be a whole number above 0, not 'many'"),
    ],
)
def test_what_cannot_be_is_refused_by_name(options: dict[str, object], words: str) -> None:
    model = {"model": ["ai/big"]} if options else {}

    with pytest.raises(ProjectError) as raised:
        declarations("llm", {**model, **options}, Path())

    assert words in str(raised.value)


def test_who_depends_on_it_uses_its_models_and_nobody_else() -> None:
    project = _project(model=["ai/one", "ai/two"])

    assert [service.name for service in project.consumers] == ["app"]
    given = inject(project, project.services["app"], _ACCESS).variables
    assert given["LLM_MODEL"] == "ai/one,ai/two"
    assert given["LLM_URL"].endswith("/v1/")
    assert [model.model for model in project.models_of(project.with_dependencies(["app"]))] == ["ai/one", "ai/two"]
    assert project.models_of(project.only(["other"])) == ()


@pytest.mark.parametrize(("kind", "prefix"), [("model", "MY-LLM"), ("dmrc", "MY_LLM")])
def test_variables_of_a_provider_with_a_dash(kind: str, prefix: str) -> None:
    """Compose writes the dash of a provider's name, and none of a model's key."""
    project = _project(kind, "my-llm", model=["ai/one"])

    given = inject(project, project.services["app"], _ACCESS).variables

    assert {f"{prefix}_URL", f"{prefix}_MODEL"} <= given.keys()


def test_a_provider_of_another_kind_is_left_to_compose() -> None:
    project = _project("telepresence", model=["x"], whatever=["y"])

    assert (project.consumers, project.models) == ((), {})
