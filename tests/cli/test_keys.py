"""`dmrc key`: keys for what is not a compose service."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import urllib3

from tests.dmrc_command import Dmrc
from tests.docker_engine import DockerEngine

_CHAT = {"max_tokens": 4, "messages": [{"role": "user", "content": "Hi"}]}


@pytest.fixture
def other(dmrc: Dmrc, gguf: Path) -> str:
    """A second model in the store."""
    dmrc.ok("package", "--gguf", gguf, "--context-size", "32", "me/other")
    return "me/other"


def _ask(dmrc: Dmrc, key: str, model: str) -> urllib3.BaseHTTPResponse:
    return urllib3.request(
        "POST",
        f"http://127.0.0.1:{dmrc.port}/engines/v1/chat/completions",
        headers={"authorization": f"Bearer {key}"},
        json={**_CHAT, "model": model},
    )


@pytest.mark.engine
def test_a_key_opens_what_the_store_has_until_it_is_revoked(dmrc: Dmrc, tiny: str, other: str) -> None:
    created = dmrc.run("key", "create", "--name", "notebook")
    key = created.stdout.strip()

    answers = [_ask(dmrc, key, model).status for model in (tiny, other)]
    (listed,) = json.loads(dmrc.ok("key", "list", "--json"))
    (asked, _) = json.loads(dmrc.ok("requests", "--service", "notebook", "--json"))
    revoked = dmrc.run("key", "revoke", "notebook")

    assert created.returncode == 0, created.stderr
    assert f"on this machine: http://127.0.0.1:{dmrc.port}/engines/v1" in created.stderr
    assert answers == [200, 200]
    assert (listed["name"], listed["models"]) == ("notebook", [])
    assert listed["last_request_at"] >= listed["created_at"] > 0
    assert (asked["project"], asked["service"], asked["key_id"]) == (
        "key:notebook",
        "notebook",
        hashlib.sha256(key.encode()).hexdigest()[:12],
    )
    assert " key:notebook " in dmrc.ok("requests")
    assert json.loads(dmrc.ok("status", "--json"))["projects"] == [], "a key is no project"
    assert revoked.returncode == 0, revoked.stderr
    refused = _ask(dmrc, key, tiny)
    assert refused.status == 401
    assert "dmrc key create" in refused.json()["error"]["message"]
    assert json.loads(dmrc.ok("key", "list", "--json")) == []


@pytest.mark.engine
def test_a_key_with_models_opens_no_others(dmrc: Dmrc, tiny: str, other: str) -> None:
    created = json.loads(dmrc.ok("key", "create", "--name", "ci", "--model", tiny, "--json"))

    allowed, refused = (_ask(dmrc, created["key"], model) for model in (tiny, other))

    assert created["models"] == [tiny]
    assert allowed.status == 200
    assert refused.status == 403
    assert refused.json()["error"]["message"].startswith(
        f"key 'ci' may not use model '{other}'. It opens '{tiny}'; for"
    )
    listed = urllib3.request(
        "GET", f"{created['base_url']}/models", headers={"authorization": f"Bearer {created['key']}"}
    ).json()
    assert [model["id"] for model in listed["data"]] == [tiny]
    assert dmrc.ok("key", "list").splitlines()[1].split()[:2] == ["ci", tiny]


def test_a_key_survives_the_daemon_and_is_nowhere_in_plain(dmrc: Dmrc) -> None:
    key = dmrc.ok("key", "create", "--name", "notebook").strip()
    url, headers = f"http://127.0.0.1:{dmrc.port}/v1/models", {"authorization": f"Bearer {key}"}

    dmrc.ok("stop-runner")
    dmrc.ok("key", "list")

    assert urllib3.request("GET", url, headers=headers).status == 200
    files = [path for path in dmrc.home.rglob("*") if path.is_file()]
    assert [path for path in files if key.encode() in path.read_bytes()] == []


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (
            ("create", "--name", "ci"),
            2,
            "there is a key 'ci' already. Choose another name, or end it: dmrc key revoke ci",
        ),
        (("create", "--name", "a b"), 2, "a key cannot be called 'a b'. Use up to 64 letters"),
        (("create", "--name", "b", "--model", "me/tinny"), 3, "(did you mean 'me/tiny'?). See: dmrc list"),
        (("revoke", "cii"), 3, "there is no key 'cii' (did you mean 'ci'?). See: dmrc key list"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(
    dmrc: Dmrc, tiny: str, command: tuple[str, ...], code: int, said: str
) -> None:
    del tiny  # it is in the store
    dmrc.ok("key", "create", "--name", "ci")

    done = dmrc.run("key", *command)

    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_shell_completes_names_of_keys_and_of_models(dmrc: Dmrc, tiny: str) -> None:
    dmrc.ok("key", "create", "--name", "notebook")

    def complete(*words: str) -> str:
        variables = {"COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
        return dmrc.run(env={"_DMRC_COMPLETE": "bash_complete", **variables}).stdout

    assert complete("dmrc", "key", "revoke", "no").split() == ["plain,notebook"]
    assert complete("dmrc", "key", "create", "--model", "me").split() == [f"plain,{tiny}"]


@pytest.mark.engine
def test_a_container_that_compose_did_not_start_gets_in_by_its_key_alone(
    dmrc: Dmrc, tiny: str, docker_engine: DockerEngine, busybox: str
) -> None:
    dmrc.environment |= docker_engine.environment
    created = json.loads(dmrc.ok("key", "create", "--name", "script", "--json"))
    dmrc.ok("stop-runner")
    before = json.loads(dmrc.run("status", "--json").stdout)
    dmrc.ok("key", "list")  # the next daemon listens where the key's containers are
    endpoint = json.loads(dmrc.ok("status", "--json"))["endpoint"]

    def ask(network: str = "bridge") -> str:
        # It stays a moment: Docker must still have it when the daemon asks whose the address is.
        command = ["sh", "-c", '/busybox wget "$@"; /busybox sleep 1', "wget"]
        command += ["-qO-", "--header", f"Authorization: Bearer {created['key']}"]
        command += ["--header", "Content-Type: application/json", "--post-data", json.dumps({**_CHAT, "model": tiny})]
        return docker_engine.docker(
            "run", "--rm", "--network", network, busybox, *command, f"{endpoint}chat/completions", check=False
        )

    docker_engine.docker("network", "create", "elsewhere")
    answers = [json.loads(ask()), json.loads(ask("elsewhere"))]
    asked = json.loads(dmrc.ok("requests", "--service", "script", "--json"))
    dmrc.ok("key", "revoke", "script")

    docker_engine.docker("network", "rm", "elsewhere")
    assert endpoint == f"http://{docker_engine.bridge.ip}:{dmrc.port}/engines/v1/"
    assert endpoint == f"{created['container_base_url']}/" == before["endpoint"]
    assert [answer["usage"]["completion_tokens"] for answer in answers] == [4, 4]
    assert all(one["container"] and one["project"] == "key:script" for one in asked)
    assert "401" in ask()
