"""The page of one request in a real Chromium, with planted requests; some are asked of the real model."""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from hashlib import sha256

import httpx
import openai
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.polling import eventually
from tests.ui.accessibility import violations
from tests.ui.conftest import Open, Site
from tests.ui.requests_of_all_kinds import LONG, PAGE, PICTURE, plant_kinds

HOSTILE = (
    "<script>document.title='owned'</script><svg onload=\"document.title='owned'\"></svg>"
    "<img src=x onerror=\"document.title='owned'\">"
    " \x1b[31mred\x1b[0m \u202eטקסט הפוך\u202c مرحبا بالعالم 👩‍👩‍👧‍👦🏳️‍🌈 {{ 7*7 }}"
)
_SET_UP = """async (id) => {
  const { setUp } = await import("/ui/static/request.js");
  const sheet = Object.assign(document.createElement("link"), { rel: "stylesheet", href: "/ui/static/request.css" });
  document.head.append(sheet);
  const place = Object.assign(document.createElement("div"), { id: "beside" });
  place.innerHTML = await (await fetch(`/ui/requests/${id}/panel`)).text();
  document.querySelector("main").replaceChildren(place);
  place.addEventListener("request-deleted", (event) => { place.dataset.gone = event.detail; });
  setUp(place);
}"""


@pytest.fixture(scope="module")
def kinds(site: Site) -> dict[str, str]:
    return plant_kinds(site.dmrc.home)


@pytest.fixture(scope="module")
def looked_at(site: Site, browser: Browser) -> Iterator[Page]:
    """One page for all tabs: a session for each would take longer than to look."""
    page = browser.new_page()
    page.goto(site.login())
    yield page
    page.close()


def tab(page: Page, name: str) -> Page:
    page.get_by_role("tab", name=name, exact=True).click()
    return page


def on_record(site: Site, id: str) -> str:
    eventually(lambda: id in site.dmrc.ok("requests", "--json"), "the record")
    return id


def test_the_head_says_what_was_asked_and_leads_to_what_is_like_it(kinds: dict[str, str], open_page: Open) -> None:
    page = open_page(f"/ui/requests/{kinds['anthropic']}")

    expect(page.get_by_role("heading", level=1)).to_have_text("Is it cold?")
    expect(page.locator(".detail-title .badge")).to_have_text("Done")
    expect(page.locator(".detail-facts")).to_contain_text("1.13 s")
    expect(page.locator(".detail-facts")).to_contain_text("520 in")
    page.get_by_role("link", name="kinds/web").click()
    page.wait_for_url("**/ui/requests?project=kinds&service=web")
    page.go_back()
    page.locator(".detail-facts").get_by_role("link", name="smollm2").click()
    page.wait_for_url(re.compile(r"/ui/requests\?model=docker.io%2Fai%2Fsmollm2%3Alatest$"))


def test_newer_and_older_stay_within_the_filter_of_the_address(
    site: Site, kinds: dict[str, str], open_page: Open
) -> None:
    page = open_page(f"/ui/requests/{kinds['noted']}?project=kinds&service=web#conversation")

    page.keyboard.press("k")
    page.wait_for_url(f"{site.url}/ui/requests/{kinds['measured']}?project=kinds&service=web#conversation")
    expect(page.get_by_role("link", name="Newer")).to_have_count(0)  # the newest is another service's
    page.keyboard.press("j")
    page.wait_for_url(f"**/{kinds['noted']}?**")
    page.goto(f"{site.url}/ui/requests/{kinds['measured']}?project=kinds")
    page.get_by_role("link", name="Newer").click()
    page.wait_for_url(f"**/{kinds['newest']}?project=kinds")


def test_tabs_have_addresses_and_keys(site: Site, kinds: dict[str, str], open_page: Open) -> None:
    page = open_page(f"/ui/requests/{kinds['clock']}")

    page.get_by_role("tab", name="Overview").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tabpanel", name="Conversation")).to_be_visible()
    assert page.url.endswith("#conversation")
    page.keyboard.press("End")
    expect(page.get_by_role("tabpanel", name="Response")).to_contain_text("Yes.")
    page.reload()
    expect(page.get_by_role("tab", name="Response")).to_have_attribute("aria-selected", "true")


