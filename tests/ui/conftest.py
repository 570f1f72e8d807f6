"""A daemon with the real model and one project, and a browser that has opened its page."""

from __future__ import annotations

import json
import os
import shutil
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

from tests.dmrc_command import Dmrc, temporary_dmrc

MODEL = "local/smollm2:135M-Q4_1"
_COMPOSE = f"""
name: shop
services:
  web:
    image: none
    environment: {{STRIPE_API_KEY: rk-live-4f9a8b7c6d5e4f3a2b1c}}
    models: [chat]
models:
  chat: {{model: "{MODEL}", context_size: 1024, runtime_flags: ["--temp", "0"]}}
"""
_SWITCHES = (
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)


@dataclass(frozen=True)
class Site:
    """A running dmrc with its page."""

    dmrc: Dmrc
    directory: Path
    key: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.dmrc.port}"

    def login(self) -> str:
        """Return an address that opens the page once."""
        return self.dmrc.ok("ui", "--print").strip()

    def cookie(self) -> str:
        """Return the cookie of a new session."""
        opener = urllib.request.build_opener(_NoRedirect)
        try:
            opener.open(self.login())
        except urllib.error.HTTPError as answer:
            return str(answer.headers["set-cookie"]).partition(";")[0]
        raise AssertionError("the login redirects")

    def ask(self, text: str, **more: object) -> str:
        """Ask as the service `web` with the official client, and return the id of the exchange."""
        import openai

        client = openai.OpenAI(base_url=f"{self.url}/engines/v1", api_key=self.key, max_retries=0)
        wish = {"model": MODEL, "messages": [{"role": "user", "content": text}], "max_tokens": 20, **more}
        raw = client.chat.completions.with_raw_response.create(**wish)
        if more.get("stream"):
            for _ in raw.parse():
                pass
        return raw.headers["x-dmrc-exchange-id"]


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, smollm2: Path, needs_engine: None) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("shop")
    (directory / "compose.yaml").write_text(_COMPOSE)
    with temporary_dmrc() as dmrc:
        dmrc.ok("package", "--gguf", smollm2, MODEL)
        key = json.loads(dmrc.ok("env", "web", "--format", "json", cwd=directory))["OPENAI_API_KEY"]
        yield Site(dmrc, directory, key)


@pytest.fixture(scope="module")
def browser(needs_browser: None) -> Iterator[Browser]:
    """A Chromium; it goes with the module, for Playwright keeps an event loop running while it lives."""
    expect.set_options(timeout=30_000)  # its own 5 s are few for what loads a model
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(_SWITCHES))
        yield found
        found.close()


@dataclass
class Complaints:
    """What a browser says against the page."""

    site: Site
    found: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.found.append(str(error)))
        page.on("request", lambda one: one.url.startswith(self.site.url) or self.found.append(f"outside: {one.url}"))

    def _hear(self, line: ConsoleMessage) -> None:
        # Chromium ends connections when any network of the machine comes or goes, as those of containers do.
        if line.type in ("error", "warning") and "ERR_NETWORK_CHANGED" not in line.text:
            self.found.append(line.text)


@pytest.fixture
def complaints(site: Site) -> Iterator[Complaints]:
    """Fail the test when the page wrote an error to the console, or asked another machine for something."""
    complaints = Complaints(site)
    yield complaints
    assert complaints.found == []


Open = Callable[..., Page]


@pytest.fixture
def open_page(site: Site, browser: Browser, complaints: Complaints) -> Iterator[Open]:
    """Open a page of the site, in a browser that has a session; `**options` are those of a browser's context."""
    contexts: list[BrowserContext] = []

    def open_(path: str, **options: object) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        contexts.append(context)
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        page = context.new_page()
        page.set_default_timeout(20_000)
        complaints.watch(page)
        page.goto(site.login())
        if path != "/ui/overview":
            page.goto(site.url + path)
        return page

    yield open_
    for context in contexts:
        context.close()


@pytest.fixture
def keep_screenshot() -> Callable[[Page, str], None]:
    """Keep a picture of a page where `DMRC_TEST_SCREENSHOTS` names a directory."""

    def keep(page: Page, name: str) -> None:
        if directory := os.environ.get("DMRC_TEST_SCREENSHOTS"):
            page.screenshot(path=Path(directory) / f"{name}.png", full_page=True)

    return keep
