"""Lines of an answer that break at words, however the answer is cut into pieces."""

from __future__ import annotations

import random

import pytest

from dmrc.cli.serving.chat.wrapping import WordWrap

_ANSWER = """The quick brown fox jumps over the lazy dog, and nobody minds.

- a list item that is rather long for so narrow a line
```python
code = "stays on its line, however long it is, for somebody may copy it"
```
Afterwards lines are broken again, as before. 日本語の 文字は 二つ分の 幅です。"""


def wrapped(pieces: list[str], monkeypatch: pytest.MonkeyPatch, columns: int = 30) -> str:
    monkeypatch.setenv("COLUMNS", str(columns))
    wrap = WordWrap()
    return "".join(map(wrap.feed, pieces)) + wrap.end()


def test_no_word_is_broken_and_none_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.cells import cell_len

    text = wrapped([_ANSWER], monkeypatch)

    before, code, after = text.split("```")
    assert all(cell_len(line) <= 30 for line in (before + after).splitlines())
    assert f"```{code}```" in _ANSWER
    assert text.split() == _ANSWER.split()
    assert text.startswith("The quick brown fox jumps over\nthe lazy dog,")


def test_the_pieces_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, moments = wrapped([_ANSWER], monkeypatch), random.Random(7)
    for _ in range(50):
        cuts = sorted(moments.sample(range(1, len(_ANSWER)), 40))
        pieces = [_ANSWER[start:end] for start, end in zip([0, *cuts], [*cuts, len(_ANSWER)], strict=True)]

        assert wrapped(pieces, monkeypatch) == whole


def test_a_word_that_fits_no_line_is_left_to_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    assert wrapped(["see ", "x" * 50, " now"], monkeypatch) == f"see {'x' * 50} now"
