"""The page of a comparison."""

from __future__ import annotations

from dmrc.comparison.comparison import Comparison
from dmrc.comparison.page import page
from dmrc.comparison.sendable import LeftOut
from tests.comparison.exchanges import exchange, sent


def test_the_page_has_both_texts_escaped_and_fetches_nothing() -> None:
    evil = "<script>alert(1)</script> \x1b[2J & \ud83d"
    then = exchange("The sky is blue.", request={"messages": [{"role": "user", "content": evil}]})
    pairs = [(sent(then), exchange(evil)), (sent(exchange()), exchange())]

    report = Comparison.of(pairs, [LeftOut(exchange(), "has something masked")] * 2)
    text = page(report, "2 requests again: <b>", ["schema: 1 of 2"])

    assert "<script" not in text
    assert "&lt;script&gt;alert" in text.replace("<ins>", "").replace("</ins>", "")
    assert "2 requests again: &lt;b&gt;" in text
    assert "schema: 1 of 2" in text
    assert '<li>2 left out:</li>\n<li class="part">  has something masked: 2</li>' in text
    assert not any(word in text for word in ("src=", "href=", "url(", "@import", "\x1b"))
    text.encode()
