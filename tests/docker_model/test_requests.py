"""`docker model requests --follow`, against a real daemon and engine."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3

from tests.dmrc_command import Dmrc
from tests.polling import eventually

pytestmark = pytest.mark.engine

_CONNECTED = "Connected to request stream. Press Ctrl+C to stop.\n"


@pytest.fixture
def serving(docker_model: Dmrc, gguf: Path) -> Dmrc:
    """A `docker model` with two models, and a daemon."""
    docker_model.ok("package", "--gguf", gguf, "--context-size", "256", "ai/tiny")
    docker_model.ok("package", "--gguf", gguf, "--context-size", "128", "ai/other")
    docker_model.ok("start-runner")
    return docker_model


@contextlib.contextmanager
def following(dmrc: Dmrc, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run the command until it has connected, or with `--include-existing` has begun to."""
    command = [str(dmrc.program), "requests", "--follow", *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=dmrc.environment, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            assert process.stderr is not None
            assert process.stderr.readline() == _CONNECTED
            yield process
        finally:
            process.kill()


def ask(dmrc: Dmrc, model: str, word: str) -> None:
    body = {"model": model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2, "user": word}
    url = f"http://127.0.0.1:{dmrc.port}/engines/v1/chat/completions"
    answer = urllib3.request("POST", url, json=body, timeout=60)
    assert answer.status == 200, answer.data


def record(process: subprocess.Popen[str]) -> dict[str, str]:
    """Return the record in the next event."""
    assert process.stdout is not None
    (group,) = json.loads(process.stdout.readline())
    (found,) = group["records"]
    assert isinstance(found, dict)
    return found


def test_each_request_is_a_line_and_a_large_one_ends_nothing(serving: Dmrc) -> None:
    """Docker Model Runner's own client ends without a word at an event of more than 64 KiB."""
    with following(serving) as process:
        words = ["first", "x" * 200_000, "last"]
        seen = []
        for word in words:
            ask(serving, "ai/tiny", word)
            seen.append(record(process))

        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=20)

    assert [json.loads(each["request"])["user"] for each in seen] == words
    assert (process.returncode, rest, errors) == (130, "", "dmrc: interrupted\n")


def test_past_requests_of_one_model_come_first_and_the_daemons_end_ends_it(serving: Dmrc) -> None:
    for model in ("ai/tiny", "ai/other"):
        ask(serving, model, f"past of {model}")
    eventually(lambda: len(json.loads(serving.ok("requests"))) == 2, "records of both")

    with following(serving, "--include-existing", "--model", "ai/tiny") as process:
        past = record(process)
        ask(serving, "ai/other", "not asked for")
        ask(serving, "ai/tiny", "new")
        new = record(process)
        serving.ok("stop-runner")
        rest, errors = process.communicate(timeout=20)

    assert [json.loads(each["request"])["user"] for each in (past, new)] == ["past of ai/tiny", "new"]
    assert (process.returncode, rest, errors) == (0, "", "Stream closed by server.\n")


def test_existing_requests_are_only_for_a_follower(docker_model: Dmrc) -> None:
    done = docker_model.run("requests", "--include-existing")

    assert (done.returncode, done.stdout) == (2, "")
    assert "--include-existing can only be used with --follow" in done.stderr
