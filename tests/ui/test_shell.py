"""What is the same in every view: the rail, keys, toasts, themes, tabs, folds, charts, and how numbers are written."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from dmrc.figures import ago_text, count_text, share_text, span_text
from dmrc.gguf import format_size
from dmrc.ui.static_files import static_address
from tests.dmrc_command import temporary_dmrc
from tests.ui.conftest import Complaints, Open, Site

NUMBERS = (
    *(0, 0.04, 0.4, 7, 9.94, 9.96, 117.2, 999.4, 999.6, 1000, 1200, 9994, 9996, 9999.6, 12_345, 59_949, 59_951),
    *(258_000, 325_411, 999_949, 999_951, 3_599_700, 7_500_000, 86_399_000, 100_800_000, 98_360_000_000),
)
SHARES = (0, 0.001, 0.005, 0.123, 0.994, 0.995, 0.999, 1)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, needs_browser: None) -> Iterator[Site]:
    with temporary_dmrc() as dmrc:
        yield Site(dmrc, tmp_path_factory.mktemp("nothing"), "")


def _in_page(page: Page, expression: str, *values: object) -> object:
    """Evaluate what uses `page.js` and `chart.js` as `parts`."""
    modules = "await import('/ui/static/page.js'), await import('/ui/static/chart.js')"
    return page.evaluate(f"async (values) => {{ const parts = Object.assign({{}}, {modules}); {expression} }}", values)


def test_the_page_writes_numbers_as_the_daemon_does(open_page: Open) -> None:
    page = open_page("/ui/overview")

    shown = _in_page(
        page,
        "const { count, span, size, ago, share } = parts; const [numbers, shares] = values;"
        "return [numbers.map(count), numbers.map(span), numbers.map(size),"
        " numbers.map((one) => ago(1e6 - one, 1e6)), shares.map(share), [null, NaN].map(span)]",
        NUMBERS, SHARES,
    )  # fmt: skip

    assert shown == [
        [count_text(one) for one in NUMBERS],
        [span_text(one) for one in NUMBERS],
        [format_size(one) for one in NUMBERS],
        [ago_text(one) for one in NUMBERS],
        [share_text(one) for one in SHARES],
        ["", ""],
    ]


def test_keys_are_listed_and_lead_to_views(open_page: Open) -> None:
    page = open_page("/ui/overview")
    page.locator("#health").wait_for()

    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("Go to models")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.press("g")
    page.keyboard.press("p")

    page.wait_for_url("**/ui/projects")
    expect(page.get_by_role("link", name="Projects")).to_have_attribute("aria-current", "page")


def test_a_theme_that_was_chosen_stays(open_page: Open) -> None:
    page = open_page("/ui/overview", color_scheme="light")
    background = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(background)
    button = page.locator("#theme-button")

    for name in ("light", "dark"):
        button.click()
        expect(button).to_have_attribute("title", f"Theme: {name}")
    page.reload()

    assert page.evaluate(background) != light
    button.click()
    expect(button).to_have_attribute("title", "Theme: system")
    assert page.evaluate(background) == light


def test_a_phone_has_a_bar_with_the_rest_behind_more(open_page: Open) -> None:
    page = open_page("/ui/overview", viewport={"width": 360, "height": 700})

    assert page.locator(".rail").evaluate("(rail) => rail.getBoundingClientRect().bottom") == 700
    page.get_by_role("button", name="More").click()
    page.locator("#more").get_by_role("link", name="Models").click()

    page.wait_for_url("**/ui/models")


def test_a_toast_moves_nothing_and_an_error_stays(open_page: Open) -> None:
    page = open_page("/ui/projects")
    height = page.evaluate("document.documentElement.scrollHeight")

    _in_page(page, "parts.toast('Saved', 'done'); parts.attempt(() => { throw new Error('No room on the disk'); })")

    expect(page.get_by_role("alert")).to_contain_text("No room on the disk")
    assert page.evaluate("document.documentElement.scrollHeight") == height
    expect(page.get_by_text("Saved")).to_have_count(0)  # after six seconds
    page.get_by_role("button", name="Close").click()
    expect(page.get_by_role("alert")).to_have_count(0)


def test_tabs_and_folds_are_worked_by_keys(open_page: Open) -> None:
    page = open_page("/ui/projects")
    _in_page(
        page,
        """document.querySelector("main").innerHTML = `<div class="tabs" role="tablist">
          <button role="tab" aria-controls="one">One</button><button role="tab" aria-controls="two">Two</button></div>
          <section id="one"><div class="fold"><p>${"word ".repeat(9000)}</p></div></section>
          <section id="two">second</section>`;
        parts.tabs(document.querySelector("main")); parts.folds();""",
    )
    expect(page.locator("#two")).to_be_hidden()

    page.get_by_role("button", name="Show all 45.0k characters").press("Enter")
    assert page.locator(".fold").bounding_box()["height"] > 300
    page.get_by_role("tab", name="One").press("ArrowRight")

    expect(page.locator("#two")).to_be_visible()
    expect(page.get_by_role("tab", name="Two")).to_be_focused()
    expect(page.locator("#one")).to_be_hidden()


def test_parts_of_a_bar_too_low_for_a_stack_stand_side_by_side(open_page: Open) -> None:
    """Else a single failure among nine would look as large as these."""
    page = open_page("/ui/projects")
    _in_page(
        page,
        """const place = document.querySelector("main"); place.innerHTML = "<div></div>";
        const series = [{ name: "ok", kind: "done" }, { name: "failed", kind: "failed" }];
        parts.timeChart(place.firstElementChild, { title: "Requests", series, show: parts.count })
          .update({ start: 0, end: 120, values: [[9, 10000], [1, 0]] });""",
    )
    low = page.locator("main rect.bar").evaluate_all(
        "(all) => all.slice(0, 2).map((one) => ['width', 'height'].map((name) => Number(one.getAttribute(name))))"
    )

    assert low[0][0] == pytest.approx(9 * low[1][0], rel=0.01)
    assert low[0][1] == low[1][1]


def test_a_chart_tells_its_values_and_gives_a_range(open_page: Open) -> None:
    page = open_page("/ui/projects")
    _in_page(
        page,
        """const place = document.querySelector("main"); place.innerHTML = "<div></div>";
        window.ranges = [];
        const series = [{ name: "ok", kind: "done" }, { name: "failed", kind: "failed" }];
        parts.timeChart(place.firstElementChild, { title: "Requests", series, show: parts.count,
          onRange: (start, end) => window.ranges.push([start, end]) })
          .update({ start: 0, end: 600, values: [[1, 2, 3, 4, 5, 60], [0, 0, 1, 0, 0, 0]] });""",
    )
    chart = page.get_by_role("group", name=re.compile("^Requests, .*: most 60 at "))
    chart.focus()

    page.keyboard.press("ArrowLeft")
    expect(page.locator(".tip")).to_contain_text("ok 60")
    page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press("Enter")
    box = chart.bounding_box()
    step = (box["width"] - 44) / 6
    page.mouse.move(box["x"] + 44 + step * 0.5, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + 44 + step * 2.5, box["y"] + 40)
    page.mouse.up()

    assert page.evaluate("window.ranges") == [[400, 600], [0, 300]]
    assert page.locator("rect.bar.failed").count() == 1
    page.mouse.move(box["x"] + 44 + step * 2.5, box["y"] + 40)
    expect(page.locator(".tip")).to_contain_text("failed 1")
    assert _in_page(page, "return [0, 7, 60, 0.3].map((one) => parts.niceTicks(one))") == [
        [0], [0, 5, 10], [0, 20, 40, 60], [0, 0.1, 0.2, 0.3],
    ]  # fmt: skip


def test_a_browser_asks_once_for_each_file_of_the_page(site: Site, open_page: Open) -> None:
    page = open_page("/ui/requests")
    expect(page.locator("#live")).to_have_text("Live")
    page.goto(f"{site.url}/ui/projects")
    page.goto(f"{site.url}/ui/requests")
    expect(page.locator("#live")).to_have_text("Live")

    sizes = page.evaluate(
        """performance.getEntriesByType("resource").filter((one) => one.name.includes("/ui/static/"))
        .map((one) => one.transferSize)"""
    )
    assert len(sizes) > 8
    assert set(sizes) == {0}


def test_what_is_kept_has_the_version_of_its_files_in_its_address(site: Site) -> None:
    import httpx

    headers = {"cookie": site.cookie()}
    version = static_address().rpartition("/")[2]

    def kept(path: str) -> str:
        response = httpx.get(f"{site.url}{path}", headers=headers).raise_for_status()
        return response.headers["cache-control"]

    assert "immutable" in kept(f"/ui/static/{version}/tokens.css")
    assert kept("/ui/static/tokens.css") == "no-cache"
    assert kept("/ui/static/older/tokens.css") == "no-cache"  # of a page that an older daemon made
    assert kept("/ui/overview") == "no-store"
    missing = httpx.get(f"{site.url}/ui/static/{version}/none.css", headers=headers)
    assert (missing.status_code, missing.headers["cache-control"]) == (404, "no-cache")


def test_only_the_tokens_name_colours() -> None:
    """Another file would have to know of both themes."""
    static = Path(__file__).parents[2] / "dmrc" / "ui" / "static"
    colour = re.compile(r"#[0-9a-f]{3,8}\b(?![^{]*\{)|\brgba?\(|\bhsl", re.IGNORECASE)
    named = {
        path.name
        for path in static.glob("*.css")
        if path.name != "tokens.css" and colour.search(re.sub(r"#000\b|rgb\(8 11 16 / \.45\)", "", path.read_text()))
    }

    assert not named


def test_the_foot_says_when_the_daemon_is_gone(site: Site, open_page: Open, complaints: Complaints) -> None:
    page = open_page("/ui/projects")
    expect(page.locator("#health")).to_have_text("Daemon running")

    site.dmrc.ok("stop-runner")

    expect(page.locator("#health")).to_have_text("No answer: run dmrc ui")
    assert all("ERR_" in line for line in complaints.found)  # a browser says by itself that nobody answers
    complaints.found.clear()
