"""Containers of a project where no engine answers, and what lines of `docker ps` mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from dmrc.compose.container_states import ContainerState, container_states, state_of


def test_an_engine_that_does_not_answer_is_not_one_without_containers(tmp_path: Path) -> None:
    assert container_states(f"unix://{tmp_path}/none.sock", "shop") is None


@pytest.mark.parametrize(
    ("state", "status", "code"),
    [
        ("running", "Up 3 minutes (healthy)", None),
        ("running", "Up 2 hours (42)", None),
        ("exited", "Exited (137) 5 seconds ago", 137),
        ("exited", "Exited (0) About an hour ago", 0),
        ("dead", "Dead", None),
        ("created", "Created", None),
    ],
)
def test_the_code_of_an_end_is_read_out_of_the_status(state: str, status: str, code: int | None) -> None:
    assert state_of("a" * 64, "web", state, status) == ContainerState("a" * 12, "web", state, status, code)
