"""`x-dmrc: {auth: address}`: containers that have the address and the key of Docker Model Runner's samples."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import urllib3

from tests.polling import eventually
from tests.slow_server import slow_server
from tests.up.compose_project import STAY, TINY, ComposeProject, question, service
from tests.up.conftest import MakeProject

_SAMPLE = question("http://model-runner.docker.internal/engines/v1/", "not-required", TINY)
_MODELS = {"llm": {"model": TINY, "context_size": 256, "x-dmrc": {"parallel": 1}}}


def pull(port: int, url: str) -> None:
    """Pull as Ollama's clients do, until whoever sends the file has had enough."""
    body = {"model": url, "stream": False}
    urllib3.request("POST", f"http://127.0.0.1:{port}/api/pull", json=body, retries=False, timeout=120)


def write(shop: ComposeProject, **options: object) -> None:
    on_host = question(f"http://model-runner.docker.internal:{shop.dmrc.port}/engines/v1/", "none", TINY)
    services = {
        "app": service(f"{_SAMPLE}; {STAY}", models=["llm"]),
        "other": service(f"{_SAMPLE}; {STAY}"),
        "on-host": service(f"{on_host}; echo; {STAY}", network_mode="host"),
        "beside": service(f"{_SAMPLE}; echo; {STAY}", network_mode="service:other"),
    }
    shop.write({"services": services, "models": _MODELS, "x-dmrc": {"auth": "address", **options}})


def test_every_service_of_the_project_is_known_by_its_address(project: MakeProject) -> None:
    shop = project("samples")
    write(shop)

    shop.up("--detach")

    found = shop.answers("app", "other")
    assert {name: (one["status"], one["key_id"]) for name, one in found.items()} == {
        "app": (200, None),
        "other": (200, None),
    }
    assert found["app"]["model_key"] == found["other"]["model_key"] == "llm"
    assert found["app"]["container"] == shop.containers()["app"].id[:12]
    for name in ("on-host", "beside"):
        eventually(lambda name=name: '"choices"' in shop.engine.docker("logs", shop.containers()[name].id), name)


_GENAI = "http://model-runner.docker.internal/engines/llama.cpp/v1"
"""Written into the env file of applications that know no other server."""


def write_without_models(shop: ComposeProject, model: str, **more: object) -> None:
    """Write a project in the shape of Docker's hello-genai: no service lists a model, and the address is fixed."""
    asks = question("$LLM_BASE_URL/", "not-needed", "$LLM_MODEL_NAME")
    services = {
        name: service(f"{asks}; {STAY}", env_file="llm.env", extra_hosts=["host.docker.internal:host-gateway"])
        for name in ("go", "python")
    }
    shop.write({"services": services, **more})
    (shop.directory / "llm.env").write_text(f"LLM_BASE_URL={_GENAI}\nLLM_MODEL_NAME={model}\n")


def test_where_no_service_lists_a_model_they_may_use_what_the_project_declares(project: MakeProject) -> None:
    shop = project("genai")
    shop.dmrc.ok("tag", TINY, "local/undeclared")
    write_without_models(shop, TINY, models=_MODELS, **{"x-dmrc": {"auth": "address"}})

    up = shop.up("--detach")

    assert f"llm: {TINY}" in up.stderr, "it is loaded before the containers start"
    found = shop.answers("go", "python")
    assert [(one["status"], one["model_key"]) for one in found.values()] == [(200, "llm")] * 2
    shop.down()
    write_without_models(shop, "local/undeclared", models=_MODELS, **{"x-dmrc": {"auth": "address"}})
    before = len(shop.exchanges())
    shop.up("--detach")
    refused = eventually(lambda: shop.exchanges()[before:] or None)
    assert refused[0]["status"] == 403


def test_with_any_model_they_may_use_what_the_store_has(project: MakeProject) -> None:
    shop = project("genai-any")
    write_without_models(shop, TINY, **{"x-dmrc": {"auth": "address", "models": "any"}})

    shop.up("--detach")

    assert [one["status"] for one in shop.answers("go", "python").values()] == [200] * 2


def test_a_url_of_docker_model_runner_among_the_variables_is_served(project: MakeProject) -> None:
    """It has no port. The key is asked for as at any other."""
    shop = project("moved")
    own = {"OPENAI_BASE_URL": "http://model-runner.docker.internal/engines/v1"}
    script = f"while true; do {question()}; /busybox sleep 0.2; done"
    shop.write({"services": {"app": service(script, models=["llm"], environment=own)}, "models": _MODELS})

    shop.up("--detach")

    first = shop.answers("app")["app"]
    assert (first["status"], first["key_id"] is None) == (200, False)
    shop.dmrc.ok("stop-runner")
    before = len(shop.exchanges())
    shop.dmrc.ok("ui", "--print")  # which starts the daemon
    eventually(lambda: [one for one in shop.exchanges()[before:] if one["status"] == 200])


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


_ASKED_MS = """read began _ < /proc/uptime
/busybox wget -qO- http://model-runner.docker.internal/engines/v1/models > /dev/null || exit 1
read ended _ < /proc/uptime
echo $began $ended"""
_PULLS = 7
_AGAIN_SECONDS = 5.2
"""After this Docker is asked anew who has an address."""


def test_slow_pulls_do_not_delay_who_is_known_by_its_address(project: MakeProject) -> None:
    """Docker is asked for each address in a thread: behind six pulls that had all of them it took as long as they."""
    shop = project("samples")
    shop.write({"services": {"app": service(STAY, models=["llm"])}, "models": _MODELS, "x-dmrc": {"auth": "address"}})
    shop.up("--detach")
    id = shop.containers()["app"].id

    def asked_seconds() -> float:
        time.sleep(_AGAIN_SECONDS)
        began, ended = map(float, shop.engine.docker("exec", id, "/busybox", "sh", "-c", _ASKED_MS).split())
        return ended - began

    idle = [asked_seconds() for _ in range(3)]
    with slow_server(trickles=True) as slow, ThreadPoolExecutor(_PULLS) as pool:
        pulls = [pool.submit(pull, shop.dmrc.port, slow.url(f"{number}.gguf")) for number in range(_PULLS)]
        eventually(lambda: len(slow.asked_for) == _PULLS, "beginning of all pulls")
        busy = [asked_seconds() for _ in range(3)]
        done = [one.exception() or one.result() for one in pulls if one.done()]
        shop.dmrc.ok("stop-runner")

    print(f"idle {idle}, during {_PULLS} pulls {busy}, in seconds")
    assert done == []
    # The least: each waits behind the pulls where one does, and on a busy machine a single one tells about the machine.
    assert min(busy) < min(idle) + 0.3
