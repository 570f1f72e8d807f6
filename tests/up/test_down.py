"""`dmrc down` of a project whose files have changed since `up`, or are gone."""

from __future__ import annotations

import json

from tests.up.compose_project import STAY, TINY, ComposeProject, service
from tests.up.conftest import MakeProject

_MODELS = {"llm": {"model": TINY, "context_size": 256, "x-dmrc": {"parallel": 1}}}


def _projects(shop: ComposeProject) -> list[str]:
    found: list[str] = json.loads(shop.dmrc.ok("status", "--json"))["projects"]
    return found


def test_after_a_service_got_another_name(project: MakeProject) -> None:
    """What `up` added names a service that the file has no more; with it Compose refused the project."""
    shop = project("renamed")
    shop.write({"services": {"old": service(STAY, models=["llm"])}, "models": _MODELS})
    shop.up("--detach")
    shop.write({"services": {"new": service(STAY, models=["llm"])}, "models": _MODELS})

    shop.down("--", "--remove-orphans")

    assert shop.containers() == {}
    assert "renamed" not in _projects(shop)


def test_without_a_file_the_name_is_enough(project: MakeProject) -> None:
    shop = project("fileless")
    shop.write({"services": {"app": service(STAY, models=["llm"])}, "models": _MODELS})
    shop.up("--detach")
    (shop.directory / "compose.yaml").unlink()

    refused = shop.dmrc.run("down", cwd=shop.directory)
    shop.down("-p", "fileless")

    assert refused.returncode == 2
    assert (shop.containers(), "fileless" in _projects(shop)) == ({}, False)


def test_a_service_that_is_a_model_needs_no_program_for_it(project: MakeProject) -> None:
    """After an `up` that failed nothing had taken it out, so Compose looked for `model` on PATH."""
    shop = project("failed")
    provider = {"provider": {"type": "model", "options": {"model": TINY, "temperature": 1}}}
    shop.write({"services": {"llm": provider, "app": service(STAY, depends_on=["llm"])}})

    up = shop.up("--detach", code=2)

    assert "has no field 'temperature'" in up.stderr
    shop.down()
