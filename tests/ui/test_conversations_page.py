"""The list of conversations and one conversation, in a real Chromium, with requests that were joined as they are."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace

import pytest
from playwright.sync_api import Locator, Page, expect

from dmrc.capture.database import ExchangeDatabase
from dmrc.capture.joining.evidence import evidence_of
from dmrc.capture.writing import ReadExchange
from dmrc.exchange import Exchange
from tests.conversations.told import agent, assistant, call, exchange, result, user
from tests.dmrc_command import Dmrc, temporary_dmrc
from tests.ui.conftest import Open, Site
from tests.ui.planted import HOSTILE

_NOW = time.time()
_LONG = 130


def record(dmrc: Dmrc, exchanges: Sequence[Exchange]) -> None:
    """Write requests that name no conversation, as the recorder does, which joins them."""
    with closing(ExchangeDatabase(dmrc.home / "exchanges.sqlite3")) as database:
        bare = [replace(one, conversation_id=None) for one in exchanges]
        database.insert_read([ReadExchange(one, None, evidence_of(one)) for one in bare])


def long_talk() -> Iterator[Exchange]:
    history = [user("Count with me")]
    for number in range(_LONG):
        answer = assistant(f"That is {number}, as far as I can count.")
        yield exchange(1000 + number, _NOW - 2000 + number, list(history), answer, service="counter")
        history += [answer, user(f"And after {number}?")]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A daemon with nothing but a record: the agent's conversation, a long one, and a single request."""
    with temporary_dmrc() as dmrc:
        dmrc.home.mkdir(exist_ok=True)
        single = exchange(900, _NOW - 100, [user(HOSTILE)], assistant(HOSTILE), service="alone")
        run = [replace(one, session_id="run-1") for one in agent(_NOW - 1000)]
        record(dmrc, [*long_talk(), *run, single])
        yield Site(dmrc, tmp_path_factory.mktemp("shop"), "")


@pytest.fixture(scope="module")
def id() -> str:
    """Of the agent's conversation."""
    return agent(_NOW - 1000)[0].id


def rows_of(page: Page) -> Locator:
    return page.locator("#conversations tbody tr")


def test_the_list_has_what_each_conversation_was_about(site: Site, open_page: Open) -> None:
    page = open_page("/ui/conversations")

    expect(rows_of(page)).to_have_count(3)
    cells = rows_of(page).nth(1).locator("td")
    expect(cells).to_have_text(
        [
            re.compile(" min ago$"),
            "Is it warm in Oslo?",
            "shop/web, writer",
            "llm, big",
            "4",
            "120",
            "36",
            "1",
            "10 min 2 s",
        ],
        use_inner_text=True,
    )
    expect(rows_of(page).nth(2)).to_contain_text("Count with me")
    page.get_by_role("button", name="Hide single requests").click()
    page.wait_for_url("**singles=hide*")
    expect(rows_of(page)).to_have_count(2)
    page.get_by_role("button", name="Failed").click()
    expect(rows_of(page)).to_have_count(1)
    page.get_by_role("link", name="Clear").click()
    expect(rows_of(page)).to_have_count(3)
    page.get_by_role("searchbox").fill("count after 77")
    page.keyboard.press("Enter")
    expect(rows_of(page)).to_have_count(1)
    page.goto(f"{site.url}/ui/conversations?service=nobody")
    expect(page.locator("#empty")).to_contain_text("No conversations match")


def test_the_list_is_walked_by_keyboard(site: Site, open_page: Open, id: str) -> None:
    page = open_page("/ui/conversations")
    expect(rows_of(page)).to_have_count(3)

    page.keyboard.press("ArrowDown")
    page.keyboard.press("j")
    page.keyboard.press("Enter")

    page.wait_for_url(f"**/ui/conversations/{id}")
    expect(page.get_by_role("heading", level=1)).to_have_text("Is it warm in Oslo?")


def test_a_conversation_is_a_waterfall_and_a_list_that_says_the_same(site: Site, open_page: Open, id: str) -> None:
    page = open_page(f"/ui/conversations/{id}")

    expect(page.locator(".names .service")).to_have_text(["web", "writer"])
    bars = page.locator(".bars .request")
    expect(bars).to_have_count(4)
    expect(bars.first.locator("rect.prefill, rect.decode")).to_have_count(2)
    expect(bars.nth(2)).to_have_class("request failed")
    expect(page.locator(".bars .app text")).to_have_text("app: weather")
    expect(page.locator(".bars .gap text")).to_have_text("9 min 58 s")
    expect(page.locator(".who .label").first).to_have_text("2 calls · 80 in · 24 out")
    expect(page.get_by_role("table", name="Which service asked which model").get_by_role("row")).to_have_count(3)
    turns = page.get_by_role("region", name="Turns").locator(".turn")
    expect(turns).to_have_count(4)
    expect(turns.nth(0)).to_contain_text("weather app: 300 ms")
    expect(turns.nth(0).locator(".pair")).to_contain_text('"city": "Oslo"')
    expect(turns.nth(0).locator(".pair")).to_contain_text('"degrees": -3')
    expect(turns.nth(1)).to_contain_text("3 earlier messages repeated")
    expect(turns.nth(1)).not_to_contain_text("Is it warm")
    expect(turns.nth(2)).to_contain_text("the engine ended")
    expect(turns.nth(2).locator(".badge")).to_have_text("503 failed")
    expect(page.locator(".pause")).to_have_text("9 min 58 s later")


