"""Three replicas of a model behind one runner, everywhere that they are shown: a real child tells of them."""

from __future__ import annotations

import http.client
import json
import socket
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from dmrc.gateway.plugins.replica_metrics import MOST_NAMES, Names
from tests.dmrc_command import Dmrc
from tests.engines.installed_toy import install_toy
from tests.polling import eventually

COMPOSE = """
name: shop
services:
  web: {image: none, models: [llm]}
models:
  llm: {model: local/toy, x-dmrc: {engine: toy-bridge, keep_alive: -1}}
"""
THREE = {
    "slots": 5,
    "replicas": [
        {"name": "r1", "node": "box-r1", "state": "ready", "slots": 4, "in_use": 1},
        {"name": "r2", "node": "box-r2", "state": "draining", "slots": 1, "in_use": 1},
        {"name": "http://10.0.0.7:8080", "node": None, "state": "starting", "slots": 0, "in_use": 0},
    ],
}

Ask = Callable[..., bytes]


class Bridge(http.client.HTTPConnection):
    """A connection to the child itself."""

    def __init__(self, path: Path) -> None:
        super().__init__("child", timeout=30)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self._path))


@pytest.fixture
def ask(dmrc: Dmrc, tmp_path: Path) -> Ask:
    """Ask as the service `web`; the model has run before, and has three replicas."""
    install_toy(dmrc, "tests.engines.toy_bridge")
    (tmp_path / "compose.yaml").write_text(COMPOSE)
    key = json.loads(dmrc.ok("env", "web", "--format", "json", cwd=tmp_path))["OPENAI_API_KEY"]

    def ask(**more: object) -> bytes:
        body = {"model": "llm", "messages": [{"role": "user", "content": "hi"}], "stream": True, **more}
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        url = f"http://127.0.0.1:{dmrc.port}/engines/v1/chat/completions"
        asked = urllib.request.Request(url, json.dumps(body).encode(), headers)
        with urllib.request.urlopen(asked, timeout=60) as answer:
            return bytes(answer.read())

    ask(max_tokens=1)
    (child,) = (dmrc.home / "run").glob("runner-*.sock")
    bridge = Bridge(child)
    bridge.request("POST", "/told", json.dumps(THREE), {"content-type": "application/json"})
    assert bridge.getresponse().status == 200
    bridge.close()
    eventually(lambda: len(runner(dmrc)["replicas"]) == 3, "the daemon knows of the replicas")
    return ask


def runner(dmrc: Dmrc) -> dict[str, Any]:
    (found,) = json.loads(dmrc.ok("ps", "--json"))
    return dict(found)


def requests(dmrc: Dmrc, count: int, *options: str) -> list[dict[str, Any]]:
    def found() -> list[dict[str, Any]] | None:
        page = json.loads(dmrc.ok("requests", "--json", *options))
        return page if len(page) == count else None

    return eventually(found, f"{count} requests are on record")


def test_ps_has_a_line_for_each_replica_below_its_runner(dmrc: Dmrc, ask: Ask) -> None:
    header, line, *replicas = dmrc.ok("ps").splitlines()

    assert line.startswith("local/toy ")
    places = [header.index(name) for name in ("STATE", "SLOTS")]
    assert [[row[place:].split()[0] for place in places] for row in replicas] == [
        ["ready", "1/4"],
        ["draining", "1/1"],
        ["starting", "0/0"],
    ]
    names = [row.split("  ")[1] for row in replicas]
    assert names == ["r1 on box-r1", "r2 on box-r2", "http://10.0.0.7:8080"]
    assert (runner(dmrc)["replicas"], runner(dmrc)["parallel"]) == (THREE["replicas"], 5)


def test_the_record_says_who_answered_and_who_broke_off(dmrc: Dmrc, ask: Ask) -> None:
    ask(by="r2", instead_of="r1: it closed the connection", max_tokens=2, waited_ms=60_000)
    broken = ask(by="r2", max_tokens=4, cut=2)

    first, whole, cut = requests(dmrc, 3)
    assert [(one["replica"], one["node"]) for one in (first, whole, cut)] == [("r1", "box-r1"), *[("r2", "box-r2")] * 2]
    assert whole["annotations"]["instead_of"] == ["r1: it closed the connection"]
    assert 60_000 <= whole["queue_ms"] < 60_000 + first["total_ms"] + whole["total_ms"]
    assert b"replica 'r2' on node 'box-r2'" in broken
    assert "replica 'r2' on node 'box-r2'" in cut["error_message"]
    assert [one["id"] for one in requests(dmrc, 2, "--node", "box-r2")] == [whole["id"], cut["id"]]
    assert "replica r2 on box-r2" in dmrc.ok("requests", "show", cut["id"])