@pytest.mark.parametrize(
    ("kind", "parameters", "tool"),
    [
        ("anthropic", ["Max tokens300", "Top p0.9", 'Stop["END"]'], "weather Tells the weather of a city."),
        ("ollama", ["Temperature0.5", "Max tokens64", "Context2048"], None),
        ("response", ["Max tokens32", 'Format{"format": {"type": "json_object"}}'], "paint"),
        ("long", ["Seed12345678901234567890"], None),
    ],
)
def test_parameters_and_tools_of_each_dialect_are_shown(
    kind: str, parameters: list[str], tool: str | None, kinds: dict[str, str], open_page: Open
) -> None:
    card = open_page(f"/ui/requests/{kinds[kind]}").get_by_role("region", name="Parameters")

    expect(card.locator("dl.pairs > div")).to_have_text(parameters)
    if tool is not None:
        expect(card.locator("details.tool summary")).to_have_text(tool)
        card.locator("details.tool summary").click()
        expect(card.locator("details.tool pre")).to_contain_text('"city"')


def test_times_and_the_use_of_the_context_are_told(kinds: dict[str, str], open_page: Open) -> None:
    page = open_page(f"/ui/requests/{kinds['anthropic']}")

    expect(page.get_by_role("region", name="Time").locator(".key")).to_have_text(
        ["load 20 ms", "queue 10 ms", "prefill 100 ms", "decode 1.00 s"]
    )
    expect(page.get_by_role("region", name="Tokens")).to_contain_text("532 of 4,096 tokens (13 %)")


def test_what_keeps_the_prompt_cache_from_its_work_is_marked_in_the_conversation(
    kinds: dict[str, str], open_page: Open, keep_screenshot: Callable[[Page, str], None]
) -> None:
    page = open_page(f"/ui/requests/{kinds['clock']}")
    card = page.get_by_role("region", name="Prompt cache")

    expect(card.locator("rect.cached, rect.again, rect.fresh")).to_have_count(3)
    expect(card.locator(".key.cached")).to_have_text(re.compile(r"^10 from the cache, about [\d.]+ ms saved$"))
    expect(card.locator(".key.again")).to_have_text(re.compile(r"^\d+ computed again, about \d+ ms$"))
    expect(card).to_contain_text("The system message changes at character 7: a clock.")
    keep_screenshot(page, "request-cache")
    card.get_by_role("link", name="Show it in the conversation").click()

    message = page.locator("#message-1")
    expect(message).to_be_focused()
    expect(message.locator(".difference mark")).to_have_text(["3", "4"])
    expect(message.locator("pre mark")).to_have_text("4")
    keep_screenshot(page, "request-cache-mark")


def test_long_messages_are_folded_and_the_answer_is_a_step_away(kinds: dict[str, str], open_page: Open) -> None:
    page = open_page(f"/ui/requests/{kinds['long']}#conversation")
    message = page.locator(".message.system")

    assert len(message.locator("pre").inner_text()) <= 1500
    page.get_by_role("button", name=f"Show all {len(LONG):,} characters").click()
    assert message.locator("pre").inner_text() == LONG
    page.get_by_role("link", name="Jump to the answer").click()
    expect(page.locator(".message.assistant")).to_be_focused()
    expect(page.locator(".message.assistant")).to_be_in_viewport()


def test_a_body_is_a_tree_with_its_numbers_as_they_were_sent(kinds: dict[str, str], open_page: Open) -> None:
    page = tab(open_page(f"/ui/requests/{kinds['long']}"), "Request")
    body = page.locator("#pane-request .body")

    expect(body.locator(".json-number").last).to_have_text("12345678901234567890")
    body.get_by_role("button", name="Collapse").click()
    expect(body.locator(".json-inside details[open]")).to_have_count(0)
    body.get_by_role("button", name="Expand all").click()
    expect(body.get_by_text('"Who pays?"')).to_be_visible()
    body.get_by_role("button", name="Copy").click()
    expect(page.locator(".toast")).to_contain_text("Copied")
    assert '"seed": 12345678901234567890' in page.evaluate("navigator.clipboard.readText()")


