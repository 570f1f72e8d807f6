"""Every view in a real Chromium, with 0, 5 and 2,000 requests on record, at three widths, in both themes.

`DMRC_TEST_SCREENSHOTS=DIRECTORY` keeps a picture of each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import axe_playwright_python
import pytest
from playwright.sync_api import Browser, Page, expect

from dmrc.capture.database import ExchangeDatabase
from dmrc.capture.queries import ExchangeFilter
from dmrc.settings import Settings
from tests.dmrc_command import temporary_dmrc
from tests.tiny_gguf import write_tiny_llama
from tests.ui.conftest import Complaints, Site
from tests.ui.planted import plant

VIEWS = {
    "overview": "/ui/overview",
    "requests": "/ui/requests",
    "request": "/ui/requests/{conversation}",
    "panel": "/ui/requests?show={id}",
    "conversations": "/ui/conversations",
    "conversation": "/ui/conversations/{conversation}",
    "compare": "/ui/compare?project=shop&show=1",
    "pair": "/ui/compare/pair?then={id}&now={conversation}",
    "models": "/ui/models",
    "projects": "/ui/projects",
    "playground": "/ui/playground",
}
"""By their names; `{id}` is one of the requests, `{conversation}` one of several: with none there is no such view."""
MOST_BYTES = 300_000
WIDTHS = (1440, 1024, 390, 360)
_AXE = next(Path(axe_playwright_python.__file__).parent.rglob("axe.min.js")).read_text()
_WEIGHT = """() => [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")]
    .reduce((sum, one) => sum + one.encodedBodySize, 0)"""
_COMPOSE = """
name: shop
services:
  web: {image: none, models: [chat]}
  search: {image: none, models: [chat]}
models:
  chat: {model: "ai/smollm2:135M-Q4_K_M"}
"""


@dataclass(frozen=True)
class Planted:
    """A page of a browser that is in a session with a daemon, and what that has on record."""

    page: Page
    site: Site
    amount: int
    ids: list[str]
    conversation: str | None
    complaints: Complaints

    def address(self, view: str) -> str:
        id = self.ids[len(self.ids) // 2] if self.ids else ""
        return self.site.url + VIEWS[view].format(id=id, conversation=self.conversation or id)


@pytest.fixture(scope="module", params=[0, 5, 2000])
def planted(
    request: pytest.FixtureRequest, browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Planted]:
    directory = tmp_path_factory.mktemp("shop")
    (directory / "compose.yaml").write_text(_COMPOSE)
    with temporary_dmrc() as dmrc:
        ids = plant(dmrc.home, request.param)
        if ids:
            dmrc.ok("package", "--gguf", write_tiny_llama(directory / "tiny.gguf"), "ai/smollm2:135M-Q4_K_M")
            dmrc.ok("env", "web", cwd=directory)
        site = Site(dmrc, directory, "")
        context = browser.new_context(viewport={"width": WIDTHS[0], "height": 900}, reduced_motion="reduce")
        page = context.new_page()
        complaints = Complaints(site)
        complaints.watch(page)
        page.goto(site.login())
        yield Planted(page, site, request.param, ids, _longest_conversation(dmrc.home), complaints)
        context.close()


def _longest_conversation(home: Path) -> str | None:
    database = ExchangeDatabase(Settings.from_environment({"DMRC_HOME": str(home)}).paths.exchanges)
    counts = Counter(one.conversation_id for one in database.page(ExchangeFilter(), 500))
    return counts.most_common(1)[0][0] if counts else None


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_fits_is_light_and_accessible(
    view: str, planted: Planted, keep_screenshot: Callable[[Page, str], None]
) -> None:
    if "{" in VIEWS[view] and not planted.ids:
        return  # nothing is on record that it could show
    page = planted.page
    planted.complaints.found.clear()
    page.goto(planted.address(view))
    expect(page.locator("[aria-busy=true]:visible")).to_have_count(0)

    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") <= width, f"sideways at {width}"
            if width != WIDTHS[-1]:
                keep_screenshot(page, f"{view}-{planted.amount}-{width}-{scheme}")
        if planted.amount == 2000:
            assert _violations(page, scheme) == []
    assert page.evaluate(_WEIGHT) <= MOST_BYTES
    assert planted.complaints.found == []


def _violations(page: Page, scheme: str) -> list[tuple[str, str]]:
    """Return what axe finds that is serious; in the second theme nothing but colours can be new."""
    page.set_viewport_size({"width": WIDTHS[0], "height": 900})
    page.evaluate(_AXE)
    rules = "{}" if scheme == "light" else "{runOnly: ['color-contrast']}"
    found = page.evaluate(f"axe.run({rules}).then((result) => result.violations)")
    return [
        (one["id"], node["html"]) for one in found if one["impact"] in ("serious", "critical") for node in one["nodes"]
    ]
