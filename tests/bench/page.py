"""The first paint of the page of requests, in Chromium, with 100,000 exchanges in the record."""

from __future__ import annotations

import shutil
import statistics
import time
from contextlib import closing

from playwright.sync_api import sync_playwright

from dmrc.capture.database import ExchangeDatabase
from tests.bench.figure import Figure, LeftOut
from tests.bench.requests import fill
from tests.dmrc_command import Dmrc, temporary_dmrc

_COUNT = 100_000
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
        paints = _first_paints(dmrc, chromium)
    return [
        Figure(
            name="web page, first paint of the requests with 100,000 on record",
            value=statistics.median(paints),
            unit="ms",
            bar=200,
            runs=_RUNS,
        )
    ]


def _first_paints(dmrc: Dmrc, chromium: str) -> list[float]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.goto(dmrc.ok("ui", "--print").strip())
        paints = []
        for _ in range(_RUNS):
            page.goto(f"http://127.0.0.1:{dmrc.port}/ui/requests")
            assert page.locator("#rows tbody tr").count() == 100
            paints.append(page.evaluate(_FIRST_PAINT))
        browser.close()
    return paints
