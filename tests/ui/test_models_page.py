"""The page of models in a browser: pulls of everybody, what runs and its log, what is stored."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.registry import RegistryServer
from tests.sources.misbehaving import Misbehaving
from tests.tiny_gguf import write_tiny_llama
from tests.ui.conftest import MODEL, Complaints, Open, Site

pytestmark = [pytest.mark.engine, pytest.mark.browser]

_PULL = """
import sys, time
from pathlib import Path
from dmrc.models import Pulls
from dmrc.sources import ProgressEvent

with Pulls(Path(sys.argv[1]), "dmrc up").noted("ai/<b>elsewhere</b>", lambda event: None, lambda: False) as told:
    told.progress(ProgressEvent("Downloading", "sha256:x", 25_000_000, 100_000_000, is_resumed=True))
    print("moved", flush=True)
    sys.stdin.read()
"""


def test_a_pull_of_the_command_line_is_seen_and_cannot_be_cancelled_from_here(site: Site, open_page: Open) -> None:
    page = open_page("/ui/models")
    store = Path(site.dmrc.environment["DMRC_HOME"]) / "store"
    with subprocess.Popen(
        [sys.executable, "-c", _PULL, store], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        try:
            assert other.stdout.readline() == "moved\n"
            row = page.locator("[data-pull]")
            expect(row).to_contain_text("ai/<b>elsewhere</b>")
            expect(row).to_contain_text("25.00 MB of 100.00 MB")
            expect(row).to_contain_text(f"dmrc up, process {other.pid}")
            expect(row.get_by_role("button")).to_have_count(0)
            expect(row).not_to_contain_text("None")
        finally:
            other.kill()
    expect(page.locator("[data-pull]")).to_have_count(0)


@pytest.fixture
def stalling() -> Iterator[Misbehaving]:
    """A server that sends a part of a file, and then nothing."""
    ended = threading.Event()

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000000")
        handler.end_headers()
        if handler.command == "GET":
            handler.wfile.write(b"GGUF" + bytes(300_000))
            ended.wait(60)

    with Misbehaving(answer) as server:
        yield server
        ended.set()


def test_a_pull_of_the_page_goes_on_without_it_and_is_cancelled_by_its_button(
    site: Site, open_page: Open, stalling: Misbehaving, complaints: Complaints
) -> None:
    name = f"http://{stalling.address}/stalls.gguf"
    page = open_page("/ui/models")
    page.fill("#term", name)
    page.get_by_role("button", name="Pull", exact=True).click()
    expect(page.locator("[data-pull]")).to_contain_text("this daemon")
    page.goto(f"{site.url}/ui/projects")

    page.goto(f"{site.url}/ui/models")
    row = page.locator("[data-pull]")
    expect(row).to_contain_text("of 1.00 MB")
    row.get_by_role("button", name="Cancel").click()

    expect(page.locator("#notice")).to_contain_text("Pull cancelled")
    expect(row).to_have_count(0)


def test_a_model_is_pulled_loaded_unloaded_and_removed(
    site: Site, open_page: Open, registry: RegistryServer, complaints: Complaints
) -> None:
    name = f"{registry.address}/team/small:v1"
    for command in (("tag", MODEL, name), ("push", name), ("rm", name)):
        site.dmrc.ok(*command)
    page = open_page("/ui/models")

    page.fill("#term", name)
    page.get_by_role("button", name="Pull", exact=True).click()
    expect(page.locator("#notice")).to_contain_text(re.compile("pulled|up to date"))
    stored = page.locator("#stored tr", has_text=MODEL)
    expect(stored).to_contain_text("+1 name")
    expect(stored.locator("[data-name=fits]")).to_have_text("Fits")
    expect(stored.locator("[data-name=needs]")).to_have_text(re.compile(r"[\d.]+ MB"))
    page.locator(f'[data-load="{MODEL}"], [data-load="{name}"]').first.click()
    expect(page.locator("#notice")).to_contain_text("is ready")
    running = page.locator("#running tr", has_text="4,096")
    expect(running).to_contain_text("ready")
    expect(running).to_contain_text(re.compile(r"Unloads in \d"))
    expect(stored.locator("[data-name=fits]")).to_have_text("loaded")
    running.get_by_role("button", name="Unload").click()
    expect(running).to_have_count(0)

    site.dmrc.ok("package", "--gguf", write_tiny_llama(site.directory / "tiny.gguf"), "local/tiny")
    page.locator('[data-remove="local/tiny"]').click()
    page.get_by_role("button", name="Keep").click()
    expect(page.locator("#stored")).to_contain_text("local/tiny")
    page.locator('[data-remove="local/tiny"]').click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(page.locator("#notice")).to_contain_text("local/tiny removed")
    expect(page.locator("#stored")).not_to_contain_text("local/tiny")
    page.fill("#term", f"{registry.address}/team/none:v1")
    page.get_by_role("button", name="Pull", exact=True).click()
    expect(page.locator("#notice .error")).to_contain_text("team/none")
    failed = page.locator(".failed-pull")
    expect(failed).to_contain_text("team/none")
    failed.get_by_role("button", name="Dismiss").click()
    expect(failed).to_have_count(0)
    assert "404" in complaints.found.pop()  # a browser says by itself that a request was refused


def test_the_page_of_a_model_says_what_it_needs_and_who_uses_it(site: Site, open_page: Open) -> None:
    site.ask("Wake up.")
    page = open_page("/ui/models")
    stored = page.locator("#stored tr", has_text=MODEL)
    expect(stored.locator("[data-name=used]")).to_contain_text("ago")
    expect(stored.locator("[data-name=services]")).to_contain_text("web")
    stored.locator("td a").first.click()

    expect(page.get_by_text("general.architecture")).to_be_visible()
    sizes = page.get_by_role("region", name="Memory by context").locator("tbody tr")
    expect(sizes).to_have_count(2)
    expect(sizes.last).to_contain_text("8,192")
    expect(sizes.last).to_contain_text("Fits")
    expect(page.locator("main")).to_contain_text("shop / web")


def test_the_log_of_a_runner_opens_in_place_and_follows(site: Site, open_page: Open) -> None:
    site.ask("Wake up.")
    page = open_page("/ui/models")
    page.locator("#running [data-log]").first.click()
    log = page.locator("#log pre")
    expect(log).to_contain_text("llama")
    length = len(log.inner_text())

    site.ask("Once more.")
    page.wait_for_function("length => document.querySelector('#log pre').textContent.length > length", arg=length)
    assert page.evaluate(
        "(one => one.scrollHeight - one.scrollTop - one.clientHeight < 40)(document.querySelector('#log pre'))"
    )
    page.get_by_role("button", name="Close", exact=True).click()
    expect(page.locator("#log")).to_be_hidden()

    page.goto(site.url + str(page.locator("#running [data-log]").first.get_attribute("href")))
    expect(page.locator("pre.log")).to_contain_text("llama")
