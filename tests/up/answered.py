"""The projects in `samples`: who of them was answered, and what their containers were given."""

from __future__ import annotations

import json
from pathlib import Path

from tests.polling import eventually
from tests.up.compose_project import ComposeProject

SAMPLES = Path(__file__).parent / "samples"
OWN_NAMES = ("adk", "crew-ai", "a2a", "langchaingo", "spring-ai", "adk-cerebras")
"""Services with an `endpoint_var` of their own, as Docker's samples for agents have it."""
NAMES = (*OWN_NAMES, "own-url", "simple")
"""All services."""


def assert_all_were_answered(project: ComposeProject) -> dict[str, dict[str, str]]:
    """Each asked the model of its file, once, and got its answer; return the variables of each container."""
    for name, exchange in project.answers(*NAMES).items():
        assert (name, exchange["status"], exchange["error_message"]) == (name, 200, None)
        assert "sk-dmrc-" not in json.dumps(exchange)
    containers = project.containers()

    def silent() -> list[str]:
        logs = {name: project.engine.docker("logs", containers[name].id) for name in NAMES}
        return [name for name, log in logs.items() if "asks the model runner" not in log or '"choices"' not in log]

    eventually(lambda: not silent(), "an answer in the log of each container")
    return {name: variables_of(project, name) for name in NAMES}


def variables_of(project: ComposeProject, service: str) -> dict[str, str]:
    """Return the variables of a service's container that hold something."""
    printed = project.engine.docker("inspect", "--format", "{{json .Config.Env}}", project.containers()[service].id)
    return {name: value for name, _, value in (each.partition("=") for each in json.loads(printed)) if value}
