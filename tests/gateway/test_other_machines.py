"""A daemon that listens for other machines: who comes in by TLS and a key, and what stays on this machine."""

from __future__ import annotations

import json
import os
import re
import shutil
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import openai
import pytest

from dmrc.dialects.table import DIALECTS
from tests.dmrc_command import Dmrc, temporary_dmrc
from tests.engines.certificates import Authority
from tests.ports import free_port

HELLO = [{"role": "user", "content": "Say hello."}]
MODEL = "local/tiny"


@dataclass
class Box:
    """A dmrc that listens for other machines, with one model."""

    dmrc: Dmrc
    authority: Authority
    port: int
    certificate: tuple[Path, Path]

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    @property
    def trusting(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.authority.certificate)

    def key(self, name: str) -> str:
        return self.dmrc.ok("key", "create", "--name", name).strip()

    def get(self, path: str, method: str = "GET", **headers: str) -> httpx.Response:
        with httpx.Client(verify=self.trusting, timeout=60) as client:
            return client.request(method, self.url + path, headers=headers)


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory, gguf: Path, needs_engine: None) -> Iterator[Box]:
    authority = Authority(tmp_path_factory.mktemp("authority"))
    certificate = authority.issue("box")
    with temporary_dmrc() as dmrc:
        port = free_port()
        dmrc.environment |= listening_at(f"[::]:{port}", certificate)
        dmrc.ok("package", "--gguf", gguf, MODEL)
        yield Box(dmrc, authority, port, certificate)


def listening_at(address: str, certificate: tuple[Path, Path]) -> dict[str, str]:
    return {"DMRC_LISTEN": address, "DMRC_TLS_CERT": str(certificate[0]), "DMRC_TLS_KEY": str(certificate[1])}


def test_a_real_client_comes_in_by_a_key_and_is_recorded(box: Box) -> None:
    key = box.key("notebook")
    for host in ("localhost", "127.0.0.1", "[::1]"):
        with httpx.Client(verify=box.trusting) as http_client:
            client = openai.OpenAI(
                base_url=f"https://{host}:{box.port}/engines/v1", api_key=key, http_client=http_client, max_retries=0
            )
            stream = client.chat.completions.create(model=MODEL, messages=HELLO, stream=True, max_tokens=8)
            assert list(stream)[-1].choices[0].finish_reason == "length"

    recorded = json.loads(box.dmrc.ok("requests", "--json", "--service", "notebook"))
    assert [each["status"] for each in recorded] == [200, 200, 200]


def test_programs_that_cannot_send_a_key_have_it_in_the_path(box: Box) -> None:
    url = f"{box.url}/k/{box.key('curl')}/engines/v1/models"

    printed = subprocess.run(
        ["curl", "--silent", "--show-error", "--cacert", box.authority.certificate, url],
        check=True,
        capture_output=True,
        text=True,
    )

    assert [model["id"] for model in json.loads(printed.stdout)["data"]] == ["docker.io/local/tiny:latest"]


def test_openssl_finds_tls_1_2_and_1_3_and_nothing_older(box: Box) -> None:
    def asked(*version: str) -> str:
        words = ["openssl", "s_client", "-connect", f"127.0.0.1:{box.port}", "-CAfile", box.authority.certificate]
        done = subprocess.run([*words, *version], input="", capture_output=True, text=True, timeout=30)
        return done.stdout

    for version, name in (("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")):
        assert f"New, {name}" in asked(version)
        assert "Verify return code: 0 (ok)" in asked(version)
    assert "New, (NONE)" in asked("-tls1_1", "-cipher", "ALL:@SECLEVEL=0")


def test_nobody_comes_in_without_a_key_of_ours(box: Box) -> None:
    for headers in ({}, {"authorization": "Bearer not-required"}, {"authorization": "Bearer sk-dmrc-guessed"}):
        answer = box.get("/engines/v1/models", **headers)
        assert answer.status_code == 401
    assert "dmrc key create" in box.get("/engines/v1/models").json()["error"]["message"]
    revoked = box.key("old")
    assert box.get("/engines/v1/models", authorization=f"Bearer {revoked}").status_code == 200
    box.dmrc.ok("key", "revoke", "old")
    assert box.get("/engines/v1/models", authorization=f"Bearer {revoked}").status_code == 401