def test_metrics_count_by_replica_and_tell_how_busy_each_is(dmrc: Dmrc, ask: Ask) -> None:
    ask(by="r2", max_tokens=1)

    def scraped() -> dict[tuple[str, str, str], float] | None:
        url = f"http://127.0.0.1:{dmrc.port}/metrics"
        with urllib.request.urlopen(url, timeout=30) as answer:
            families = list(text_string_to_metric_families(answer.read().decode()))
        found = {}
        for each in (one for family in families for one in family.samples if "replica" in one.name):
            labels = each.labels
            found[each.name, labels.get("node", ""), labels.get("replica", labels.get("state", ""))] = each.value
        counted = sum(value for (name, *_), value in found.items() if name == "dmrc_replica_requests_total")
        return found if counted == 2 else None

    told = eventually(scraped, "both requests are counted")
    assert told["dmrc_replica_requests_total", "box-r1", "r1"] == 1
    assert told["dmrc_replica_requests_total", "box-r2", "r2"] == 1
    assert told["dmrc_replica_slots_in_use", "box-r2", "r2"] == told["dmrc_replica_slots", "box-r2", "r2"] == 1
    assert told["dmrc_replica_slots", "", "http://10.0.0.7:8080"] == 0
    assert {state: told["dmrc_runner_replicas", "", state] for state in ("starting", "ready", "draining")} == {
        "starting": 1,
        "ready": 1,
        "draining": 1,
    }


def test_names_of_replicas_do_not_become_labels_without_end() -> None:
    """A replica has a new name with each start, and a counter forgets none."""
    names = Names()

    labels = [names.label(f"r{number}") for number in range(MOST_NAMES + 5)]

    assert labels[-6:] == [f"r{MOST_NAMES - 1}", *["other"] * 5]
    assert (names.label("r0"), names.label("new")) == ("r0", "other")


def test_the_log_of_a_replica_can_be_read(dmrc: Dmrc, ask: Ask) -> None:
    told = dmrc.ok("logs", "local/toy", "--replica", "r2", "-n", "3")

    assert told == "r2: line 0\nr2: line 1\nr2: line 2\n"
    for options, code, message in (
        (("local/toy", "--replica", "r9"), 3, "has no replica 'r9': it has r1, r2, http://10.0.0.7:8080. See: dmrc ps"),
        (("--replica", "r1"), 2, "--replica needs the model that it is of"),
        (("-f", "local/toy", "--replica", "r1"), 2, "--follow does not go with --replica"),
    ):
        refused = dmrc.run("logs", *options)
        assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (code, "", 1), refused
        assert message in refused.stderr


def test_the_page_shows_replicas_their_logs_and_who_answered(dmrc: Dmrc, ask: Ask) -> None:
    ask(by="r2", max_tokens=2)
    (_, exchange) = requests(dmrc, 2)
    models, one = dmrc.page("/ui/models"), dmrc.page(f"/ui/requests/{exchange['id']}")
    listed = dmrc.page("/ui/requests?node=box-r2")
    log = dmrc.page(f"/ui/logs/{runner(dmrc)['id']}?replica=r2")

    assert all(f"<bdi>{name}</bdi>" in models for name in ("r1", "r2", "http://10.0.0.7:8080"))
    assert 'href="/ui/requests?node=box-r2"' in models
    assert "<dt>Replica</dt><dd><bdi>r2</bdi>" in one
    assert '<a href="/ui/requests?node=box-r2"><bdi>box-r2</bdi></a>' in one
    assert listed.count("<small>box-r2</small>") == 1
    assert "r2: line 499" in log
    with pytest.raises(urllib.error.HTTPError, match="404"):
        dmrc.page(f"/ui/logs/{runner(dmrc)['id']}?replica=r9")
