"""`x-dmrc: {auth: address}`: containers that have the address and the key of Docker Model Runner's samples."""

from __future__ import annotations

import contextlib
import json
import socket

import pytest

from tests.polling import eventually
from tests.up.compose_project import STAY, TINY, ComposeProject, question, service
from tests.up.conftest import MakeProject

pytestmark = [pytest.mark.docker, pytest.mark.engine]

_SAMPLE = question("http://model-runner.docker.internal/engines/v1/", "not-required", TINY)
_MODELS = {"llm": {"model": TINY, "context_size": 256, "x-dmrc": {"parallel": 1}}}


def write(shop: ComposeProject, auth: str = "address") -> None:
    services = {
        "app": service(f"{_SAMPLE}; {STAY}", models=["llm"]),
        # It has the name of the gateway from nobody, and no models.
        "other": service(f"{_SAMPLE}; {STAY}", extra_hosts=["model-runner.docker.internal:host-gateway"]),
    }
    shop.write({"services": services, "models": _MODELS, "x-dmrc": {"auth": auth}})


def test_it_is_known_by_its_address_and_another_service_is_not(project: MakeProject) -> None:
    shop = project("samples")
    write(shop)

    shop.up("--detach")

    found = shop.answers("app", "other")
    assert {name: (one["status"], one["key_id"]) for name, one in found.items()} == {
        "app": (200, None),
        "other": (401, None),
    }
    assert found["app"]["model_key"] == "llm"
    assert found["app"]["container"] == shop.containers()["app"].id[:12]


def test_after_a_restart_of_the_daemon_it_still_is(project: MakeProject) -> None:
    shop = project("samples")
    services = {"app": service(f"while true; do {_SAMPLE}; /busybox sleep 0.2; done", models=["llm"])}
    shop.write({"services": services, "models": _MODELS, "x-dmrc": {"auth": "address"}})
    shop.up("--detach")
    shop.answers("app")

    shop.dmrc.ok("stop-runner")
    before = len(shop.exchanges())
    shop.dmrc.ok("ui", "--print")  # which starts the daemon

    eventually(lambda: [one for one in shop.exchanges()[before:] if one["status"] == 200])


def test_where_port_80_is_taken_the_user_is_told(own_project: MakeProject) -> None:
    shop = own_project("samples")
    write(shop)
    address = json.loads(shop.engine.docker("network", "inspect", "bridge"))[0]["IPAM"]["Config"][0]["Gateway"]

    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # the daemon of the tests before has it
            stack.enter_context(socket.create_server((address, 80)))
        told = shop.up("--detach").stderr

    assert (
        f"http://model-runner.docker.internal is served on port {shop.dmrc.port} only: port 80 on {address} is" in told
    )
