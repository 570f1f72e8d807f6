"""Texts in texts: what was escaped once more is found, and where it stands is known."""

import html
import json
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmrc.capture.layers import layers


def places(text: str, wanted: str) -> list[str]:
    """Return how the text writes what a layer of it says."""
    found = []
    for layer, back in layers(text):
        at = layer.find(wanted)
        if at >= 0:
            start, end = back(at, at + len(wanted))
            found.append(text[start:end])
    return found


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_json_in_json_is_read_at_every_depth(depth: int) -> None:
    secret, text = 'a"b\\c/é\n\U0001f600', "x"
    for _ in range(depth):
        text = json.dumps({"a": secret if text == "x" else text})

    (written,) = set(places(text, secret))

    assert json.dumps(text).count(json.dumps(written)[1:-1]) == 1
    assert text.replace(written, "").endswith('"}' if depth == 1 else '}"}')


def test_percent_signs_and_entities_are_read() -> None:
    assert places(f"x?a={quote('k/9&é', safe='')}&b=1", "k/9&é")
    assert places(f"<pre>{html.escape('a<b>&c')}</pre>", "a<b>&c") == ["a&lt;b&gt;&amp;c"]


@pytest.mark.slow("hundreds of texts")
@settings(max_examples=200, deadline=None)
@given(st.text(min_size=1, max_size=8), st.text(max_size=8), st.integers(1, 3))
def test_what_is_found_is_what_was_written(secret: str, around: str, depth: int) -> None:
    text = around + secret + around
    for _ in range(depth):
        text = json.dumps([text])

    found = places(text, secret) or [secret] * (secret in text)
    assert any(len(written) >= len(secret) for written in found)


@pytest.mark.slow("hundreds of texts")
@settings(max_examples=200, deadline=None)
@given(st.text(alphabet='\\u00d8dc"x%&;amp2 e', max_size=60))
def test_nothing_breaks_it(text: str) -> None:
    for layer, back in layers(text):
        for at in range(len(layer)):
            start, end = back(at, at + 1)
            assert 0 <= start < end <= len(text)
