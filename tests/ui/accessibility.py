"""What axe finds on a page."""

from __future__ import annotations

from pathlib import Path

import axe_playwright_python
from playwright.sync_api import Page

_AXE = next(Path(axe_playwright_python.__file__).parent.rglob("axe.min.js")).read_text()


def violations(page: Page, scheme: str = "light") -> list[tuple[str, str]]:
    """Return what is serious, each with its place; in a second theme, `dark`, nothing but colours can be new."""
    page.evaluate(_AXE)
    rules = "{}" if scheme == "light" else "{runOnly: ['color-contrast']}"
    found = page.evaluate(f"axe.run({rules}).then((result) => result.violations)")
    return [
        (one["id"], node["html"]) for one in found if one["impact"] in ("serious", "critical") for node in one["nodes"]
    ]
