"""The picture of the README: `python -m tests.ui.picture docs/page.png`, with the real model and a browser."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import tempfile
from pathlib import Path

import openai
from playwright.sync_api import sync_playwright

from tests.dmrc_command import Dmrc, temporary_dmrc
from tests.real_model import smollm2_gguf

_MODEL = "ai/smollm2:135M-Q4_K_M"
_PROJECTS = {
    "shop": """
services:
  web: {image: none, models: [chat]}
  search: {image: none, models: [chat]}
  mails: {image: none, models: [chat]}
models:
  chat: {model: "ai/smollm2:135M-Q4_K_M", context_size: 1024}
""",
    "museum": """
services:
  guide: {image: none, models: [guide]}
models:
  guide: {model: "ai/smollm2:135M-Q4_K_M", context_size: 2048}
""",
}
_REQUESTS = (
    ("shop", "web", "Write one sentence about a wooden bowl.", 32),
    ("shop", "search", "Name three words that mean the same as 'warm'.", 24),
    ("museum", "guide", "Who painted the Mona Lisa?", 40),
    ("shop", "mails", "Thank a customer for an order, in one sentence.", 40),
    ("museum", "guide", "What is a fresco? Answer in one sentence.", 48),
    ("shop", "web", "Describe a linen tablecloth in ten words.", 32),
    ("shop", "search", "very long " * 1100, 10),
    ("shop", "web", "Suggest a gift for someone who likes tea.", 48),
    ("museum", "guide", "Say good morning to a visitor from Lisbon.", 24),
    ("shop", "mails", "Tell a customer that a parcel is late.", 56),
    ("shop", "search", "Is 'oak table' a piece of furniture? Yes or no.", 8),
    ("shop", "web", "Write a title for a page about candles.", 16),
)
_WIDTH = 1320
_LAST_ROW = "#rows tbody tr:nth-child(9)"


def ask(dmrc: Dmrc, work: Path) -> None:
    """Ask as each service does, with the official client."""
    keys = {}
    for project, service, text, tokens in _REQUESTS:
        directory = work / project
        if (project, service) not in keys:
            directory.mkdir(exist_ok=True)
            (directory / "compose.yaml").write_text(_PROJECTS[project])
            keys[project, service] = json.loads(dmrc.ok("env", service, "--format", "json", cwd=directory))
        given = keys[project, service]
        client = openai.OpenAI(
            base_url=given["OPENAI_BASE_URL"], api_key=given["OPENAI_API_KEY"], max_retries=0, timeout=120
        )
        with contextlib.suppress(openai.BadRequestError):  # one is too long
            stream = client.chat.completions.create(
                model=given["OPENAI_MODEL"],
                messages=[{"role": "user", "content": text}],
                max_tokens=tokens,
                temperature=0,
                stream=True,
                extra_body={"cache_prompt": False},
            )
            for _ in stream:
                pass


def take(dmrc: Dmrc, path: Path) -> None:
    """Write the picture of the list of requests, at twice the size of the page."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": _WIDTH, "height": 1000}, device_scale_factor=2)
        page.goto(dmrc.ok("ui", "--print").strip())
        page.wait_for_selector("#totals[aria-busy=false]")
        last = page.locator(_LAST_ROW).bounding_box()
        assert last is not None
        page.screenshot(path=path, clip={"x": 0, "y": 0, "width": _WIDTH, "height": last["y"] + last["height"]})
        browser.close()


def main() -> None:
    """Start a dmrc, let its services ask, and take the picture."""
    with temporary_dmrc() as dmrc, tempfile.TemporaryDirectory() as work:
        dmrc.ok("package", "--gguf", smollm2_gguf(), _MODEL)
        ask(dmrc, Path(work))
        take(dmrc, Path(sys.argv[1]))


if __name__ == "__main__":
    main()
