"""`dmrc diff` with a daemon: what was really sent, sent to something else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.comparison.asking import every_way
from tests.comparison.scripted_server import ScriptedServer, scripted_server
from tests.dmrc_command import Dmrc, temporary_dmrc

COMPOSE = """
name: shop
services: {{api: {{image: none, models: [llm]}}, other: {{image: none, models: [llm]}}}}
models:
  llm: {{model: good, x-dmrc: {{upstream: {{url: "{url}", model: good}}}}}}
"""
CASES = 10


@dataclass
class Shop:
    """A project whose model answers by script, and was asked in every way."""

    dmrc: Dmrc
    directory: Path
    server: ScriptedServer
    ids: dict[str, list[str]]

    def diff(self, *arguments: str) -> dict[str, object]:
        return json.loads(self.dmrc.ok("diff", "--service", "api", "--json", *arguments))

    def bad(self, *arguments: str) -> dict[str, object]:
        return self.diff("--upstream", self.server.url, "--upstream-model", "bad", *arguments)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, needs_process: None) -> Iterator[Shop]:
    directory = tmp_path_factory.mktemp("shop")
    with temporary_dmrc() as dmrc, scripted_server() as server:
        (directory / "compose.yaml").write_text(COMPOSE.format(url=server.url))
        key = json.loads(dmrc.ok("env", "api", "--format", "json", cwd=directory))["OPENAI_API_KEY"]
        ids = {
            kind: [asked.send(dmrc.port, key) for asked in every_way(kind, "good", CASES if kind in PLANTED else 4)]
            for kind in ("json", "tool", "text", "refuse", "fail", "same")
        }
        yield Shop(dmrc, directory, server, ids)


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
