"""Compare in a real Chromium: a service's requests sent to an upstream that is worse, and to a real engine."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import axe_playwright_python
import httpx
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.comparison.asking import every_way
from tests.comparison.scripted_server import STORY, ScriptedServer, scripted_server
from tests.dmrc_command import temporary_dmrc
from tests.polling import eventually
from tests.tiny_gguf import write_tiny_llama
from tests.ui.conftest import Open, Site

TINY = "local/tiny"
COMPOSE = """
name: shop
services:
  api: {{image: none, models: [good]}}
  other: {{image: none, models: [bad, tiny]}}
models:
  good: {{model: good, x-dmrc: {{upstream: {{url: "{url}", model: good}}}}}}
  bad: {{model: bad, x-dmrc: {{upstream: {{url: "{url}", model: bad}}}}}}
  tiny: {{model: local/tiny, context_size: 256, runtime_flags: ["--seed", "3"]}}
"""
KINDS = ("tool", "text", "same")
_AXE = next(Path(axe_playwright_python.__file__).parent.rglob("axe.min.js")).read_text()


@dataclass(frozen=True)
class Shop(Site):
    """A project whose service `api` was asked, and what answers it."""

    server: ScriptedServer = field(kw_only=True)
    ids: dict[str, list[str]] = field(kw_only=True)
    """Of the requests of `api`, by their kinds."""
    failed: str = field(kw_only=True)
    """A request of `other` that failed."""
    tiny: list[str] = field(kw_only=True)
    """Two requests of `other` to the real engine."""

    def headers(self) -> dict[str, str]:
        return {"cookie": self.cookie(), "origin": self.url}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, needs_engine: None) -> Iterator[Shop]:
    directory = tmp_path_factory.mktemp("shop")
    with temporary_dmrc() as dmrc, scripted_server() as server:
        dmrc.ok("package", "--gguf", write_tiny_llama(directory / "tiny.gguf"), TINY)
        (directory / "compose.yaml").write_text(COMPOSE.format(url=server.url))
        key, other = (
            json.loads(dmrc.ok("env", service, "--format", "json", cwd=directory))["OPENAI_API_KEY"]
            for service in ("api", "other")
        )
        ids = {kind: [one.send(dmrc.port, key) for one in every_way(kind, "good", 2)] for kind in KINDS}
        (fails,) = every_way("fail", "bad", 1)
        tiny = [one.send(dmrc.port, other) for one in every_way("text", "tiny", 2, max_tokens=8)]
        failed = _failing(Site(dmrc, directory, other), fails.body)
        dmrc.ok("requests", "--json")  # which waits until they are on record
        yield Shop(dmrc, directory, key, server=server, ids=ids, failed=failed, tiny=tiny)


def _failing(site: Site, body: dict[str, object]) -> str:
    path = f"{site.url}/engines/v1/chat/completions"
    answer = httpx.post(path, json=body, headers={"authorization": f"Bearer {site.key}"})
    assert answer.status_code == 500
    return answer.headers["x-dmrc-exchange-id"]


def add_target(page: Page, number: int, **fields: str) -> None:
    """Fill in a target; `model` is what its option begins with."""
    if number:
        page.get_by_role("button", name="Add target").click()
    target = page.locator("#targets .target").nth(number)
    if begin := fields.pop("model", None):
        names = target.locator("option").all_text_contents()
        target.locator("[name=model]").select_option(label=next(name for name in names if name.startswith(begin)))
    for name, value in fields.items():
        target.locator(f"[name={name}]").fill(value)


def run(page: Page) -> None:
    page.get_by_role("button", name="Run").click()
    page.wait_for_url(re.compile(r"/ui/compare/[0-9a-f]+$"))


def finished(page: Page) -> None:
    expect(page.locator("#progress")).to_be_hidden()


def cells(page: Page) -> Locator:
    return page.locator("#matrix a.cell")


def columns(page: Page) -> list[str]:
    return page.locator("#matrix thead th:not(.asked)").all_inner_texts()


@pytest.fixture(scope="module")
def compared(site: Shop) -> str:
    """The address of a comparison of all that `api` asked with what is worse, when it is over."""
    body = {"ids": [id for ids in site.ids.values() for id in ids], "targets": [{"model": "bad", "project": "shop"}]}
    headers = site.headers()
    path = httpx.post(f"{site.url}/ui/compare", json=body, headers=headers).json()["url"]
    eventually(lambda: over(site, path), "comparison")
    return str(path)


@pytest.fixture
def matrix(compared: str, open_page: Open) -> Page:
    return open_page(compared)


def test_the_last_requests_of_a_service_are_sent_to_several_targets(site: Shop, open_page: Open) -> None:
    page = open_page("/ui/compare?project=shop&service=api&last=50")
    expect(page.locator("#chosen-count")).to_have_text("6 of 6 requests chosen")
    add_target(page, 0, model="bad")
    add_target(page, 1, model=TINY, context_size="128", temperature="0", flags="--top-k 1")
    add_target(page, 2)
    expect(page.locator("#run-note")).to_have_text("Sends 6 requests to 3 targets")

    run(page)
    finished(page)

    worse, tiny, again = columns(page)
    assert "bad (shop)" in worse
    assert "4 worse · 0 other words · 2 same" in worse
    assert f"{TINY}, context of 128, --top-k 1, temperature 0" in tiny
    assert "The same again" in again
    assert "0 worse · 0 other words · 6 same" in again
    first = page.locator("#matrix tbody tr").first
    assert first.get_by_role("link").first.inner_text().startswith("tool")
    badges = page.locator("#matrix tbody td:nth-child(2) .badge").all_inner_texts()
    assert badges == ["Other tool calls"] * 2 + ["Cut off"] * 2 + ["Same"] * 2
    sent = [one for one in json.loads(site.dmrc.ok("requests", "--json", "-n", "100")) if "diff" in one["annotations"]]
    assert {one["annotations"]["diff"] for one in sent} == {id for ids in site.ids.values() for id in ids}
    assert {(one["project"], one["service"]) for one in sent} == {("diff:shop", None)}
    of_tiny = [one for one in sent if TINY in (one["model_reference"] or "")]
    assert {one["context_tokens"] for one in of_tiny if one["status"] == 200} == {128}
    assert "diff:shop" not in site.dmrc.ok("ps", "--json"), "the runners that it loaded are gone"


def test_only_regressions_are_shown_where_that_is_wanted(matrix: Page) -> None:
    matrix.get_by_role("button", name=re.compile("Only regressions")).click()

    expect(matrix.locator("#matrix tbody tr:visible")).to_have_count(4)

    matrix.get_by_role("button", name=re.compile("^All")).click()
    expect(matrix.locator("#matrix tbody tr:visible")).to_have_count(6)


def test_a_cell_opens_both_answers_and_is_reached_by_keys_alone(matrix: Page) -> None:
    cells(matrix).first.focus()
    matrix.keyboard.press("ArrowDown")
    matrix.keyboard.press("ArrowDown")
    expect(cells(matrix).nth(2)).to_be_focused()

    matrix.keyboard.press("Enter")

    pair = matrix.get_by_role("dialog", name="Both answers")
    expect(pair.locator(".found .badge").first).to_have_text("Cut off")
    expect(pair.locator("del")).to_contain_text([re.compile("the beach")])
    assert pair.locator("pre").first.inner_text() == STORY
    pair.get_by_role("button", name="Previous").click()
    expect(pair.get_by_role("heading", name="Tool call 1")).to_be_visible()
    matrix.keyboard.press("Escape")
    expect(pair).to_be_hidden()
    expect(cells(matrix).nth(1)).to_be_focused()


def test_a_comparison_survives_a_reload_and_what_was_answered_survives_its_cancel(site: Shop, open_page: Open) -> None:
    site.server.may_answer.clear()
    (wait,) = every_way("wait", "good", 1)
    id = wait.send(site.dmrc.port, site.key)
    site.dmrc.ok("requests", "--json")
    page = open_page(f"/ui/compare?ids={site.ids['text'][0]},{id},{site.ids['same'][0]}")
    add_target(page, 0, model="bad")
    add_target(page, 1)
    run(page)
    counts = page.locator("#progress .counts").first
    expect(counts).to_have_text("2 of 3")

    page.reload()
    expect(counts).to_have_text("2 of 3")
    page.get_by_role("button", name="Cancel").click()
    finished(page)
    site.server.may_answer.set()

    expect(cells(page)).to_have_count(2)
    assert columns(page)[1].splitlines()[-1] == "cancelled"
    expect(page.locator("#matrix td", has_text="not sent")).to_have_count(4)
    page.goto(f"{site.url}/ui/compare")
    expect(page.locator(".recent tbody tr").first).to_contain_text("cancelled")


def test_what_cannot_be_sent_again_says_why_and_two_requests_are_compared_unsent(site: Shop, open_page: Open) -> None:
    page = open_page(f"/ui/compare?ids={site.failed},{site.ids['text'][0]}")
    expect(page.locator("#chosen tr.left")).to_contain_text("cannot be sent: it failed")
    expect(page.locator("#chosen-count")).to_have_text("1 of 2 requests chosen")

    page.get_by_role("link", name="Compare these two").click()

    expect(page.get_by_role("heading", name="Two requests")).to_be_visible()
    expect(page.locator(".found .badge")).to_have_text("Error")
    prompts = page.get_by_role("region", name="Prompts")
    expect(prompts.locator("del")).to_have_text("text")
    expect(prompts.locator("ins")).to_have_text("fail")
    assert page.get_by_role("link", name="View request").first.get_attribute("href").endswith(site.ids["text"][0])


def test_an_answer_of_a_real_engine_is_compared_with_its_parameters(site: Shop, open_page: Open) -> None:
    page = open_page(f"/ui/compare?ids={','.join(site.tiny)}")
    add_target(page, 0, temperature="0")
    run(page)
    finished(page)
    page.goto(site.url + str(cells(page).first.get_attribute("href")))

    differs = page.locator("tr.differs", has_text="temperature")
    expect(differs.locator("td").nth(1)).to_have_text(re.compile("^0"))


def test_views_of_a_comparison_fit_and_are_accessible(matrix: Page, site: Shop) -> None:
    pair = site.url + str(cells(matrix).nth(2).get_attribute("href"))
    for address in (matrix.url, pair, f"{site.url}/ui/compare?project=shop&last=50"):
        matrix.goto(address)
        for width in (1440, 390, 360):
            matrix.set_viewport_size({"width": width, "height": 900})
            assert matrix.evaluate("document.documentElement.scrollWidth") <= width, f"{address} at {width}"
        for scheme in ("light", "dark"):
            matrix.emulate_media(color_scheme=scheme)
            matrix.evaluate(_AXE)
            found = matrix.evaluate("axe.run().then((result) => result.violations)")
            serious = [one for one in found if one["impact"] in ("serious", "critical")]
            assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in serious] == []


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ({"targets": [{"model": "local/nothing"}]}, 404, "local/nothing"),
        ({"targets": [{"model": "gone", "project": "shop"}]}, 404, "gone"),
        ({"targets": [{"flags": '--temp "0.2'}]}, 400, "cannot be read"),
        ({"targets": [{"model": "bad", "project": "shop", "context_size": 512}]}, 400, "upstream"),
        ({"targets": [{}] * 7}, 400, "1 to 6 targets"),
        ({"ids": ["nothing"]}, 404, "nothing"),
        ({"targets": [{"temperature": -1}]}, 422, "temperature"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_its_reason(
    site: Shop, change: dict[str, object], status: int, said: str
) -> None:
    body = {"ids": site.ids["same"], "targets": [{}], **change}

    answer = httpx.post(f"{site.url}/ui/compare", json=body, headers=site.headers())

    assert answer.status_code == status, answer.text
    assert said in answer.text


def test_a_target_that_cannot_be_loaded_costs_its_own_column_only(site: Shop) -> None:
    body = {"ids": site.ids["same"], "targets": [{"model": TINY, "flags": "--no-such-flag"}, {}]}

    path = httpx.post(f"{site.url}/ui/compare", json=body, headers=site.headers()).json()["url"]
    states = eventually(lambda: over(site, path), "comparison")

    assert states == ["failed", "done"]
    assert "--no-such-flag" in httpx.get(f"{site.url}{path}", headers=site.headers()).text


def over(site: Shop, path: str) -> list[str] | None:
    """Return the states of a comparison's columns when it is over; None before that."""
    progress = httpx.get(f"{site.url}{path}/progress", headers=site.headers()).json()
    return [one["state"] for one in progress["columns"]] if progress["is_over"] else None


