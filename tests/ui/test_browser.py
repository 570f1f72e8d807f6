"""The page in a real Chromium, before a real daemon with the real model."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

import axe_playwright_python
import pytest
from playwright.sync_api import Page, Route, expect

from tests.polling import eventually
from tests.ui.conftest import MODEL, Open, Site

_AXE = next(Path(axe_playwright_python.__file__).parent.rglob("axe.min.js"))


def rows_of(page: Page):
    return page.locator("#rows tbody tr")


def test_a_request_appears_while_it_runs_and_completes_in_place(site: Site, open_page: Open) -> None:
    site.ask("Wake up.")
    page = open_page("/ui/requests")
    expect(page.locator("#live")).to_contain_text("Live")
    before = rows_of(page).count()

    def seconds_until_it_appears(number: int) -> float:
        prompt = f"Tell long story {number}."
        asking = threading.Thread(target=site.ask, args=(prompt,), kwargs={"stream": True, "max_tokens": 300})
        started = time.monotonic()
        asking.start()
        running = page.locator("#rows tr.running")
        running.wait_for()
        appeared = time.monotonic() - started
        expect(running.locator("[data-name=tokens]")).to_have_text(re.compile(r"^[1-9]\d* tok"))
        asking.join()
        expect(rows_of(page).first).to_have_class("done")
        expect(rows_of(page).first).to_contain_text(prompt)
        expect(rows_of(page)).to_have_count(before + number)
        return appeared

    # The machine may be busy with other things; what the page costs is in the least.
    assert any(seconds_until_it_appears(number) < 0.5 for number in range(1, 11))


def test_what_ended_before_the_page_listened_is_shown(site: Site, open_page: Open) -> None:
    page = open_page("/ui/requests")
    held: list[Route] = []
    page.route("**/ui/events?*", lambda route: held.append(route))
    page.reload()
    id = site.ask("Between page and stream.")
    eventually(lambda: id in site.dmrc.ok("requests", "--json"), "the record")
    before = rows_of(page).count()

    eventually(lambda: page.wait_for_timeout(10) or held, "the page's wish to listen")
    held[0].continue_()

    expect(rows_of(page).first).to_contain_text("Between page and stream.")
    expect(rows_of(page)).to_have_count(before + 1)


def test_filters_and_search_are_in_the_address(site: Site, open_page: Open) -> None:
    site.ask("Something about zebras.")
    site.ask("Something about lions.")
    page = open_page("/ui/requests")
    page.fill("[name=grep]", "zebras")
    page.keyboard.press("Enter")
    page.wait_for_url("**/ui/requests?grep=zebras")

    expect(rows_of(page)).to_have_count(1)
    expect(rows_of(page).first).to_contain_text("zebras")
    page.goto(f"{site.url}/ui/requests?service=nobody")
    expect(page.locator("#empty")).to_be_visible()
    page.goto(f"{site.url}/ui/requests?service=web&since=1h")
    expect(rows_of(page).first).to_contain_text("shop/web")
    expect(page.locator("#totals dd").first).to_have_text(re.compile(r"^\d+$"))
    boxes = page.locator("#filters :is(input:not([type=checkbox]):visible, select, button, .button)")
    assert boxes.evaluate_all("(all) => new Set(all.map((one) => one.getBoundingClientRect().height)).size") == 1


def test_rows_are_walked_by_keyboard_and_paused(site: Site, open_page: Open) -> None:
    for number in range(3):
        site.ask(f"Number {number}")
    page = open_page("/ui/requests")
    expect(rows_of(page).first).to_contain_text("Number 2")
    page.keyboard.press("p")
    expect(page.locator("#pause")).to_have_attribute("aria-pressed", "true")
    site.ask("While it was paused")
    expect(page.locator("#live")).to_contain_text("1 new")
    expect(rows_of(page).first).to_contain_text("Number 2")
    page.keyboard.press("p")
    expect(rows_of(page).first).to_contain_text("While it was paused")

    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/ui/requests/[0-9a-f-]{36}$"))
    expect(page.locator(".message.user")).to_contain_text("Number 2")


def test_what_runs_is_shown_when_a_pause_ends(site: Site, open_page: Open) -> None:
    page = open_page("/ui/requests")
    expect(page.locator("#live")).to_contain_text("Live")
    page.keyboard.press("p")
    more = {"stream": True, "max_tokens": 300, "extra_body": {"ignore_eos": True}}  # else it ends after 88, in 1 s
    asking = threading.Thread(target=site.ask, args=("Tell all.",), kwargs=more)
    asking.start()
    expect(page.locator("#live")).to_contain_text("1 new")

    page.keyboard.press("p")

    expect(rows_of(page).first).to_have_class("running")
    asking.join()
    expect(rows_of(page).first).to_contain_text("Tell all.")


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
