"""`dmrc diff` with a daemon: what was really sent, sent to something else."""

from __future__ import annotations

import json
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dmrc.errors import NotFoundError
from tests.comparison.asking import Asked, every_way
from tests.comparison.scripted_server import STORY, ScriptedServer, scripted_server
from tests.dmrc_command import Dmrc, temporary_dmrc
from tests.polling import eventually

COMPOSE = """
name: shop
services: {{api: {{image: none, models: [llm]}}, other: {{image: none, models: [llm]}}}}
models:
  llm: {{model: good, x-dmrc: {{upstream: {{url: "{url}", model: good}}}}}}
"""
CASES = 10
NOT_TIMED = ("--parallel", "2")
"""The server answers in a millisecond, and on a busy machine one of the answers would be called slower."""


@dataclass
class Shop:
    """A project whose model answers by script, and was asked in every way."""

    dmrc: Dmrc
    directory: Path
    server: ScriptedServer
    ids: dict[str, list[str]]
    other_key: str

    def diff(self, *arguments: str) -> dict[str, object]:
        return json.loads(self.dmrc.ok("diff", "--service", "api", "--json", *NOT_TIMED, *arguments))

    def bad(self, *arguments: str) -> dict[str, object]:
        return self.diff("--upstream", self.server.url, "--upstream-model", "bad", *arguments)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, needs_process: None) -> Iterator[Shop]:
    directory = tmp_path_factory.mktemp("shop")
    with temporary_dmrc() as dmrc, scripted_server() as server:
        (directory / "compose.yaml").write_text(COMPOSE.format(url=server.url))
        key, other_key = (
            json.loads(dmrc.ok("env", service, "--format", "json", cwd=directory))["OPENAI_API_KEY"]
            for service in ("api", "other")
        )
        ids = {
            kind: [asked.send(dmrc.port, key) for asked in every_way(kind, "good", CASES if kind in PLANTED else 4)]
            for kind in ("json", "tool", "text", "refuse", "fail", "same")
        }
        yield Shop(dmrc, directory, server, ids, other_key)


PLANTED = {"json": "schema", "tool": "tools", "text": "cut"}


def test_each_planted_regression_is_found_in_each_dialect_whole_and_streamed(shop: Shop) -> None:
    report = shop.bad()

    found = {row["id"]: [one["kind"] for one in row["differences"]] for row in report["requests"]}
    worst = {
        kind: {found[id][0] for id in ids} if all(found[id] for id in ids) else None
        for kind, ids in shop.ids.items()
        if kind != "same"
    }
    assert worst == {"json": {"schema"}, "tool": {"tools"}, "text": {"cut"}, "refuse": {"refusal"}, "fail": {"error"}}
    assert [found[id] for id in shop.ids["same"]] == [[]] * 4
    kinds = [row["differences"][0]["kind"] for row in report["requests"] if row["differences"]]
    assert kinds == sorted(kinds, key=["error", "schema", "tools", "cut", "refusal"].index)


def test_a_rerun_of_the_same_raises_no_alarm(shop: Shop) -> None:
    report = shop.diff()

    assert report["compared"] == 3 * CASES + 12
    assert (report["regressions"], report["counts"], report["left_out"]) == (0, {}, {})


def test_the_record_marks_what_diff_asked_and_the_next_one_leaves_it_out(shop: Shop) -> None:
    first = shop.bad("--last", "3")
    listed = {one["id"]: one for one in json.loads(shop.dmrc.ok("requests", "--json", "-n", "1000"))}

    for row in first["requests"]:
        again = listed[row["diff_id"]]
        assert again["annotations"]["diff"] == row["id"]
        assert (again["project"], again["service"]) == ("diff:shop", None)
    assert "(diff of " in shop.dmrc.ok("requests", "-n", "3")
    ids = {row["id"] for row in shop.diff("--last", "50")["requests"]}
    everything = json.loads(shop.dmrc.ok("diff", "--json", "--last", "1000"))
    assert ids == {id for kind in shop.ids.values() for id in kind}
    assert {row["id"] for row in everything["requests"]} >= ids
    assert not {row["diff_id"] for row in first["requests"]} & {row["id"] for row in everything["requests"]}