def test_no_more_comparisons_are_taken_than_are_worked_off(site: Shop) -> None:
    site.server.may_answer.clear()
    (wait,) = every_way("wait", "good", 1)
    id = wait.send(site.dmrc.port, site.key)
    site.dmrc.ok("requests", "--json")
    body, headers = {"ids": [id], "targets": [{"model": "bad", "project": "shop"}]}, site.headers()

    answers = [httpx.post(f"{site.url}/ui/compare", json=body, headers=headers) for _ in range(5)]
    begun = [one.json()["url"] for one in answers[:4]]
    for path in begun:
        httpx.post(f"{site.url}{path}/cancel", json={}, headers=headers)
    states = [eventually(lambda path=path: over(site, path), "comparison") for path in begun]
    site.server.may_answer.set()

    assert [one.status_code for one in answers] == [200] * 4 + [429]
    assert "4 comparisons are under way. Wait for one, or cancel it" in answers[4].text
    assert states == [["cancelled"]] * 4


def test_what_is_masked_is_sent_with_the_mask_where_that_is_wanted(site: Shop) -> None:
    path = f"{site.url}/engines/v1/chat/completions"
    message = {"role": "user", "content": "same 7 of [redacted]"}
    answer = httpx.post(
        path, json={"model": "good", "messages": [message]}, headers={"authorization": f"Bearer {site.key}"}
    )
    site.dmrc.ok("requests", "--json")
    address = f"{site.url}/ui/compare?ids={answer.headers['x-dmrc-exchange-id']}"

    without = httpx.get(address, headers=site.headers()).text
    masked = httpx.get(f"{address}&masked=true", headers=site.headers()).text

    assert "cannot be sent: has something masked" in without
    assert "Send the 1 with something masked, too" in without
    assert "cannot be sent" not in masked


def test_a_comparison_that_is_not_kept_says_so(site: Shop) -> None:
    answer = httpx.get(f"{site.url}/ui/compare/0123456789abcdef", headers={**site.headers(), "accept": "text/html"})

    assert answer.status_code == 404
    assert "the last 20 are kept, until the daemon ends" in answer.text
