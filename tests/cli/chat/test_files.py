import base64
from pathlib import Path

import pytest

from dmrc.cli.chat.files import expand
from dmrc.errors import InputError

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def test_a_text_file_is_put_into_the_prompt(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("one\ntwo\n")

    assert expand(f"Sum up @{tmp_path}/notes.txt please") == "Sum up \nnotes.txt:\n```\none\ntwo\n```\n please"


def test_an_image_goes_beside_the_prompt(tmp_path: Path) -> None:
    (tmp_path / "a dot.png").write_bytes(PIXEL)

    content = expand(f'What is @"{tmp_path}/a dot.png"?')

    assert content == [
        {"type": "text", "text": "What is a dot.png?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{base64.b64encode(PIXEL).decode()}"}},
    ]


@pytest.mark.parametrize("prompt", ["Write to me@example.org", "Ask @alice", "a @ b", "@"])
def test_what_is_no_file_stays_as_it_is(prompt: str) -> None:
    assert expand(prompt) == prompt


def test_a_path_that_is_no_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        expand(f"Read @{tmp_path}/none.txt")


def test_a_file_that_is_neither_text_nor_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(b"\xff\xfe\x00")

    with pytest.raises(InputError, match="neither text nor an image"):
        expand(f"Read @{tmp_path}/x.bin")
