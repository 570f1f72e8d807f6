import base64
from pathlib import Path

import pytest

from dmrc.cli.serving.chat.files import expand
from dmrc.errors import InputError

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def test_a_text_file_is_put_into_the_prompt(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("one\ntwo\n")

    assert expand(f"Sum up @{tmp_path}/notes.txt please") == "Sum up \nnotes.txt:\n```\none\ntwo\n```\n please"


def test_a_file_is_found_before_punctuation(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("one")
    (tmp_path / "odd.").write_text("two")

    assert expand(f"Sum up @{tmp_path}/notes.txt, please") == "Sum up \nnotes.txt:\n```\none\n```\n, please"
    assert expand(f"Sum up @{tmp_path}/odd.") == "Sum up \nodd.:\n```\ntwo\n```\n"


def test_an_image_goes_beside_the_prompt(tmp_path: Path) -> None:
    (tmp_path / "a dot.png").write_bytes(PIXEL)

    content = expand(f'What is @"{tmp_path}/a dot.png"?')

    assert content == [
        {"type": "text", "text": "What is a dot.png?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{base64.b64encode(PIXEL).decode()}"}},
    ]


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("What is {}/dot.PNG?", "What is dot.PNG?"),
        ("{}/dot.PNG", "dot.PNG"),
        ('Look: "{}/a dot.png", please', "Look: a dot.png, please"),
        ("Look: '{}/a dot.png'.", "Look: a dot.png."),
        ("@{}/dot.PNG", "dot.PNG"),
    ],
)
def test_an_image_needs_no_sign_where_its_path_can_be_nothing_else(tmp_path: Path, written: str, told: str) -> None:
    (tmp_path / "dot.PNG").write_bytes(PIXEL)
    (tmp_path / "a dot.png").write_bytes(PIXEL)

    content = expand(written.format(tmp_path))

    assert isinstance(content, list)
    assert [part["type"] for part in content if isinstance(part, dict)] == ["text", "image_url"]
    assert content[0] == {"type": "text", "text": told}


def test_a_path_of_an_image_in_another_file_is_only_words(tmp_path: Path) -> None:
    (tmp_path / "dot.png").write_bytes(PIXEL)
    (tmp_path / "notes.txt").write_text(f"see {tmp_path}/dot.png")

    assert expand(f"@{tmp_path}/notes.txt") == f"\nnotes.txt:\n```\nsee {tmp_path}/dot.png\n```\n"


def test_what_only_has_the_name_of_an_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_text("<html>")

    with pytest.raises(InputError, match="is not an image, whatever its name says"):
        expand(f"What is @{tmp_path}/x.jpg")


@pytest.mark.parametrize(
    "prompt",
    [
        "Draw /nowhere/cat.png",
        "Write to me@example.org",
        "Ask @alice",
        "a @ b",
        "@",
        "Why does npm install @angular/core fail?",
        "npm install @types/node",
        "ask @org/team",
        '@app.get("/items")\ndef items(): return 1',
        '@"x y"',
        "cc @~nosuchuser/x",
        "see ~nosuchuser/x.png",
        '@"~nosuchuser"',
        "import Button from '@/components/Button'",
        "import @/components/Button",
        "@media (min-width: 1px) {}",
        "@Test(timeout=5)",
        "@" + "x" * 5000,
        "@a\0b/c",
    ],
)
def test_what_is_no_file_stays_as_it_is(prompt: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert expand(prompt) == prompt
    assert capsys.readouterr().err == ""


def test_what_is_written_as_a_path_and_is_no_file_stays_with_a_note(capsys: pytest.CaptureFixture[str]) -> None:
    assert expand("Read @./none.txt") == "Read @./none.txt"
    assert capsys.readouterr().err == "'./none.txt' is not a file: the words are sent as they are\n"


def test_a_file_that_is_neither_text_nor_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(b"\xff\xfe\x00")

    with pytest.raises(InputError, match="must be text or an image"):
        expand(f"Read @{tmp_path}/x.bin")
