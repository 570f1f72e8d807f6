"""The overview in a real browser, before a daemon that was never asked, and then is."""

from __future__ import annotations

import re
import subprocess
import threading
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, expect

from tests.dmrc_command import temporary_dmrc
from tests.ui.conftest import MODEL, Complaints, Open, Site
from tests.ui.planted import plant


def test_somebody_who_never_asked_is_told_how_and_the_page_follows(site: Site, open_page: Open) -> None:
    page = open_page("/ui/overview")
    expect(page.get_by_role("heading", name="Send the first request")).to_be_visible()
    expect(page.locator(".start")).to_contain_text(f"OPENAI_BASE_URL={site.url}/engines/v1")

    page.get_by_role("button", name="Copy the command").last.click()
    curl = page.evaluate("navigator.clipboard.readText()")
    assert MODEL in curl
    done = subprocess.run(curl, shell=True, capture_output=True, text=True, timeout=120)

    assert '"choices"' in done.stdout, done.stderr
    expect(page.locator(".hour .stat dd").first).to_have_text("1")
    expect(page.locator(".start")).to_have_count(0)
    expect(page.locator(".loaded")).to_contain_text(re.compile(r"local/smollm2.*unloads in", re.DOTALL))


def test_a_running_request_is_shown_with_its_time_and_tokens(site: Site, open_page: Open) -> None:
    site.ask("Wake up.")
    page = open_page("/ui/overview")
    more = {"stream": True, "max_tokens": 900, "extra_body": {"ignore_eos": True}}
    asking = threading.Thread(target=site.ask, args=("Tell a long story.",), kwargs=more)
    asking.start()

    row = page.locator(".running-now tbody tr")
    expect(row).to_contain_text("shop/web")
    expect(row.locator("[data-pieces]")).to_have_text(re.compile(r"^[1-9]\d*$"))
    expect(row.locator("[data-since]")).to_have_text(re.compile(r"^[\d.]+ m?s$"))
    expect(page.locator("#live-count")).to_have_text("1")
    asking.join()
    expect(row).to_have_count(0)


def test_what_keeps_dmrc_from_working_is_shown_as_doctor_says_it(site: Site, open_page: Open) -> None:
    page = open_page("/ui/overview")

    expect(page.locator("#checks")).to_contain_text(re.compile(r"docker (no Docker engine answers|there is no docker)"))
    expect(page.locator("#checks")).to_contain_text(re.compile("disk"))
    expect(page.locator("#advice")).not_to_contain_text("Reading")


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory, needs_browser: None) -> Iterator[Site]:
    with temporary_dmrc() as dmrc:
        plant(dmrc.home, 300)
        yield Site(dmrc, tmp_path_factory.mktemp("planted"), "")


def test_each_failure_and_each_range_leads_to_its_list(planted: Site, browser: Browser) -> None:
    page = browser.new_context().new_page()
    complaints = Complaints(planted)
    complaints.watch(page)
    page.goto(planted.login())
    page.wait_for_url("**/ui/overview")
    expect(page.locator("#services [aria-busy]")).to_have_count(0)
    expect(page.locator(".multiple")).to_have_count(6)

    most = page.locator(".reason").first
    expect(most).to_contain_text("429")
    page.goto(f"{planted.url}{most.get_attribute('href')}")
    expect(page.locator("#rows tbody tr").first).to_contain_text("429")
    page.goto(f"{planted.url}/ui/overview")
    chart = page.locator("#requests-chart svg")
    expect(chart.locator("rect.bar").first).to_be_attached()
    chart.focus()
    page.keyboard.press("ArrowLeft")
    for _ in range(9):
        page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/ui/requests\?since=.*&before="))
    page.go_back()
    page.context.close()
    assert complaints.found == []


def test_what_a_change_of_networks_cuts_off_is_asked_for_again(planted: Site, browser: Browser) -> None:
    """Chromium does so to each request that runs when Docker makes a network."""
    page = browser.new_context().new_page()
    page.route("**/ui/overview/hour", lambda route: route.abort("failed"), times=1)
    page.goto(planted.login())
    page.wait_for_url("**/ui/overview")

    expect(page.locator(".multiple")).to_have_count(6)
    expect(page.locator(".toast")).to_have_count(0)
    page.context.close()


def test_the_hour_is_read_without_the_lens_or_a_program(planted: Site) -> None:
    """First paint: what takes a moment comes after the page, by addresses of its own."""
    headers = {"cookie": planted.cookie()}
    shown = httpx.get(f"{planted.url}/ui/overview", headers=headers).text

    assert "Checking …" in shown
    assert "Reading the last prompts …" in shown
    assert re.search(r"<dt>Failed</dt><dd class=\"wrong\"><a[^>]*>\d+</a> <small>\d+ %</small>", shown)
