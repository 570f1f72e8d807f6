"""`dmrc exec --replay`: a program that asks is run and waited for, and what was not recorded is told at its end."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from dmrc.cassettes.runs import ReplayRun
from dmrc.project import Replay
from tests.cassettes.exchanges import chat, exchange, whole
from tests.dmrc_command import Dmrc, temporary_dmrc

_ASK = """
import json, os, sys, urllib.error, urllib.request
for text in sys.argv[2:]:
    body = {"model": os.environ["OPENAI_MODEL"], "messages": [{"role": "user", "content": text}]}
    request = urllib.request.Request(os.environ["OPENAI_BASE_URL"] + "/chat/completions", json.dumps(body).encode())
    request.add_header("authorization", "Bearer " + os.environ["OPENAI_API_KEY"])
    request.add_header("content-type", "application/json")
    try:
        print(json.load(urllib.request.urlopen(request))["choices"][0]["message"]["content"])
    except urllib.error.HTTPError as error:
        print(error.code, json.load(error)["error"]["message"])
sys.exit(int(sys.argv[1]))
"""


@pytest.fixture(scope="module")
def replaying(needs_process: None) -> Iterator[Dmrc]:
    """A dmrc that knows no model, and no registry."""
    with temporary_dmrc() as dmrc:
        yield dmrc


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A project with one recorded request; its model is nowhere."""
    recording = ReplayRun.load(Replay(directory=str(tmp_path / "cassettes"), mode="record"))
    recording.add(exchange(chat("What is a whale?"), whole("A mammal.")))
    recording.close()
    model = {"model": "127.0.0.1:1/ai/nowhere", "x-dmrc": {"engine": "vllm", "chat_template": "./not-here.jinja"}}
    services = {"api": {"image": "x", "models": ["llm"]}, "web": {"image": "x", "models": ["llm"]}}
    document = {"name": "shop", "services": services, "models": {"llm": model}}
    (tmp_path / "compose.yaml").write_text(yaml.safe_dump(document))
    return tmp_path


def ask(dmrc: Dmrc, shop: Path, *texts: str, service: str = "api", code: int = 0) -> subprocess.CompletedProcess[str]:
    program = (sys.executable, "-c", _ASK, str(code), *texts)
    return dmrc.run("exec", "--replay", service, "--", *program, cwd=shop)


def test_what_is_recorded_is_answered_without_the_model(replaying: Dmrc, shop: Path) -> None:
    """Neither its engine is there, nor a file that it names."""
    done = ask(replaying, shop, "What is a whale?", "What is a whale?", code=7)

    assert (done.returncode, done.stdout) == (7, "A mammal.\nA mammal.\n")
    assert done.stderr.splitlines()[-1] == (
        "api: 2 answered from cassettes/api.jsonl (1 of them more often than recorded: the last answer again)"
    )


def test_a_miss_ends_with_exit_code_1_and_both_texts(replaying: Dmrc, shop: Path) -> None:
    done = ask(replaying, shop, "What is a whale?", "What is a shark?")

    assert done.returncode == 1
    assert done.stdout.splitlines()[1].startswith("422 service 'api' asked what is not recorded; the nearest is")
    assert done.stderr.splitlines()[-5:] == [
        "api: 1 answered from cassettes/api.jsonl",
        "1 request was not recorded, and refused:",
        "  api: the nearest is api.jsonl:2, which differs in message 1 (user), at character 11",
        "    recorded: 'What is a whale?'",
        "    asked:    'What is a shark?'",
    ]


def test_the_exit_code_of_the_program_comes_before_that_of_a_miss(replaying: Dmrc, shop: Path) -> None:
    assert ask(replaying, shop, "What is a shark?", code=9).returncode == 9


def test_a_service_without_a_cassette_is_told_before_and_after(replaying: Dmrc, shop: Path) -> None:
    done = ask(replaying, shop, "What is a whale?", service="web")

    assert done.returncode == 1
    assert "web: has no cassette cassettes/web.jsonl, so each request of it is refused." in done.stderr
    assert done.stderr.splitlines()[-1].startswith("  web: service 'web' asked what is not recorded, and the cassette")


