"""`dmrc cassette edit`: a request or an answer as text, and back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.cassette.conftest import Run

pytestmark = pytest.mark.fast


@pytest.fixture
def editor(monkeypatch: pytest.MonkeyPatch):
    """Let an editor be a function from text to text; click's part, to find one and start it, is left out."""

    def edit(change) -> None:
        monkeypatch.setenv("EDITOR", "none")
        monkeypatch.setattr("click.edit", lambda text, extension: change(text))

    return edit


def pieces(path: Path, line: int) -> list:
    return json.loads(path.read_text().splitlines()[line - 1])["answer"]["pieces"]


def test_a_stream_says_something_else_in_as_many_pieces(run: Run, cassettes: Path, editor) -> None:
    path = cassettes / "api.jsonl"
    before = pieces(path, 2)
    editor(lambda text: text.replace("The capital is Paris.", "The capital is Rome, Italy."))

    edited = run("edit", "api:2")

    assert (edited.code, edited.err) == (0, "changed api.jsonl:2\n")
    assert "The capital is Rome, Italy." in run("show", "api:2").out
    changed = [(old, new) for old, new in zip(before, pieces(path, 2), strict=True) if old != new]
    assert changed == [([10.0, " Paris"], [10.0, " Rome, Italy"])]


def test_only_the_lines_that_were_changed_are_written_anew(run: Run, cassettes: Path, editor) -> None:
    path = cassettes / "api.jsonl"
    before = path.read_text().splitlines()
    editor(lambda text: text.replace("Capital of Italy?", "Which is the capital of Italy?").replace("Rome", "Roma"))

    run("edit", "api")

    after = path.read_text().splitlines()
    assert after[:2] == before[:2]
    assert after[2] == before[2].replace("Capital of Italy", "Which is the capital of Italy").replace("Rome", "Roma")


def test_a_text_that_was_left_as_it_is_changes_nothing(run: Run, cassettes: Path, editor) -> None:
    before = (cassettes / "api.jsonl").read_bytes()
    editor(lambda text: text)

    assert run("edit", "api").err == "nothing is changed\n"
    assert (cassettes / "api.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("text: Rome", "txt: Rome", ":10: answer has no field 'txt' (did you mean 'text'?)"),
        ("text: Rome", "text: 7", ":11: answer.text must be a text, not 7. Put it in quotes"),
        ("text: Rome", "text: [", ": "),
        ("line: 3", "line: 4", ":2: line must be one of 3, not 4"),
    ],
)
def test_what_cannot_be_meant_is_told_with_its_line_and_the_text_is_kept(
    run: Run, cassettes: Path, editor, old: str, new: str, told: str
) -> None:
    before = (cassettes / "api.jsonl").read_bytes()
    editor(lambda text: text.replace(old, new))

    edited = run("edit", "api:3")

    assert edited.code == 2
    assert told in edited.err
    kept = Path(edited.err.rpartition("--set ")[2].strip())
    assert new in kept.read_text() and edited.err.startswith(f"dmrc: {kept}:")
    kept.write_text(kept.read_text().replace(new, "line: 3" if "line" in new else "text: Roma"))
    assert run("edit", "api:3", "--set", kept).err == (
        "nothing is changed\n" if "line" in new else "changed api.jsonl:3\n"
    )
    assert ((cassettes / "api.jsonl").read_bytes() == before) == ("line" in new)
    kept.unlink()


def test_what_is_changed_meanwhile_is_not_overwritten(run: Run, cassettes: Path, editor) -> None:
    path = cassettes / "api.jsonl"

    def change(text: str) -> str:
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]))
        return text.replace("Rome", "Roma")

    editor(change)
    edited = run("edit", "api:3")

    assert edited.code == 2
    assert "was changed meanwhile; your text is kept in " in edited.err
    Path(edited.err.partition("kept in ")[2].partition(". ")[0]).unlink()


def test_a_script_gets_a_text_and_gives_it_back(run: Run, cassettes: Path, tmp_path: Path) -> None:
    text = run("edit", "api:3", "--get").out
    (tmp_path / "new.yaml").write_text(text.replace("Rome", "Roma"))

    assert run("edit", "api:3", "--set", "new.yaml").err == "changed api.jsonl:3\n"
    assert "Roma" in run("show", "api:3").out


def test_without_terminal_and_editor_it_says_how_to_do_without(
    run: Run, cassettes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EDITOR", raising=False)
    monkeypatch.delenv("VISUAL", raising=False)

    assert "--get and --set FILE" in run("edit", "api").err


def test_a_secret_that_was_written_in_is_told(run: Run, cassettes: Path, editor) -> None:
    editor(lambda text: text.replace("text: Rome", "text: ghp_" + "a1B2" * 9))

    edited = run("edit", "api:3")

    assert "api.jsonl:3: a secret is in the answer" in edited.err
