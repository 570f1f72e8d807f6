"""`dmrc launch` of applications in containers: an image stands in that asks what it was told to ask."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3

from tests.dmrc_command import Dmrc
from tests.docker_engine import DockerEngine
from tests.polling import eventually
from tests.ports import free_port

pytestmark = pytest.mark.engine

_BODY = '{"model":"\'"$MODEL"\'","max_tokens":4,"messages":[{"role":"user","content":"Hi"}]}'
_ASK = (
    '/busybox wget -qO- --header "Content-Type: application/json" --header "Authorization: Bearer $KEY" '
    f"--post-data '{_BODY}' \"$URL/chat/completions\""
)
_OPENWEBUI = "URL=$OPENAI_API_BASE_URL KEY=$OPENAI_API_KEY MODEL=$DEFAULT_MODELS"
_ANYTHINGLLM = "URL=$GENERIC_OPEN_AI_BASE_PATH KEY=$GENERIC_OPEN_AI_API_KEY MODEL=$GENERIC_OPEN_AI_MODEL_PREF"
# What it was answered is the page that it serves, as long as it runs; its volume remembers each start.
_SERVE = (
    f"{_OPENWEBUI}; {_ASK} > /index.html; echo once >> /app/backend/data/starts; exec /busybox httpd -f -p 8080 -h /"
)


@pytest.fixture
def launching(dmrc: Dmrc, docker_engine: DockerEngine, busybox: str, gguf: Path) -> Iterator[Dmrc]:
    dmrc.environment |= docker_engine.environment
    dmrc.ok("package", "--gguf", gguf, "local/tiny")
    dmrc.ok("package", "--gguf", gguf, "--context-size", "64", "local/other")
    yield dmrc
    docker_engine.docker("rm", "--force", "dmrc-openwebui", "dmrc-anythingllm", check=False)
    docker_engine.docker("volume", "rm", "--force", "dmrc-openwebui", "dmrc-anythingllm", check=False)


def test_an_application_stays_with_its_key_and_its_data(launching: Dmrc, docker_engine: DockerEngine) -> None:
    port = free_port()
    wish = ["launch", "openwebui", "--model", "local/tiny", "--image", "busybox:local", "--port", str(port), "--detach"]
    command = [*wish, "--", "sh", "-c", _SERVE]

    started = launching.run(*command)
    again = launching.run(*command)

    assert started.returncode == 0, started.stderr
    assert f"openwebui: http://127.0.0.1:{port} as soon as it is up" in started.stderr
    assert _page(port)["usage"]["completion_tokens"] == 4
    (asked,) = json.loads(launching.ok("requests", "--json"))
    assert (asked["project"], asked["service"], asked["model_key"]) == ("key:openwebui", "openwebui", "local/tiny")
    assert again.returncode == 2
    assert "openwebui runs already. End it: docker stop dmrc-openwebui" in again.stderr
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((str(docker_engine.bridge.ip), port), 5).close()
    key = _variables(docker_engine)["OPENAI_API_KEY"]
    _stop(docker_engine)
    launching.ok(*command)
    assert _page(port)["usage"]["completion_tokens"] == 4
    assert _variables(docker_engine)["OPENAI_API_KEY"] == key
    kept = docker_engine.docker("exec", "dmrc-openwebui", "/busybox", "cat", "/app/backend/data/starts")
    assert kept.split() == ["once", "once"]
    models = urllib3.request(
        "GET", f"http://127.0.0.1:{launching.port}/v1/models", headers={"authorization": f"Bearer {key}"}
    )
    assert {each["id"] for each in models.json()["data"]} == {"local/tiny", "local/other"}, "what the page lets choose"


def test_a_revoked_key_ends_for_an_application_until_it_is_launched_again(
    launching: Dmrc, docker_engine: DockerEngine
) -> None:
    wish = [
        "launch",
        "openwebui",
        "--model",
        "local/tiny",
        "--image",
        "busybox:local",
        "--port",
        str(free_port()),
        "-d",
    ]
    command = [*wish, "--", "sleep", "600"]
    launching.ok(*command)
    first = _variables(docker_engine)["OPENAI_API_KEY"]
    listed = json.loads(launching.ok("key", "list", "--json"))

    launching.ok("key", "revoke", "openwebui")

    assert [each["name"] for each in listed] == ["openwebui"]
    assert _status_with(launching, first) == 401
    _stop(docker_engine)
    launching.ok(*command)
    second = _variables(docker_engine)["OPENAI_API_KEY"]
    assert second != first
    assert (_status_with(launching, first), _status_with(launching, second)) == (401, 200)


def _status_with(dmrc: Dmrc, key: str) -> int:
    headers = {"authorization": f"Bearer {key}"}
    return urllib3.request("GET", f"http://127.0.0.1:{dmrc.port}/v1/models", headers=headers).status


def test_an_application_in_the_foreground_is_dockers_own(launching: Dmrc) -> None:
    wish = ["launch", "anythingllm", "--model", "local/other", "--image", "busybox:local", "--port", str(free_port())]

    done = launching.run(
        *wish, "--", "sh", "-c", f"{_ANYTHINGLLM}; {_ASK}; echo; echo $GENERIC_OPEN_AI_MODEL_TOKEN_LIMIT; exit 7"
    )

    assert done.returncode == 7, done.stderr
    answer, tokens = done.stdout.splitlines()
    assert json.loads(answer)["model"] == "local/other"
    assert tokens == "64"


def _page(port: int) -> dict[str, dict[str, int]]:
    """Return what the stand-in was answered, which it serves when it is up."""

    def look() -> dict[str, dict[str, int]] | None:
        try:
            body = urllib3.request("GET", f"http://127.0.0.1:{port}/index.html", retries=False, timeout=5).data
            found: dict[str, dict[str, int]] = json.loads(body)
        except (urllib3.exceptions.HTTPError, ValueError):
            return None
        return found

    return eventually(look, "the page of the application")


def _stop(engine: DockerEngine) -> None:
    """Stop the application, and wait until its name is free: Docker removes it after that answer."""
    engine.docker("stop", "--time", "0", "dmrc-openwebui")
    left = ("ps", "--all", "--quiet", "--filter", "name=^/dmrc-openwebui$")
    eventually(lambda: not engine.docker(*left).strip(), "the end of the container")


def _variables(engine: DockerEngine) -> dict[str, str]:
    told = json.loads(engine.docker("inspect", "--format", "{{json .Config.Env}}", "dmrc-openwebui"))
    return dict(each.split("=", 1) for each in told)