def test_bars_are_drawn_where_their_time_is(site: Site, open_page: Open, id: str) -> None:
    page = open_page(f"/ui/conversations/{id}")

    boxes = [one.bounding_box() for one in page.locator(".bars .request .frame").all()]
    lefts = [box["x"] for box in boxes if box]
    app = page.locator(".bars .app rect").bounding_box()

    assert lefts == sorted(lefts)
    assert boxes[0] and boxes[1] and app
    assert app["x"] == pytest.approx(boxes[0]["x"] + boxes[0]["width"], abs=3)
    assert app["x"] + app["width"] == pytest.approx(boxes[1]["x"], abs=3)


def test_the_timeline_is_zoomed_and_bars_lead_to_their_turns(site: Site, open_page: Open, id: str) -> None:
    page = open_page(f"/ui/conversations/{id}")
    drawing = page.locator(".bars")
    width = (drawing.bounding_box() or {})["width"]
    few = page.locator(".ticks:not([display]) text").count()

    page.get_by_role("button", name="Zoom in").click()
    page.keyboard.press("+")

    assert (drawing.bounding_box() or {})["width"] == pytest.approx(4 * width, rel=0.02)
    assert page.locator(".ticks:not([display]) text").count() > few
    page.keyboard.press("0")
    assert (drawing.bounding_box() or {})["width"] == pytest.approx(width, rel=0.02)


def test_a_request_opens_beside_the_turns_by_keyboard(site: Site, open_page: Open, id: str) -> None:
    page = open_page(f"/ui/conversations/{id}", viewport={"width": 1440, "height": 900})
    panel = page.get_by_role("complementary", name="Request")

    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(page.locator(".turn.chosen")).to_have_attribute("data-turn", "2")
    expect(page.locator(".request.chosen")).to_have_attribute("data-turn", "2")
    page.keyboard.press("Enter")
    expect(panel).to_contain_text("No: -3 °C.")
    page.keyboard.press("j")
    expect(panel).to_contain_text("the engine ended")
    page.keyboard.press("Escape")

    expect(panel).to_be_hidden()
    assert page.evaluate("document.activeElement.closest('.turn').dataset.turn") == "3"
    page.locator('.bars .request[data-turn="4"]').click()
    expect(panel).to_contain_text("crisp")


def test_new_requests_appear_in_the_conversation_and_in_the_list(site: Site, open_page: Open, id: str) -> None:
    listed, page = open_page("/ui/conversations"), open_page(f"/ui/conversations/{id}")
    rules, question, called, brought = (
        {"role": "system", "content": "Use tools."},
        user("Is it warm in Oslo?"),
        assistant(None, call("call_1", "weather", city="Oslo")),
        result("call_1", '{"degrees": -3}'),
    )
    expect(page.locator(".turn")).to_have_count(4)
    page.keyboard.press("ArrowDown")
    history = [rules, question, called, brought, assistant("No: -3 °C."), user("And in Bergen?")]

    record(site.dmrc, [exchange(77, _NOW, history, assistant("Bergen is warmer."))])

    expect(page.locator(".turn")).to_have_count(5)
    last = page.locator(".turn").last
    expect(last.locator(".said")).to_have_text([re.compile("And in Bergen?"), re.compile("Bergen is warmer.")])
    expect(page.locator(".bars .request")).to_have_count(5)
    assert page.evaluate("document.activeElement.closest('.turn').dataset.turn") == "1"
    expect(rows_of(listed).first).to_contain_text("Is it warm in Oslo?")
    expect(rows_of(listed).first.locator("[data-name=count]")).to_have_text("5", use_inner_text=True)


def test_of_a_long_conversation_the_last_requests_are_shown(site: Site, open_page: Open) -> None:
    page = open_page(f"/ui/conversations/{next(iter(long_talk())).id}")

    expect(page.locator(".turn")).to_have_count(100)
    expect(page.locator(".order").first).to_have_text("31")
    expect(page.get_by_role("region", name="Summary")).to_contain_text("Requests 31 to 130 of 130 are shown")
    expect(page.locator(".turn").first.locator(".said")).to_have_count(2)  # what is new: a question and an answer
    page.get_by_role("link", name="Earlier requests").click()
    expect(page.locator(".turn")).to_have_count(30)
    expect(page.locator(".order").first).to_have_text("1")


def test_any_request_names_its_conversation_and_what_callers_wrote_is_text(site: Site, open_page: Open) -> None:
    page = open_page(f"/ui/conversations/{agent(_NOW - 1000)[2].id}")
    expect(page.get_by_role("heading", level=1)).to_have_text("Is it warm in Oslo?")

    page.goto(f"{site.url}/ui/conversations/{exchange(900, _NOW - 100, [], None).id}")
    expect(page.locator(".turn")).to_have_count(1)
    expect(page.locator(".turn")).to_contain_text("<script>")
    assert page.title() != "owned"


def test_pictures_of_conversations(
    site: Site, open_page: Open, id: str, keep_screenshot: Callable[[Page, str], None]
) -> None:
    """Kept with the others of CI; `test_every_view.py` looks whether views fit and are accessible."""
    page = open_page(f"/ui/conversations/{id}")
    for width in (1440, 1024, 390):
        page.set_viewport_size({"width": width, "height": 900})
        expect(page.locator(".timeline")).to_be_visible(visible=width > 720)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            keep_screenshot(page, f"conversation-agent-{width}-{scheme}")
