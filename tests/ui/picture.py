"""The picture of the README: `python -m tests.ui.picture docs/page.png`, with a planted record and a browser."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import expect, sync_playwright

from tests.dmrc_command import Dmrc, temporary_dmrc
from tests.ui.planted import plant

_SIZE = {"width": 1320, "height": 720}


def take(dmrc: Dmrc, path: Path) -> None:
    """Write the picture of the list of requests."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport=_SIZE, device_scale_factor=1.25, reduced_motion="reduce")
        page.goto(dmrc.ok("ui", "--print").strip())
        page.goto(f"http://127.0.0.1:{dmrc.port}/ui/requests?since=1h")
        expect(page.locator("[aria-busy=true]:visible")).to_have_count(0)
        page.locator("rect.bar").first.wait_for()
        page.screenshot(path=path)
        browser.close()


def main() -> None:
    """Start a dmrc with 2,000 requests on record, and take the picture."""
    with temporary_dmrc() as dmrc:
        plant(dmrc.home, 2000)
        take(dmrc, Path(sys.argv[1]))


if __name__ == "__main__":
    main()