def test_a_picture_that_is_kept_is_shown_and_nothing_that_only_says_it_is_one(
    site: Site, kinds: dict[str, str], open_page: Open
) -> None:
    page = open_page(f"/ui/requests/{kinds['pictures']}#conversation")
    picture, page_as_picture = (
        f"{site.url}/ui/requests/{kinds['pictures']}/media/{sha256(data).hexdigest()}" for data in (PICTURE, PAGE)
    )

    expect(page.locator(".picture figcaption").first).to_have_text(f"PNG, 64 × 48, {len(PICTURE)} bytes")
    assert page.locator(".picture img").first.evaluate("(img) => img.decode().then(() => img.naturalWidth)") == 64
    expect(page.locator(".picture img")).to_have_count(1)
    headers = {"cookie": site.cookie()}
    answer = httpx.get(picture, headers=headers)
    assert (answer.content, answer.headers["content-type"]) == (PICTURE, "image/png")
    assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert answer.headers["x-content-type-options"] == "nosniff"
    for other in (page_as_picture, picture[:-1] + "x"):
        refused = httpx.get(other, headers=headers)
        assert refused.status_code == 404
        assert "script" not in refused.text


def test_what_plugins_noted_and_what_was_only_measured(site: Site, kinds: dict[str, str], open_page: Open) -> None:
    page = open_page(f"/ui/requests/{kinds['noted']}")
    expect(page.get_by_role("region", name="Plugin notes")).to_contain_text("topicwhales")
    expect(page.locator(".detail-title .badge")).to_have_text(["Done", "Fault: slow"])

    page.goto(f"{site.url}/ui/requests/{kinds['measured']}")
    expect(page.get_by_role("heading", level=1)).to_have_text("Chat")
    expect(page.get_by_role("tab")).to_have_text(["Overview", "Request", "Response"])
    expect(page.get_by_role("button", name="Send again")).to_have_count(0)
    expect(tab(page, "Request").locator("#pane-request")).to_contain_text("Only what was measured was recorded")


def test_the_panel_beside_the_list_is_the_same_and_says_when_its_request_is_gone(
    site: Site, kinds: dict[str, str], open_page: Open
) -> None:
    page = open_page("/ui/models")
    page.evaluate(_SET_UP, kinds["oldest"])

    expect(page.get_by_role("heading", level=2, name="The oldest")).to_be_visible()
    tab(page, "Conversation")
    assert page.url.endswith("/ui/models")
    expect(page.locator(".message.user pre")).to_have_text("The oldest")
    page.get_by_text("Copy as").click()
    page.get_by_role("button", name="Python").click()
    expect(page.locator(".toast")).to_contain_text("Copied")

    page.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Keep").click()
    site.dmrc.ok("requests", "show", kinds["oldest"])
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.locator("#beside")).to_have_attribute("data-gone", kinds["oldest"])
    assert "no request" in site.dmrc.run("requests", "show", kinds["oldest"]).stderr


def test_one_request_is_shown_whole_copied_and_sent_again(site: Site, open_page: Open) -> None:
    id = on_record(site, site.ask("Say one word.", stream=True, messages=[
        {"role": "system", "content": "You are brief."}, {"role": "user", "content": "Say one word."},
    ]))  # fmt: skip
    page = open_page(f"/ui/requests/{id}")

    expect(page.locator("svg.span rect.decode")).to_have_count(1)
    assert page.locator("svg.ticks rect").count() > 1
    expect(page.locator(".context p")).to_have_text(re.compile(r"[\d,]+ of 1,024 tokens \(\d+ %\)"))
    expect(tab(page, "Conversation").locator(".message.system")).to_contain_text("You are brief.")
    expect(page.locator(".message.assistant").first).not_to_be_empty()
    said = "".join(tab(page, "Stream").locator("td.says").all_inner_texts())
    assert said.strip() in re.sub(r"\s+", " ", page.locator(".message.assistant pre").first.text_content() or "")

    page.get_by_role("button", name="Send again").click()
    expect(page.locator(".then .message.assistant")).to_be_visible()
    body = page.locator("[name=body]")
    body.fill(body.input_value().replace("Say one word.", "Say two words."))
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.locator(".now .message.assistant")).to_be_visible()
    page.locator(".now a").first.click()
    expect(tab(page, "Conversation").locator(".message.user")).to_contain_text("Say two words.")
    expect(page.locator(".detail-facts")).to_contain_text("playground")


