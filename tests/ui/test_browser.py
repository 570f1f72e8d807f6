"""The page in a real Chromium, before a real daemon with the real model."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import axe_playwright_python
import pytest
from playwright.sync_api import Page, expect

from tests.polling import eventually
from tests.ui.conftest import MODEL, Open, Site

_AXE = next(Path(axe_playwright_python.__file__).parent.rglob("axe.min.js"))


def rows_of(page: Page):
    return page.locator("#rows tbody tr")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_every_page_fits_and_is_accessible(
    width: int, scheme: str, site: Site, open_page: Open, keep_screenshot: Callable[[Page, str], None]
) -> None:
    id = site.ask("How are you?", stream=True)
    eventually(lambda: id in site.dmrc.ok("requests", "--json"), "the record")
    page = open_page("/ui/requests", color_scheme=scheme, viewport={"width": width, "height": 800})
    paths = ["requests", f"requests/{id}", "models", f"models/{MODEL}", "projects", "playground", "requests?service=no"]
    for path in paths:
        page.goto(f"{site.url}/ui/{path}")
        if path.startswith("requests") and id not in path:
            expect(page.locator("#totals")).to_have_attribute("aria-busy", "false")
        keep_screenshot(page, f"{re.sub('[^a-z]+', '-', path.replace(id, 'one'))}-{width}-{scheme}")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.evaluate(_AXE.read_text())
        found = page.evaluate("axe.run().then((result) => result.violations)")
        serious = [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in ("serious", "critical")]
        assert serious == [], path


def test_what_keeps_the_prompt_cache_from_its_work_is_shown(
    site: Site, open_page: Open, keep_screenshot: Callable[[Page, str], None]
) -> None:
    """In a request with both texts, and for its service."""
    rules = " ".join(f"Rule {number}: be kind to everybody." for number in range(20))

    def ask(minute: int, *more: str) -> str:
        said = [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(("Who?", *more))]
        system = {"role": "system", "content": f"It is 2026-11-28 17:0{minute}. {rules} <b>Bye</b>"}
        return site.ask("", messages=[system, *said])

    ask(3)
    id = ask(4, "Nobody.", "Why?")
    phone = {"viewport": {"width": 390, "height": 844}}
    for name, options in (("wide", {}), ("phone", phone), ("dark", {"color_scheme": "dark"})):
        page = open_page(f"/ui/requests/{id}", **options)
        section = page.get_by_role("region", name="Prompt cache")
        expect(section).to_contain_text("The system message changes at character 7: a clock.")
        expect(section).to_contain_text("Message 1 (system) differs first at character 22")
        expect(section.locator("mark")).to_have_text(["3", "4"])
        expect(section.locator("rect.again")).to_have_count(1)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        keep_screenshot(page, f"cache-{name}")