def test_a_directory_that_follows_a_space_is_told_how_to_be_written(replaying: Dmrc, shop: Path) -> None:
    done = replaying.run("exec", "--replay", "cassettes", "api", "--", "true", cwd=shop)

    assert done.returncode == 3
    assert "has no service 'cassettes'. For a directory of cassettes write --replay=cassettes" in done.stderr


def test_a_broken_cassette_is_named_with_its_line_before_the_program_runs(replaying: Dmrc, shop: Path) -> None:
    cassette = shop / "cassettes" / "api.jsonl"
    cassette.write_text(cassette.read_text().replace('{"request": {', '{"request": [', 1))

    done = ask(replaying, shop, "What is a whale?")

    assert (done.returncode, done.stdout) == (2, "")
    assert f"{cassette}:2" in done.stderr.replace("'", "")


def test_a_program_that_is_not_there_is_told_as_without_a_replay(replaying: Dmrc, shop: Path) -> None:
    done = replaying.run("exec", "--replay", "api", "--", "no-such-program", cwd=shop)

    assert done.returncode == 3
    assert done.stderr.splitlines()[-1] == (
        "dmrc: cannot run 'no-such-program': No such file or directory. Is it on PATH?"
    )


@contextlib.contextmanager
def asking_long(dmrc: Dmrc, shop: Path, text: str, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Run a program that asks one thing, says so, and ends when its input does."""
    waits = f"{_ASK.rpartition('sys.exit')[0]}sys.stdout.flush(); sys.stdin.read()"
    argv = [str(dmrc.program), "exec", *options, "api", "--", sys.executable, "-c", waits, "0", text]
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(argv, cwd=shop, env=dmrc.environment, text=True, **streams) as process:
        assert process.stdout is not None
        assert process.stdout.readline(), process.communicate()
        yield process
        process.communicate()


def test_two_runs_side_by_side_each_tell_what_was_missed_since_they_began(replaying: Dmrc, shop: Path) -> None:
    with asking_long(replaying, shop, "What is a shark?", "--replay") as first:
        during = ask(replaying, shop, "What is a whale?")
        with asking_long(replaying, shop, "What is a squid?", "--replay") as second:
            pass
        told = first.communicate()[1]

    after = ask(replaying, shop, "What is a whale?")

    assert [during.returncode, second.returncode, first.returncode, after.returncode] == [0, 1, 1, 0]
    assert "2 requests were not recorded, and refused:" in told
    assert "api: 1 answered from cassettes/api.jsonl" in after.stderr, "nobody waited for the former run"


def test_what_was_recorded_meanwhile_is_answered_in_a_run_that_goes_on(replaying: Dmrc, shop: Path) -> None:
    with asking_long(replaying, shop, "What is a shark?", "--replay"):
        recording = ReplayRun.load(Replay(directory=str(shop / "cassettes"), mode="record"))
        recording.add(exchange(chat("What is a shark?"), whole("A fish.")))
        recording.close()

        assert ask(replaying, shop, "What is a shark?", "What is a whale?").stdout == "A fish.\nA mammal.\n"


def test_a_second_command_is_replayed_as_the_one_that_runs_and_asks_models_afterwards(
    replaying: Dmrc, shop: Path
) -> None:
    """It would take the replay away from the first one, whose requests then went to a model."""
    program = ("exec", "api", "--", sys.executable, "-c", _ASK, "0", "What is a whale?")
    with asking_long(replaying, shop, "What is a shark?", "--replay") as first:
        second = replaying.run(*program, cwd=shop)
        variables = replaying.run("env", "api", cwd=shop)

    third = replaying.run(*program, cwd=shop)

    assert (second.returncode, second.stdout, first.returncode) == (0, "A mammal.\n", 1)
    for done in (second, variables):
        assert "project 'shop' is up with --replay, and so is this" in done.stderr
    assert third.returncode not in (0, 1)
    assert "not-here.jinja" in third.stderr
