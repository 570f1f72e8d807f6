"""What `dmrc exec` and `env` leave behind: a key that ends when nobody has used it for a week (#16, A5)."""

from __future__ import annotations

import json
import sqlite3
import time
from pathlib import Path

import pytest
import yaml

from tests.dmrc_command import Dmrc
from tests.polling import eventually
from tests.tiny_gguf import write_tiny_llama
from tests.up.compose_project import ask

pytestmark = pytest.mark.engine

_DAY = 86400


def _set_back(dmrc: Dmrc, project: str, days: int) -> None:
    """Have a project be used last so many days ago; no daemon may run."""
    with sqlite3.connect(dmrc.home / "projects.sqlite3") as database:
        (text,) = database.execute("SELECT registration FROM project WHERE name = ?", (project,)).fetchone()
        changed = json.dumps({**json.loads(text), "used_at": time.time() - days * _DAY})
        database.execute("UPDATE project SET registration = ? WHERE name = ?", (changed, project))
    database.close()


def test_a_key_ends_that_nobody_has_used_for_a_week_and_the_next_exec_has_it_again(dmrc: Dmrc, tmp_path: Path) -> None:
    dmrc.ok("package", "--gguf", write_tiny_llama(tmp_path / "t.gguf"), "local/tiny")
    keys = {}
    for name in ("old", "young"):
        (tmp_path / name).mkdir()
        services = {"app": {"image": "x", "models": ["llm"]}}
        document = {"name": name, "services": services, "models": {"llm": {"model": "local/tiny"}}}
        (tmp_path / name / "compose.yaml").write_text(yaml.safe_dump(document))
        keys[name] = dmrc.ok("exec", "app", "--", "printenv", "OPENAI_API_KEY", cwd=tmp_path / name).strip()
    dmrc.ok("stop-runner")
    _set_back(dmrc, "old", 8)
    _set_back(dmrc, "young", 6)
    gateway = f"http://127.0.0.1:{dmrc.port}"

    dmrc.ok("ui", "--print")  # which starts the daemon

    eventually(lambda: ask(gateway, keys["old"])[0] == 401, "end of the key")
    assert ask(gateway, keys["young"])[0] == 200
    assert json.loads(dmrc.ok("status", "--json"))["projects"] == ["young"]
    again = dmrc.ok("exec", "app", "--", "printenv", "OPENAI_API_KEY", cwd=tmp_path / "old").strip()
    assert (again, ask(gateway, again)[0]) == (keys["old"], 200)


def test_a_request_counts_as_use(dmrc: Dmrc, tmp_path: Path) -> None:
    dmrc.ok("package", "--gguf", write_tiny_llama(tmp_path / "t.gguf"), "local/tiny")
    document = {"name": "asks", "services": {"app": {"image": "x", "models": ["llm"]}}}
    (tmp_path / "compose.yaml").write_text(yaml.safe_dump({**document, "models": {"llm": {"model": "local/tiny"}}}))
    key = dmrc.ok("env", "app", "--format", "json", cwd=tmp_path)
    dmrc.ok("stop-runner")
    _set_back(dmrc, "asks", 6)

    dmrc.ok("ui", "--print")
    asked = ask(f"http://127.0.0.1:{dmrc.port}", json.loads(key)["OPENAI_API_KEY"])[0]
    dmrc.ok("stop-runner")

    with sqlite3.connect(dmrc.home / "projects.sqlite3") as database:
        (text,) = database.execute("SELECT registration FROM project").fetchone()
    database.close()
    assert (asked, time.time() - json.loads(text)["used_at"] < _DAY) == (200, True)
