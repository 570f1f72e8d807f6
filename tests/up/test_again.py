"""`dmrc up -d` of a project that is up already."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.polling import eventually
from tests.registry import RegistryServer
from tests.up.compose_project import STAY, TINY, ComposeProject, question, runners, service
from tests.up.conftest import MakeProject


def _document(context_size: int, model: str = TINY, **other: object) -> dict[str, object]:
    """Return a project of two services, each with a model entry of its own."""
    return {
        "services": {
            "one": service(f"{question()}; {STAY}", models=["first"]),
            "two": service(f"{question()}; {STAY}", models=["second"]),
        },
        "models": {
            "first": {"model": model, "context_size": context_size, "x-dmrc": {"parallel": 1}},
            "second": {"model": model, "context_size": 512, "x-dmrc": {"parallel": 1}},
        },
        **other,
    }


@pytest.fixture
def running(project: MakeProject) -> Iterator[ComposeProject]:
    """A project that is up."""
    found = project("again")
    found.write(_document(256))
    found.up("--detach")
    yield found


def test_nothing_changes_when_nothing_was_changed(running: ComposeProject) -> None:
    containers, override = running.containers(), running.override.read_bytes()
    models = runners(running.dmrc)

    up = running.up("--detach")

    assert running.containers() == containers
    assert running.override.read_bytes() == override
    assert runners(running.dmrc) == models
    assert up.stderr.count("present (") == up.stderr.count("loaded already") == 2


def test_another_context_size_changes_the_runner_and_no_container(running: ComposeProject) -> None:
    running.answers("one", "two")
    containers, before = running.containers(), runners(running.dmrc)
    running.write(_document(1024))

    running.up("--detach")

    assert running.containers() == containers
    after = eventually(lambda: now if len(now := runners(running.dmrc)) == 2 else None, "end of the old runner")
    assert sorted(map(str, before.values())) == ["256", "512"]
    assert sorted(map(str, after.values())) == ["1024", "512"]
    assert [key for key, size in before.items() if size == 512] == [key for key, size in after.items() if size == 512]
    assert running.ask("one", prompt="a " * 300)[0] == 200
    assert running.ask("two", prompt="a " * 300)[0] == 400


def test_a_changed_service_is_recreated_with_its_key_and_the_other_one_is_left_alone(running: ComposeProject) -> None:
    containers, keys = running.containers(), running.keys
    document = _document(256)
    document["services"]["one"]["environment"] = {"COLOUR": "blue"}
    running.write(document)

    running.up("--detach")

    after = running.containers()
    assert after["one"].id != containers["one"].id
    assert after["two"] == containers["two"]
    assert running.keys == keys


def test_the_second_time_needs_no_registry(own_project: MakeProject, registry: RegistryServer, tiny: Path) -> None:
    registry.push_model("ai/tiny:latest", tiny)
    found = own_project("offline")
    found.write(_document(256, f"{registry.address}/ai/tiny:latest"))
    first = found.up("--detach")
    found.answers("one", "two")
    containers = found.containers()
    registry.stop()

    second = found.up("--detach")

    assert found.containers() == containers
    assert "pulled" not in second.stderr
    assert second.stderr.count("present (") == 2
    assert first.stderr.count("pulled") == 2
    for exchange in found.answers("one", "two").values():
        assert exchange["status"] == 200
