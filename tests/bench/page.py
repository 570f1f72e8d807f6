"""The first paint of the lists of requests and of conversations, in Chromium, with 1,000,000 exchanges on record."""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Iterator
from contextlib import closing

from playwright.sync_api import sync_playwright

from dmrc.capture.database import ExchangeDatabase
from tests.bench.figure import Figure, LeftOut
from tests.bench.requests import fill
from tests.dmrc_command import Dmrc, temporary_dmrc

_COUNT = 1_000_000
_VIEWS = {
    "requests": ("/ui/requests", "#rows tbody tr", 100, 150),
    "conversations": ("/ui/conversations", "#conversations tbody tr", 50, 200),
    "conversations without single requests": ("/ui/conversations?singles=hide", "#conversations tbody tr", 50, 200),
}
"""Each with its address, its rows, how many of them there are, and the bar in milliseconds."""
_RUNS = 11
_FIRST_PAINT = """new Promise((done) => new PerformanceObserver((list) => {
  for (const entry of list.getEntriesByName("first-contentful-paint")) done(entry.startTime);
}).observe({ type: "paint", buffered: true }))"""


def measure() -> list[Figure]:
    """Open the page again and again, each time as a new one."""
    chromium = shutil.which("chromium")
    if chromium is None:
        raise LeftOut("no chromium")
    with temporary_dmrc() as dmrc:
        dmrc.home.mkdir(exist_ok=True)
        with closing(ExchangeDatabase(dmrc.home / "exchanges.sqlite3")) as database:
            fill(database, _COUNT, time.time() - _COUNT)
        return list(_figures(dmrc, chromium))


def _figures(dmrc: Dmrc, chromium: str) -> Iterator[Figure]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.goto(dmrc.ok("ui", "--print").strip())
        for name, (path, rows, count, bar) in _VIEWS.items():
            paints = []
            for _ in range(_RUNS):
                page.goto(f"http://127.0.0.1:{dmrc.port}{path}")
                assert page.locator(rows).count() == count
                paints.append(page.evaluate(_FIRST_PAINT))
            yield Figure(
                name=f"web page, first paint of {name} with {_COUNT:,} requests on record",
                value=statistics.median(paints),
                unit="ms",
                bar=bar,
                runs=_RUNS,
            )
        browser.close()
