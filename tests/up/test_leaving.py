"""A project ends when its containers are gone, though plain `docker compose down` tells dmrc nothing (#16, A5)."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.polling import eventually
from tests.up.compose_project import STAY, TINY, ComposeProject, ask, runners, service
from tests.up.conftest import MakeProject


def _up(shop: ComposeProject, *more: str) -> str:
    """Start a project of two services, and return the key of one when Docker's containers were noticed."""
    tiny = {"model": TINY, "context_size": 256, "x-dmrc": {"parallel": 1}}
    services = {"app": service(STAY, models=["llm"]), "other": service(STAY)}
    shop.write({"services": services, "models": {"llm": tiny}})
    shop.up("--detach")
    return shop.keys["app"]


def _compose(shop: ComposeProject, *arguments: str) -> None:
    """Run the user's own Compose, with the override file, since there is no plugin for its `models:`."""
    command = ["docker", "compose", "-f", "compose.yaml", "-f", str(shop.override), *arguments]
    environment = {**os.environ, **shop.engine.environment}
    subprocess.run(command, cwd=shop.directory, env=environment, check=True, capture_output=True)


def _projects(shop: ComposeProject) -> object:
    return json.loads(shop.dmrc.ok("status", "--json"))["projects"]


def _status(shop: ComposeProject, key: str) -> int:
    return ask(f"http://127.0.0.1:{shop.dmrc.port}", key)[0]


def test_after_down_the_key_ends_and_nothing_is_known_of_the_project(own_project: MakeProject) -> None:
    shop = own_project("leaves")
    key = _up(shop)
    assert _status(shop, key) == 200

    _compose(shop, "down")

    eventually(lambda: _status(shop, key) == 401, "end of the key")
    assert _projects(shop) == []
    assert json.loads(shop.dmrc.ok("configure", "show", "--json")) == []
    eventually(lambda: runners(shop.dmrc) == {}, "end of the runner")
    assert _up(shop) == key
    assert _status(shop, key) == 200


@pytest.mark.parametrize("words", [["stop"], ["restart"], ["kill"], ["rm", "--stop", "--force", "other"]])
def test_as_long_as_there_is_a_container_it_stays(own_project: MakeProject, words: list[str]) -> None:
    shop = own_project("stays")
    key = _up(shop)

    _compose(shop, *words)
    _compose(shop, "up", "--detach", "--force-recreate", "app")

    assert _status(shop, key) == 200
    assert _projects(shop) == ["stays"]


def test_one_that_got_no_containers_ends_with_its_compose(own_project: MakeProject) -> None:
    shop = own_project("none")
    missing = {"image": "127.0.0.1:1/no/such:image", "models": ["llm"]}
    shop.write({"services": {"app": missing}, "models": {"llm": {"model": TINY, "context_size": 256}}})
    assert shop.dmrc.run("up", "--detach", cwd=shop.directory).returncode != 0
    key = shop.keys["app"]
    assert _status(shop, key) == 200
    other = own_project("there")
    _up(other)  # whose containers are an event: otherwise it is noticed within a minute

    eventually(lambda: _status(shop, key) == 401, "end of the key")

    assert _projects(other) == ["there"]


def test_one_that_ended_while_no_daemon_ran_is_noticed_by_the_next(own_project: MakeProject) -> None:
    shop = own_project("unseen")
    key = _up(shop)
    database = shop.dmrc.home / "projects.sqlite3"
    eventually(lambda: b'"has_containers": true' in database.with_suffix(".sqlite3-wal").read_bytes(), "a look")
    shop.dmrc.ok("stop-runner")

    _compose(shop, "down")
    shop.dmrc.ok("ui", "--print")  # which starts the daemon

    eventually(lambda: _status(shop, key) == 401, "end of the key")


def test_one_without_containers_stays_for_the_program_on_this_machine(own_project: MakeProject) -> None:
    shop = own_project("here")
    key = _up(shop)
    printed = shop.dmrc.ok("exec", "app", "--", "printenv", "OPENAI_API_KEY", cwd=shop.directory)

    _compose(shop, "down")
    alone = own_project("alone")
    alone.write({"services": {"app": service(STAY, models=["llm"])}, "models": {"llm": {"model": TINY}}})
    other = alone.dmrc.ok("exec", "app", "--", "printenv", "OPENAI_API_KEY", cwd=alone.directory).strip()
    alone.dmrc.ok("stop-runner")
    alone.dmrc.ok("ui", "--print")

    assert printed.strip() == key
    assert (_status(shop, key), _status(alone, other)) == (200, 200)
    shop.down()
    assert _status(shop, key) == 401


def test_docker_that_does_not_answer_ends_nothing(own_project: MakeProject, tmp_path: Path) -> None:
    shop = own_project("quiet")
    with _forwarded(shop.engine.directory / "d.sock", tmp_path / "docker.sock") as forwarder:
        shop.dmrc.environment["DOCKER_HOST"] = f"unix://{tmp_path}/docker.sock"
        key = _up(shop)
        forwarder.close()
        _compose(shop, "down")

        assert _status(shop, key) == 200
        assert _projects(shop) == ["quiet"]

        forwarder.open()
        eventually(lambda: _status(shop, key) == 401, "end of the key")
    shop.dmrc.environment |= shop.engine.environment


class _Forwarder:
    """Passes connections at one unix socket on to another, or breaks them all: Docker that is stopped."""

    def __init__(self, target: Path, path: Path) -> None:
        self._target, self._path = target, path
        self._sockets: list[socket.socket] = []

    def open(self) -> None:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self._path))
        listener.listen()
        self._sockets.append(listener)
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def close(self) -> None:
        self._path.unlink(missing_ok=True)
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._sockets.clear()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                ours, _ = listener.accept()
                theirs = socket.socket(socket.AF_UNIX)
                theirs.connect(str(self._target))
                self._sockets += [ours, theirs]
                for source, sink in ((ours, theirs), (theirs, ours)):
                    threading.Thread(target=self._pass, args=(source, sink), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def _forwarded(target: Path, path: Path) -> Iterator[_Forwarder]:
    forwarder = _Forwarder(target, path)
    forwarder.open()
    try:
        yield forwarder
    finally:
        forwarder.close()