def test_every_route_wants_a_key_and_a_key_manages_nothing(box: Box) -> None:
    """All routes of the document, which loopback alone shows, and those of inference."""
    key = box.key("manager")
    described = httpx.get(f"http://127.0.0.1:{box.dmrc.port}/openapi.json").json()["paths"]
    routes = [(method.upper(), path) for path, methods in described.items() for method in methods]
    routes += [("POST", path.format(v1="/v1", root="")) for dialect in DIALECTS for path in dialect.routes()]
    own = ("/models", "/api/tags", "/api/ps", "/api/version", "/engines/requests")
    """What a key is shown: the models that it opens, and its own record."""
    opened = []
    for method, path in routes:
        filled = re.sub(r"{[^}]*}", "x", path)
        assert box.get(filled, method).status_code in (401, 403, 404, 405), (method, path)
        if method != "POST" and box.get(filled, method, authorization=f"Bearer {key}").status_code < 400:
            opened.append(path)

    assert len(routes) > 40
    assert not [path for path in opened if not path.endswith(own)]
    assert box.get("/openapi.json", authorization=f"Bearer {key}").status_code in (403, 404)


def test_the_page_is_not_there(box: Box) -> None:
    token = subprocess.run(
        [box.dmrc.program, "ui"], env=box.dmrc.environment | {"BROWSER": "true"}, capture_output=True, text=True
    ).stdout
    path = re.search(r"http://[^/]*(/\S*)", token)
    assert path

    assert box.get(path[1]).status_code == 404
    assert httpx.get(f"http://127.0.0.1:{box.dmrc.port}{path[1]}").status_code < 400


def test_another_dmrc_takes_it_for_an_upstream(box: Box, tmp_path: Path) -> None:
    """Its certificate is of an authority that `SSL_CERT_FILE` names."""
    upstream = f"{{url: '{box.url}/engines/v1', model: {MODEL}, key: BOX_KEY}}"
    (tmp_path / "compose.yaml").write_text(
        f"name: far\nservices: {{app: {{image: none, models: [llm]}}}}\n"
        f"models: {{llm: {{model: {MODEL}, x-dmrc: {{upstream: {upstream}}}}}}}\n"
    )
    environment = {"BOX_KEY": box.key("laptop"), "SSL_CERT_FILE": str(box.authority.certificate)}
    with temporary_dmrc() as here:
        variables = json.loads(here.ok("env", "app", "--format", "json", cwd=tmp_path, env=environment))
        client = openai.OpenAI(
            base_url=variables["OPENAI_BASE_URL"], api_key=variables["OPENAI_API_KEY"], max_retries=0
        )

        answer = client.chat.completions.create(model=variables["OPENAI_MODEL"], messages=HELLO, max_tokens=4)

        assert answer.usage
        assert answer.usage.completion_tokens == 4
        assert json.loads(here.ok("requests", "--json"))[0]["service"] == "app"
    assert json.loads(box.dmrc.ok("requests", "--json", "--service", "laptop"))[0]["status"] == 200


def test_commands_say_where_others_come_in(box: Box) -> None:
    url = f"{box.url}/engines/v1"
    created = box.dmrc.run("key", "create", "--name", "told")

    assert f"elsewhere:       {url}" in created.stderr
    assert f"{url}  (other machines, with a key)" in box.dmrc.ok("status")
    listen = json.loads(box.dmrc.ok("status", "--json"))["listen"]
    assert (listen["address"], listen["port"], listen["url"]) == ("::", box.port, url)
    found = {check["name"]: check for check in json.loads(box.dmrc.run("doctor", "--json").stdout)}
    assert found["network"]["state"] == "warning"  # it has two days
    assert re.search(r"ends in 4\d hours", found["network"]["message"])


def test_doctor_tells_of_a_daemon_that_was_started_without_it(dmrc: Dmrc, box: Box) -> None:
    dmrc.ok("key", "create", "--name", "a")
    environment = listening_at(f"127.0.0.1:{free_port()}", box.certificate)

    found = {check["name"]: check for check in json.loads(dmrc.run("doctor", "--json", env=environment).stdout)}

    assert found["network"]["state"] == "warning"
    assert "dmrc stop-runner" in found["network"]["remedy"]


