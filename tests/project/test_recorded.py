"""A project that is replayed: its models keep their names, and need nothing any more."""

from pathlib import Path

import pytest

from dmrc.errors import ProjectError
from dmrc.project import RECORDED_ENGINE, Project, ServingOptions
from dmrc.projects import Registration

DOCUMENT = {
    "name": "shop",
    "services": {"web": {"image": "x", "models": ["llm", "remote"]}},
    "models": {
        "llm": {"model": "ai/smollm2", "context_size": 512, "x-dmrc": {"mmproj": "./eyes.gguf"}},
        "remote": {"model": "gpt-9", "x-dmrc": {"upstream": {"url": "https://api.example.com/v1", "key": "A_KEY"}}},
    },
}


def project(replay: object) -> Project:
    return Project.parse({**DOCUMENT, "x-dmrc": {"replay": replay}}, (Path("/shop/compose.yaml"),))


def test_models_of_a_replay_need_nothing() -> None:
    replayed = project("./cassettes").recorded()

    assert {key: (each.model, each.options) for key, each in replayed.models.items()} == {
        "llm": ("ai/smollm2", ServingOptions(engine=RECORDED_ENGINE)),
        "remote": ("gpt-9", ServingOptions(engine=RECORDED_ENGINE)),
    }
    assert [each.references for each in replayed.models.values()] == [(), ()]
    assert replayed.on_host("ssh://box").models == replayed.models
    assert replayed.models["llm"].engine == "recorded"


@pytest.mark.parametrize("mode", ["record", "replay-or-record", None])
def test_models_that_may_be_asked_are_needed(mode: str | None) -> None:
    written = project({"mode": mode} if mode else {})

    assert written.recorded() is written


def test_a_registration_of_a_replay_is_recorded_whoever_wrote_it() -> None:
    registration = Registration.of(project("./cassettes"), {"web": "key"}, None)

    read = Registration.from_json(registration.recorded().to_json())

    assert registration.is_replayed
    assert {each.engine for each in read.models.values()} == {"recorded"}
    assert read.recorded() == read


def test_the_engine_is_not_for_a_compose_file() -> None:
    model = {"model": "ai/smollm2", "x-dmrc": {"engine": "recorded"}}

    with pytest.raises(ProjectError, match=r"x-dmrc\.engine is 'recorded'"):
        Project.parse({"name": "shop", "models": {"llm": model}}, (Path("/shop/compose.yaml"),))
