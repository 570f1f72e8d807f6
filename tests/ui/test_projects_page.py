"""The page of projects, in a real Chromium, before a real daemon with the real model."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Locator, Page, expect

from dmrc.compose.override import render, write
from dmrc.project import Binding, Injection, Project, Service
from dmrc.projects import Registration
from dmrc.ui.project_cards import project_card
from dmrc.ui.project_figures import ModelState
from tests.ui.conftest import MODEL, Open, Site


def card_of(page: Page, service: str = "web") -> Locator:
    return page.get_by_role("article", name=f"Service {service}")


@pytest.fixture
def given(site: Site) -> str:
    """Write the override file that `dmrc up` would, and return a secret of it."""
    variables = {"OPENAI_API_KEY": site.key, "OPENAI_MODEL": MODEL, "VAULT_TOKEN": "of-a-plugin-$-4711"}
    service = Service("web", (Binding("chat"),))
    project = Project("shop", site.directory, (), {}, {"web": service})
    path = site.dmrc.home / "projects" / "shop" / "override.yaml"
    write(path, render(project, {"web": Injection(variables, ())}))
    return "4711"


def test_a_card_tells_what_a_service_came_to_and_leads_there(site: Site, open_page: Open) -> None:
    import openai

    id = site.ask("How are you?")
    with pytest.raises(openai.NotFoundError):
        site.ask("", model="none")
    site.dmrc.ok("requests", "show", id)
    page = open_page("/ui/projects")
    card = card_of(page)

    expect(card.locator(".models")).to_contain_text(re.compile(r"chat.*smollm2.*loaded", re.DOTALL))
    expect(card.locator("[data-figure=requests]")).to_have_text(re.compile(r"^[2-9]$"))
    expect(card.locator("[data-figure=failed]")).to_have_text("1")
    expect(card.locator("[data-figure=p95]")).to_have_text(re.compile(r"^[\d.]+ m?s$"))
    expect(card.locator("[data-figure=completion]")).to_have_text(re.compile(r"^[1-9]\d*$"))
    assert card.locator("svg .bar").count() > 0
    expect(card.locator("[data-last]")).to_contain_text("ago")
    card.get_by_role("link", name="Failed").click()
    assert page.url.endswith("/ui/requests?project=shop&service=web&errors=1")


def test_what_a_service_was_given_is_shown_and_copied_without_secrets(site: Site, open_page: Open, given: str) -> None:
    page = open_page("/ui/projects")
    card = card_of(page)
    card.locator("summary", has_text="Variables").click()

    expect(card.locator(".variables")).to_contain_text("OPENAI_API_KEY")
    card.get_by_role("button", name="Copy the value of OPENAI_MODEL").click()
    expect(page.locator("#notice .toast")).to_have_count(1)
    assert page.evaluate("navigator.clipboard.readText()") == MODEL
    for name in ("OPENAI_API_KEY", "VAULT_TOKEN"):
        expect(card.get_by_role("button", name=f"Copy the value of {name}")).to_have_count(0)
    card.get_by_role("button", name="Copy the command that prints OPENAI_API_KEY").click()
    expect(page.locator("#notice .toast")).to_have_count(2)
    assert page.evaluate("navigator.clipboard.readText()") == "dmrc env web"
    text = httpx.get(f"{site.url}/ui/projects", headers={"cookie": site.cookie()}).text
    assert "sk-dmrc-…" in text
    assert site.key not in text
    assert given not in text


def test_the_command_of_a_card_asks_from_a_shell(site: Site, open_page: Open) -> None:
    page = open_page("/ui/projects")
    card = card_of(page)
    expect(card.locator("[data-last]")).not_to_be_empty()
    if not card.locator("[data-snippet] .code").is_visible():
        card.locator("summary", has_text="Call it from a shell").click()
    card.get_by_role("button", name="Copy the command").click()
    expect(page.locator("#notice .toast")).to_be_visible()
    program = page.evaluate("navigator.clipboard.readText()")

    path = f"{Path(os.sys.executable).parent}:{os.environ['PATH']}"  # type: ignore[attr-defined]
    environment = {**os.environ, **site.dmrc.environment, "PATH": path}
    asked = subprocess.run(["sh", "-ec", program], env=environment, capture_output=True, text=True, timeout=60)

    assert '"chat.completion"' in asked.stdout, asked.stdout + asked.stderr


def test_why_the_cache_did_not_work_is_said_for_the_service(
    site: Site, open_page: Open, keep_screenshot: Callable[[Page, str], None]
) -> None:
    rules = " ".join(f"Rule {number}: be kind to everybody." for number in range(20))
    for minute, said in ((3, ["Who?"]), (4, ["Who?", "Nobody.", "Why?"])):
        chat = [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(said)]
        system = {"role": "system", "content": f"It is 2026-11-28 17:0{minute}. {rules} <b>Bye</b>"}
        site.ask("", messages=[system, *chat])
    for name, options in (("wide", {}), ("phone", {"viewport": {"width": 390, "height": 844}})):
        page = open_page("/ui/projects", **options)
        place = card_of(page).locator("[data-name=cache]")
        expect(place).to_contain_text(re.compile(r"\d+ % of [\d,]+ prompt tokens in \d+ requests were computed again"))
        expect(place).to_contain_text(re.compile("The system message changes at character 7( in .*)?: a clock."))
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        keep_screenshot(page, f"cache-projects-{name}")


def registered() -> Registration:
    document = {
        "name": "shop",
        "models": {"llm": {"model": "ai/x"}, "embed": {"model": "ai/e"}},
        "services": {"it's": {"models": ["llm"]}, "index": {"models": ["embed"]}, "db": {}},
    }
    return Registration.of(Project.parse(document, ()), {"it's": "sk-dmrc-a", "index": "sk-dmrc-b"}, None)


def test_a_service_with_names_of_its_own_gets_a_command_with_these(tmp_path: Path) -> None:
    override = tmp_path / "override.yaml"
    service = Service("index", (Binding("embed"),))
    given = {"EMBED_KEY": "sk-dmrc-secret", "EMBED_URL": "http://model-runner.docker.internal/k/sk-dmrc-secret/v1/"}
    write(override, render(Project("shop", tmp_path, (), {}, {"index": service}), {"index": Injection(given, ())}))
    known = registered()
    modes = {"llm": "completion", "embed": "embedding"}
    models = {key: ModelState(one, "loaded", "done", modes[key]) for key, one in known.models.items()}

    card = project_card(known, models, override, "metadata", 12434)

    own, index = card.services
    assert card.recorded == "only figures are recorded"
    assert tuple(card.others) == ("db",)
    assert """eval "$(dmrc env 'it'"'"'s' --format export)\"""" in own.snippet
    assert "Bearer $OPENAI_API_KEY" in own.snippet
    assert "/engines/v1/embeddings" in index.snippet
    assert "Bearer $EMBED_KEY" in index.snippet
    assert [one.value for one in index.variables] == [
        "sk-dmrc-…",
        "http://model-runner.docker.internal/k/sk-dmrc-…/v1/",
    ]
    assert "secret" not in card.override
    assert "environment:\n      # the variables above\n" in card.override