def test_a_request_that_runs_is_shown_whole_when_it_ends(site: Site, open_page: Open) -> None:
    def ask() -> None:
        with contextlib.suppress(openai.APIError):  # it is cancelled
            site.ask("Tell all.", stream=True, max_tokens=800, extra_body={"ignore_eos": True})

    page = open_page("/ui/requests")
    asking = threading.Thread(target=ask)
    asking.start()
    row = page.locator("#rows tr.running")
    row.wait_for()
    page.goto(f"{site.url}/ui/requests/{(row.get_attribute('id') or '').removeprefix('r-')}")

    expect(page.locator(".detail .badge")).to_have_text("Running")
    expect(page.locator(".elapsed")).to_have_text(re.compile(r"\d"))
    page.get_by_role("button", name="Cancel request").click()
    expect(page.locator(".detail .badge")).to_have_text("Cancelled")
    expect(tab(page, "Conversation").locator(".message.user")).to_contain_text("Tell all.")
    asking.join()


def test_tool_calls_have_their_results_beside_them_as_json(site: Site, open_page: Open) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}}
    id = on_record(site, site.ask("x", messages=[
        {"role": "user", "content": "Is it cold?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": '{"degrees":-3}'},
    ]))  # fmt: skip
    page = open_page(f"/ui/requests/{id}#conversation")

    expect(page.locator(".call h4 code")).to_have_text("weather")
    expect(page.locator(".call > .long pre")).to_have_text('{\n  "city": "Oslo"\n}')
    expect(page.locator(".call .result pre")).to_have_text('{\n  "degrees": -3\n}')


def test_hostile_prompts_are_text(site: Site, open_page: Open) -> None:
    page = open_page(f"/ui/requests/{on_record(site, site.ask(HOSTILE))}#conversation")

    shown = page.locator(".message.user pre").text_content() or ""
    assert "<svg onload=" in shown
    assert "␛[31mred" in shown
    assert "👩‍👩‍👧‍👦🏳️‍🌈 {{ 7*7 }}" in shown
    expect(tab(page, "Request").locator(".json-string").last).to_contain_text("␛[31mred")
    assert page.title() != "owned"


def test_very_long_prompts_open_quickly(site: Site, kinds: dict[str, str], open_page: Open) -> None:
    with pytest.raises(Exception, match="context"):
        site.ask("x" * (2 << 20))
    cut = json.loads(site.dmrc.ok("requests", "-n", "1", "--json"))[0]["id"]
    page = open_page("/ui/requests")

    def seconds_to_open(path: str, text: str) -> float:
        page.goto("about:blank")
        started = time.monotonic()
        page.goto(f"{site.url}/ui/requests/{path}")
        expect(page.locator(text).last).to_contain_text("xxxxxxxx")
        assert page.evaluate("document.documentElement.scrollWidth") <= 1280
        return time.monotonic() - started

    # The machine may be busy with other things; what the page costs is in the least.
    for path, text in (
        (f"{cut}#request", "#pane-request pre"),
        (f"{kinds['huge']}#request", "#pane-request .json-string"),
        (f"{kinds['huge']}#conversation", ".message.user pre"),
    ):
        assert any(seconds_to_open(path, text) < 1 for _ in range(10)), path


@pytest.mark.parametrize(
    "tab_of",
    [
        *("clock#overview", "clock#conversation", "long#conversation", "pictures#conversation", "anthropic#request"),
        *("streamed#stream", "measured#response"),
    ],
)
def test_each_tab_fits_and_is_accessible(
    tab_of: str,
    site: Site,
    kinds: dict[str, str],
    looked_at: Page,
    keep_screenshot: Callable[[Page, str], None],
) -> None:
    kind, _, name = tab_of.partition("#")
    page = looked_at
    page.goto("about:blank")
    page.goto(f"{site.url}/ui/requests/{kinds[kind]}#{name}")
    expect(page.get_by_role("tab", name=name.capitalize(), exact=True)).to_have_attribute("aria-selected", "true")
    expect(page.locator("[aria-busy=true]")).to_have_count(0)

    for scheme, width in (("light", 1440), ("dark", 1024), ("light", 390), ("dark", 360)):
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width, f"sideways at {width}"
        keep_screenshot(page, f"request-{kind}-{name}-{width}-{scheme}")
        if width != 390:
            assert violations(page, scheme) == []
