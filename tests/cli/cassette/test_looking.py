"""`dmrc cassette list`, `show` and `check`: what is recorded, and whether it may be committed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from dmrc.cli.app import App
from dmrc.cli.main import create_cli
from dmrc.hooks.plugins import Plugins
from dmrc.settings import Settings
from tests.cassettes.exchanges import chat, exchange, whole
from tests.cli.cassette.conftest import Run, record

pytestmark = pytest.mark.fast

TOKEN = "ghp_" + "a1B2" * 9


def test_list_shows_whose_they_are_and_what_is_in_them(run: Run, cassettes: Path) -> None:
    listed = run("list")

    header, api, web = listed.out.splitlines()
    assert header.split() == ["SERVICE", "INTERACTIONS", "MODELS", "SIZE", "CHANGED", "FILE"]
    assert api.split()[:3] == ["api", "2", "llm"] and api.endswith("cassettes/api.jsonl")
    assert web.split()[:3] == ["web", "1", "llm"]
    (first, _) = run("list", "--json").json
    assert first["size_bytes"] == (cassettes / "api.jsonl").stat().st_size


def test_list_tells_of_a_damaged_one_and_lists_the_others(run: Run, cassettes: Path) -> None:
    (cassettes / "api.jsonl").write_text("no cassette\n")

    listed = run("list")

    assert listed.code == 1
    assert "api.jsonl:1" in listed.err
    assert "web" in listed.out and "api" not in listed.out


def test_another_directory_can_be_named(run: Run, cassettes: Path, tmp_path: Path) -> None:
    (other := tmp_path / "other").mkdir()
    (cassettes / "web.jsonl").rename(other / "web.jsonl")

    assert [one["service"] for one in run("list", "--dir", other, "--json").json] == ["web"]


def test_a_directory_without_cassettes_says_how_to_make_some(run: Run, tmp_path: Path) -> None:
    listed = run("list", "--dir", tmp_path)

    assert listed.code == 3
    assert "dmrc up --record" in listed.err


def test_without_a_project_and_cassettes_the_project_is_missed(run: Run) -> None:
    assert "no compose file" in run("list").err


def test_show_tells_a_conversation(run: Run, cassettes: Path) -> None:
    shown = run("show", "api").out

    assert "api.jsonl:2" in shown and "stream of 8 pieces" in shown
    assert "The capital is Paris." in shown
    assert "api.jsonl:3" in shown and "whole after" in shown


def test_show_of_a_line_shows_that_alone_with_its_times(run: Run, cassettes: Path) -> None:
    shown = run("show", "api:2", "--times").out

    assert "Italy" not in shown
    assert "     10.0 ms  ' Paris'" in shown


def test_show_as_json_has_messages_and_answers(run: Run, cassettes: Path) -> None:
    (one,) = run("show", cassettes / "api.jsonl:2", "--json", "--times").json

    assert one["messages"][0]["text"] == "Capital of France?"
    assert one["answer"]["messages"][0]["text"] == "The capital is Paris."
    assert len(one["pieces"]) == one["answer"]["pieces"] == 8


@pytest.mark.parametrize(
    ("name", "code", "told"),
    [
        ("apu", 3, "no cassette 'apu' in 'cassettes' (did you mean 'api'?)"),
        ("api:9", 3, "has no request in line 9. It has 2 to 3"),
        ("api:x", 2, "Write SERVICE:LINE"),
    ],
)
def test_what_is_not_there_is_named_with_what_is(run: Run, cassettes: Path, name: str, code: int, told: str) -> None:
    shown = run("show", name)

    assert (shown.code, shown.out) == (code, "")
    assert told in shown.err


def test_check_finds_nothing_wrong_with_what_was_recorded(run: Run, cassettes: Path) -> None:
    checked = run("check")

    assert (checked.code, checked.out) == (0, "")
    assert run("check", "--json").json == []


@pytest.mark.parametrize("part", ["request", "answer"])
def test_check_finds_a_secret_and_does_not_repeat_it(run: Run, cassettes: Path, part: str) -> None:
    question, said = (f"My token is {TOKEN}", "Fine") if part == "request" else ("Hi", f"Take {TOKEN}")
    record(cassettes, exchange(chat(question), whole(said)))

    checked = run("check", "api")

    assert checked.code == 1
    assert checked.out.startswith(f"cassettes/api.jsonl:4: a secret is in the {part} at ")
    assert "(ghp_…)" in checked.out and TOKEN not in checked.out


def test_check_finds_a_key_of_dmrc_in_a_stream_of_pieces(run: Run, cassettes: Path) -> None:
    path = cassettes / "api.jsonl"
    path.write_text(path.read_text().replace(" Paris", " sk-dmrc-" + "Zz09" * 8))

    assert run("check", path).out.startswith("cassettes/api.jsonl:2: a secret is in the answer")


def changed(line: str, **more: object) -> str:
    return json.dumps({**json.loads(line), **more}) + "\n"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "it cannot be read"),
        ('{"request": {}, "answer": {}}', "'body' is missing"),
        ("half", "cannot be read"),
        ("OTHER ROUTE", "there is no route /v1/nothing"),
        ("UNKNOWN", "has what this dmrc does not know: headers_sent"),
    ],
)
def test_check_names_each_line_that_is_of_no_use(run: Run, cassettes: Path, line: str, told: str) -> None:
    path = cassettes / "api.jsonl"
    header, first, second = path.read_text().splitlines()
    bad = {
        "OTHER ROUTE": first.replace("/v1/chat/completions", "/v1/nothing"),
        "UNKNOWN": changed(first, headers_sent={}).strip(),
    }.get(line, line)
    path.write_text("\n".join((header, bad, second)) + "\n")

    checked = run("check")

    assert checked.code == 1
    assert [one["line"] for one in run("check", "--json").json] == [2]
    assert told in checked.out


def test_check_finds_a_cassette_of_another_version_or_name(run: Run, cassettes: Path) -> None:
    path = cassettes / "web.jsonl"
    path.write_text(path.read_text().replace('{"cassette": 1', '{"cassette": 99'))
    (cassettes / "api.jsonl").rename(cassettes / "shop.jsonl")

    lines = run("check").out.splitlines()

    assert "shop.jsonl:1: it says that it is of service 'api'" in lines[0]
    assert "web.jsonl:1: it is of version 99" in lines[1]


def test_check_takes_files_and_directories(run: Run, cassettes: Path) -> None:
    assert run("check", cassettes, cassettes / "web.jsonl").err == "nothing is wrong with 2 cassettes\n"


def offered(*words: str) -> list[str]:
    """Return what a shell would offer for the last of the words."""
    plugins = Plugins(())
    app = App(Settings.from_environment({"DMRC_HOME": "home"}), plugins)
    shell = ShellComplete(create_cli(plugins), {"obj": app}, "dmrc", "_DMRC_COMPLETE")
    return [item.value for item in shell.get_completions(["cassette", *words[:-1]], words[-1])]


def test_a_shell_is_offered_the_services_that_have_one(run: Run, cassettes: Path, project: Path) -> None:
    (elsewhere := project / "tapes").mkdir()
    (cassettes / "web.jsonl").rename(elsewhere / "shop.jsonl")

    assert offered("show", "a") == ["api"]
    assert offered("show", "--dir", "tapes", "") == ["shop"]
    (project / "compose.yaml").write_text("x-dmrc: {replay: {cassettes: tapes}}\nservices: {shop: {image: none}}\n")
    assert offered("check", "s") == ["shop"]
    assert offered("sh") == ["show"]


def test_check_finds_the_cassettes_of_each_test_below_a_directory(run: Run, cassettes: Path) -> None:
    record(cassettes / "test_app" / "test_one", exchange(chat("Hi"), whole("Hello")))
    record(cassettes / "test_app" / "test_two", exchange(chat(f"My token is {TOKEN}"), whole("Fine")))

    assert run("check", "cassettes").out.startswith("cassettes/test_app/test_two/api.jsonl:2: a secret")
