"""A project here, its model there: what is pulled, asked and recorded where."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import urllib3
import yaml

from dmrc import __version__
from tests.dmrc_command import temporary_dmrc
from tests.engines.ssh.hosted_project import TINY, HostedProject
from tests.polling import eventually
from tests.processes import recorder_of
from tests.serving import serving
from tests.ssh_host import SshHost
from tests.tiny_gguf import write_tiny_llama

Hosted = Callable[..., HostedProject]


@contextmanager
def slow_files(directory: Path, seconds: float) -> Iterator[str]:
    """Serve files of a directory, each in so many seconds, and yield the URL."""

    class Slow(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(directory))

        def copyfile(self, source: Any, outputfile: Any) -> None:
            data = source.read()
            for start in range(0, len(data), max(1, len(data) // 20)):
                outputfile.write(data[start : start + max(1, len(data) // 20)])
                time.sleep(seconds / 20)

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    with serving(server):
        yield f"http://127.0.0.1:{server.server_address[1]}"


@pytest.mark.slow("pulls for longer than it takes until a line of progress is written")
def test_a_model_is_pulled_there_with_progress_here(box: SshHost, hosted: Hosted, tmp_path: Path) -> None:
    write_tiny_llama(tmp_path / "tiny.gguf", name="Pulled", block_count=16)
    with slow_files(tmp_path, seconds=4) as url:
        project = hosted(f"{url}/tiny.gguf")

        said = project.ready()

    assert re.search(r" %\), [1-9]\d\d\.\d\d kB/s, ", said), said
    assert "on ssh://box" in said
    assert json.loads(box.here.ok("list", "--json")) == []
    assert len(json.loads(box.there.ok("list", "--json"))) == 2
    assert project.answer(model="llm")["usage"]


def test_what_keeps_a_model_from_here_is_told_though_a_host_has_it(hosted: Hosted) -> None:
    project = hosted()
    document = yaml.safe_load(project.file.read_text())
    document["models"]["own"] = {"model": TINY}
    document["services"]["web"]["models"].append("own")
    project.file.write_text(yaml.safe_dump(document))

    assert project.refused().startswith(
        f"dmrc: model '{TINY}' cannot be pulled: registry 'docker.io' cannot be reached"
    )


def test_chats_streams_and_embeddings_come_from_there_and_are_recorded_here_alone(box: SshHost, hosted: Hosted) -> None:
    project = hosted()
    project.ready()

    chat = project.answer()
    stream = project.ask(stream=True).read().decode()
    embedding = json.loads(project.ask("embeddings", input="ba be", max_tokens=None).read())
    unknown = project.ask(model="local/other")
    stranger = project.ask(key="sk-dmrc-somebody-else")

    assert chat["model"] == TINY
    assert stream.endswith("data: [DONE]\n\n")
    assert stream.count('"content"') >= 7
    assert len(embedding["data"][0]["embedding"]) == 64
    assert (unknown.status, stranger.status) == (404, 401)
    recorded = eventually(lambda: len(found := project.requests()) >= 3 and found, "records of the three")
    assert [(one["service"], one["node"], one["status"]) for one in recorded][:3] == [("web", "box", 200)] * 3
    assert {one["engine"] for one in recorded[:3]} == {"ssh"}
    assert recorded[0]["model_digest"] == json.loads(box.there.ok("inspect", TINY))["id"]
    assert json.loads(box.there.ok("requests", "--json", "-n", "1000")) == []
    written = b"".join(path.read_bytes() for path in box.there.home.rglob("*") if path.suffix in (".sqlite3", ".log"))
    assert b"ba be" not in written
    assert b"sk-dmrc-" not in written


def test_the_answer_is_the_one_of_that_machine_itself(box: SshHost, hosted: Hosted) -> None:
    project = hosted()
    project.ready()
    question = {"temperature": 0, "seed": 1, "max_tokens": 32}

    there = ask(f"http://127.0.0.1:{box.there.port}", TINY, **question)

    assert words(project.answer(**question)) == words(there)


@pytest.mark.parametrize("name", [TINY, f"docker.io/{TINY}:latest", "its digest"])
def test_it_is_unloaded_by_its_name_however_that_is_written(box: SshHost, hosted: Hosted, name: str) -> None:
    project = hosted()
    project.ready()
    name = json.loads(box.there.ok("inspect", TINY))["id"] if name == "its digest" else name

    said = box.here.ok("unload", name)

    assert said == "Unloaded 1 model(s).\n"
    assert json.loads(box.here.ok("ps", "--json")) == []
    assert box.here.run("unload", "local/no-such-model").returncode == 3


def test_a_second_up_does_not_connect_again_and_down_ends_the_connection(box: SshHost, hosted: Hosted) -> None:
    project = hosted(parallel=3)
    first = project.ready()
    client = [one.pid for one in box.clients()]
    before = box.log().count("Accepted publickey")

    second = project.ready()

    assert "loaded in" in first
    assert "loaded already" in second
    assert [one.pid for one in box.clients()] == client
    assert box.log().count("Accepted publickey") == before
    (row,) = [one for one in json.loads(box.here.ok("ps", "--json")) if one["replicas"][0]["slots"] == 3]
    assert row["replicas"] == [{"name": "box", "node": "box", "state": "ready", "slots": 3, "in_use": 0}]
    box.here.ok("unload", "--all")
    project.down()
    eventually(lambda: not box.clients() and not box.sessions(), "end of the connection")
    box.there.ok("unload", "--all")
    daemon = box.there.daemon()
    own = [daemon, recorder_of(daemon)]
    eventually(lambda: all(one in own for one in box.there.processes()), "nothing there but the daemon's own")
    assert not list((box.here.home / "run").glob("host-*"))
    links = [path for path in Path("/tmp").glob("dmrc-*.sock") if path.is_symlink()]
    assert not [path for path in links if path.readlink().is_relative_to(box.there.home)]


def test_two_people_share_one_runner_there_and_its_queue(box: SshHost, hosted: Hosted) -> None:
    project = hosted(parallel=1)
    project.ready()
    with temporary_dmrc() as second:
        second.environment |= {name: box.here.environment[name] for name in ("PATH", "DMRC_REMOTE_COMMAND")}
        other = HostedProject(SshHost(second, box.there, box.directory, box.port), parallel=1)
        other.ready()
        long = project.stream()

        waiting = threading.Thread(target=other.answer)
        waiting.start()
        eventually(lambda: [one for one in runners_there(box) if one["waiting"] == 1], "one who waits there")
        long.close()
        waiting.join(30)

        assert not waiting.is_alive()
        assert [one["status"] for one in eventually(other.requests, "record of the answer")] == [200]
    assert len([one for one in runners_there(box) if one["parallel"] == 1]) == 1


def test_a_host_may_stand_for_all_models_and_in_the_environment(box: SshHost, hosted: Hosted) -> None:
    project = hosted(host=None)

    box.here.environment["DMRC_HOST"] = "ssh://box"
    of_shell = project.ready()
    looked = json.loads(box.here.run("doctor", "--json").stdout)
    del box.here.environment["DMRC_HOST"]
    project.file.write_text(project.file.read_text() + "x-dmrc: {host: ssh://box}\n")
    of_project = project.ready()

    assert "on ssh://box" in of_shell
    assert "loaded already · on ssh://box" in of_project
    assert project.answer()["model"] == TINY
    found = [one for one in looked if one["name"] == "ssh"]
    assert found == [{"name": "ssh", "state": "ok", "message": f"ssh://box has dmrc {__version__}", "remedy": None}]


def test_the_log_of_the_engine_there_is_read_here(box: SshHost, hosted: Hosted) -> None:
    project = hosted()
    project.ready()
    project.answer()

    said = box.here.ok("logs", TINY, "--replica", "box")
    without = box.here.run("logs", TINY)

    assert "llama" in said or "slot" in said, said
    remedy = f"Run: dmrc logs {TINY} --replica box"
    assert without.stderr == f"dmrc: the log of model '{TINY}' is where it runs. {remedy}\n"
    shown = box.here.ok("requests", "show", project.requests()[-1]["id"])
    assert "  node box  " in shown
    assert "  box  " in box.here.ok("ps")


def runners_there(box: SshHost) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(box.there.ok("ps", "--json"))
    return found


def words(answer: Any) -> str:
    return str(answer["choices"][0]["message"]["content"])


def ask(url: str, model: str, **more: object) -> object:
    body = {"model": model, "messages": [{"role": "user", "content": "ba be"}], **more}
    return urllib3.request("POST", f"{url}/engines/v1/chat/completions", json=body, retries=False, timeout=60).json()
