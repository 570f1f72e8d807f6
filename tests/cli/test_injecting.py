from pathlib import Path

import pytest

from dmrc.cli.projects.setup.injection import what_to_say
from dmrc.compose.override import GatewayAddress, injections
from dmrc.project import Project

_LLM = {"llm": {"model": "ai/smollm2"}}


def said(**document: object) -> list[str]:
    project = Project.parse({"name": "demo", **document}, (Path("/app/compose.yaml"),))
    keys = dict.fromkeys(project.services, "sk-dmrc-1")
    return what_to_say(project, injections(project, keys, GatewayAddress("172.17.0.1", 12434)))


def test_what_a_service_keeps_and_what_it_is_not_given_for_that_is_said() -> None:
    foreign = {"models": ["llm"], "environment": {"OPENAI_BASE_URL": "https://api.example.com/v1"}}
    named = {"models": ["llm"], "environment": {"OPENAI_MODEL": "mine"}}

    assert said(models=_LLM, services={"a": foreign, "b": named, "c": {"models": ["llm"]}}) == [
        "a: keeps its own OPENAI_BASE_URL",
        "a: is not given OPENAI_API_KEY, OPENAI_MODEL: OPENAI_BASE_URL of the project is another server's, for which "
        "our key is not meant",
        "b: keeps its own OPENAI_MODEL",
    ]


@pytest.mark.parametrize(
    ("more", "count"),
    [
        ({"x-dmrc": {"auth": "address"}}, 1),
        ({"x-dmrc": {"auth": "address", "models": "any"}}, 0),
        ({"x-dmrc": {"auth": "address"}, "models": _LLM}, 0),
    ],
)
def test_an_address_that_opens_nothing_is_said(more: dict[str, object], count: int) -> None:
    assert len(said(services={"web": {}}, **more)) == count