def test_the_key_of_an_upstream_is_sent_and_is_in_no_record(shop: Shop) -> None:
    arguments = ("--upstream", shop.server.url, "--upstream-model", "bad", "--upstream-key", "BAD_KEY", "--last", "8")
    without = shop.dmrc.run("diff", "--service", "api", *arguments)

    done = shop.dmrc.run("diff", "--service", "api", "--json", *arguments, env={"BAD_KEY": "hunter2-of-bad"})

    assert (without.returncode, without.stdout) == (2, "")
    assert "--upstream-key names BAD_KEY, which is not set" in without.stderr
    errors = [one["words"] for row in json.loads(done.stdout)["requests"] for one in row["differences"]]
    assert "500 server_error: out of cards for Bearer [redacted]" in errors
    assert not any(b"hunter2" in path.read_bytes() for path in shop.dmrc.home.glob("*.sqlite3*"))


def test_nobody_else_can_mark_a_request(shop: Shop) -> None:
    request = urllib.request.Request(
        f"http://127.0.0.1:{shop.dmrc.port}/v1/chat/completions",
        json.dumps({"model": "good", "messages": [{"role": "user", "content": "text 1"}]}).encode(),
        {"authorization": f"Bearer {shop.other_key}", "x-dmrc-diff": "0190aaaa-0000-7000-8000-000000000000"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        id = answer.headers["x-dmrc-exchange-id"]

    assert "diff" not in json.loads(shop.dmrc.ok("requests", "show", id, "--json"))["annotations"]


def test_thresholds_decide_the_exit_code_and_the_page_is_written(shop: Shop, tmp_path: Path) -> None:
    page = tmp_path / "diff.html"
    again = ("diff", "--service", "api", *NOT_TIMED)
    bad = (*again, "--upstream", shop.server.url, "--upstream-model", "bad")

    failing = shop.dmrc.run(*bad, "--fail-on", "schema,tokens+900%", "--html", page)
    passing = shop.dmrc.run(*again, "--fail-on", "schema,tools,cut,refusal,error,text")
    wrong = shop.dmrc.run(*bad, "--fail-on", "schemas")

    assert failing.returncode == 1
    assert failing.stderr == "fails by --fail-on: schema: 10 of 42\n"
    assert failing.stdout.splitlines()[0].split()[:4] == ["ID", "SERVICE", "MODEL", "TOKENS"]
    assert "42 compared: 38 worse (4 error, 10 schema, 10 tools, 10 cut, 4 refusal)" in failing.stdout
    assert STORY[:40] in page.read_text()
    assert page.stat().st_mode & 0o777 == 0o600
    assert (passing.returncode, passing.stderr) == (0, "")
    assert passing.stdout.startswith("42 compared: 0 worse, 0 in other words, 42 the same\n")
    assert wrong.returncode == 2
    assert "did you mean 'schema'?" in wrong.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_its_key_ends_with_the_command_however_that_ends(shop: Shop, number: signal.Signals) -> None:
    """With Ctrl+C what was answered so far is compared."""
    dmrc, server = shop.dmrc, shop.server
    server.may_answer.clear()
    for text in ("text 1", "wait 1"):
        body = {"model": "good", "messages": [{"role": "user", "content": text}]}
        Asked("/v1/chat/completions", body).send(dmrc.port, shop.other_key)
    before = len(server.bodies)
    arguments = ("--service", "other", "--last", "2", "--upstream", server.url, "--upstream-model", "bad")
    command = subprocess.Popen(
        [dmrc.program, "diff", *arguments],
        env=dmrc.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    # Two: the first one has been answered when the second one comes.
    eventually(lambda: server.bodies[before + 1 :], "the request that waits")
    client = dmrc.daemon_client()
    assert client.request("POST", "/projects/diff:shop/load/bad?wait=0") == {}

    command.send_signal(number)
    output, _ = command.communicate(timeout=30)
    server.may_answer.set()

    def is_gone() -> bool:
        try:
            return client.request("POST", "/projects/diff:shop/load/bad?wait=0") is None
        except NotFoundError:
            return True

    eventually(is_gone, "the end of the diff")
    if number == signal.SIGINT:
        assert command.returncode == 130
        assert "were not sent" in output


def test_a_project_that_is_not_there_has_nothing_to_send(shop: Shop) -> None:
    done = shop.dmrc.run("diff", "--service", "nobody")

    assert (done.returncode, done.stdout) == (3, "")
    assert "no request was recorded that matches" in done.stderr