def test_handshakes_of_a_flood_leave_time_for_others(box: Box) -> None:
    """Each costs a millisecond of the event loop, so no more than 500 begin in a second."""
    box.key("before")  # which starts the daemon
    done = [0] * 4
    begins_at = time.monotonic()
    ends_at = begins_at + 2

    def flood(number: int) -> None:
        client = ssl.create_default_context(cafile=box.authority.certificate)
        while time.monotonic() < ends_at:
            with suppress(httpx.HTTPError), httpx.Client(verify=client, timeout=20) as one:
                one.get(box.url)
                done[number] += 1

    threads = [threading.Thread(target=flood, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    answered = 0
    while any(thread.is_alive() for thread in threads):
        answered += httpx.get(f"http://127.0.0.1:{box.dmrc.port}/", timeout=60).status_code == 200
    for thread in threads:
        thread.join()

    assert answered > 0
    assert 0 < sum(done) <= 500 * (time.monotonic() - begins_at) + 50


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--listen", "0.0.0.0"], "other machines reach 0.0.0.0, and keys would go there unencrypted. Add a cert"),
        (["--listen", "::"], "other machines reach ::, and keys"),
        (["--listen", "box.lan"], "must be an address of this machine"),
        (["--listen", "127.0.0.1:0"], "must be an address of this machine"),
        (["--listen", "192.0.2.7", "CERT", "KEY"], "192.0.2.7 cannot be listened on: "),
        (["--listen", "127.0.0.1", "CERT"], "there is a TLS certificate, and no --tls-key"),
        (["--listen", "127.0.0.1", "KEY"], "there is a TLS key, and no --tls-cert"),
        (["CERT", "KEY"], "DMRC_LISTEN is not set"),
        (["--listen", "127.0.0.1", "CERT", "--tls-key", "/none"], "key '/none' cannot be read: No such file"),
        (["--listen", "127.0.0.1:{port}", "CERT", "KEY"], "is taken"),
    ],
)
def test_a_mistake_is_told_in_one_line_and_nothing_listens(
    arguments: list[str], words: str, dmrc: Dmrc, box: Box
) -> None:
    files = {"CERT": ["--tls-cert", str(box.certificate[0])], "KEY": ["--tls-key", str(box.certificate[1])]}
    given = [part for word in arguments for part in files.get(word, [word.format(port=dmrc.port)])]

    done = dmrc.run("serve", *given, timeout=30)

    lines = [line for line in done.stderr.splitlines() if line.startswith("dmrc: ")]
    assert done.returncode != 0
    assert len(lines) == 1
    assert words in lines[0]
    assert "Traceback" not in done.stderr
    if "is taken" not in words and "listened on" not in words:
        assert done.stderr.splitlines() == lines, "it began before it looked"


def test_loopback_needs_no_tls_but_keys(dmrc: Dmrc) -> None:
    """As for a proxy on this machine that speaks TLS itself."""
    port = free_port()
    with subprocess.Popen(
        [dmrc.program, "serve", "--listen", f"127.0.0.1:{port}"], env=dmrc.environment, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr
        line = next(line for line in process.stderr if b"other machines" in line)
        assert f"http://127.0.0.1:{port}/engines/v1".encode() in line
        assert httpx.get(f"http://127.0.0.1:{port}/engines/v1/models").status_code == 401
        assert httpx.get(f"http://127.0.0.1:{dmrc.port}/engines/v1/models").status_code == 200
        process.terminate()


def test_relative_files_are_those_of_the_command_that_starts_the_daemon(dmrc: Dmrc, box: Box, tmp_path: Path) -> None:
    for source, name in zip(box.certificate, ("box.pem", "box.key"), strict=True):
        shutil.copy(source, tmp_path / name)
    environment = {**listening_at(f"127.0.0.1:{free_port()}", (Path("box.pem"), Path("box.key")))}

    dmrc.ok("key", "create", "--name", "a", cwd=tmp_path, env=environment)

    listen = json.loads(dmrc.ok("status", "--json"))["listen"]
    assert listen["url"] == f"https://127.0.0.1:{listen['port']}/engines/v1"
    assert os.environ.get("DMRC_LISTEN") is None


def test_plain_http_is_for_those_who_say_that_the_way_is_protected(dmrc: Dmrc) -> None:
    """As in a Pod, where a NetworkPolicy says who calls."""
    port = free_port()
    environment = {"DMRC_LISTEN": f"0.0.0.0:{port}", "DMRC_LISTEN_PLAIN": "1"}

    key = dmrc.run("key", "create", "--name", "a", env=environment).stdout.strip()

    url = f"http://127.0.0.1:{port}/engines/v1/models"
    assert httpx.get(url).status_code == 401
    assert httpx.get(url, headers={"authorization": f"Bearer {key}"}).status_code == 200
