"""Containers of a project as the web page shows them, of a real Docker engine."""

from __future__ import annotations

from typing import Any

import httpx

from tests.polling import eventually
from tests.ui.conftest import Site
from tests.up.compose_project import STAY, TINY, ComposeProject, service
from tests.up.conftest import MakeProject


def test_the_page_tells_what_runs_and_what_a_container_ended_with(project: MakeProject) -> None:
    shop = project("states")
    ended = service("exit 3", models=["llm"])
    shop.write({"services": {"app": service(STAY, models=["llm"]), "job": ended}, "models": {"llm": {"model": TINY}}})
    shop.up("--detach")

    def told() -> dict[str, object] | None:
        answer = _containers(shop)
        states = {one["service"]: (one["state"], one["exit_code"]) for one in answer["containers"]}
        return states if states.get("job", ("", None))[0] == "exited" else None

    assert eventually(told, "the end of the job") == {"app": ("running", None), "job": ("exited", 3)}
    assert _containers(shop)["answers"] is True


def _containers(shop: ComposeProject) -> dict[str, Any]:
    site = Site(shop.dmrc, shop.directory, "")
    answer = httpx.get(f"{site.url}/ui/projects/{shop.name}/containers", headers={"cookie": site.cookie()})
    return dict(answer.json())
