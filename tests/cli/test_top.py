"""`dmrc top`: its rows, its keys by Textual's pilot against a real daemon, and the command on a real terminal."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator

import pexpect
import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from dmrc.cli.client import DaemonClient
from dmrc.cli.record.top.rows import MODELS, RECENT, RUNNING, matches, model_rows, running_rows, status_line, widths
from dmrc.cli.record.top.screen import Detail, TopApp
from dmrc.cli.record.top.table import LiveTable
from dmrc.cli.record.top.watching import Glance, Watching
from dmrc.settings import Settings
from tests.dmrc_command import Dmrc
from tests.synthetic_engine import SyntheticDmrc, synthetic_dmrc
from tests.ui.planted import plant

SLOW = {"stream": True, "max_tokens": 10_000, "rate": 50}

RUNNER = {
    "id": "r1",
    "model": "docker.io/ai/tiny:latest",
    "state": "ready",
    "upstream": None,
    "processor": "100% CPU",
    "memory_resident_bytes": 355_000_000,
    "memory_device_bytes": 0,
    "in_use": 1,
    "parallel": 4,
    "waiting": 2,
    "keep_alive_seconds": 300,
    "expires_at": 358.0,
    "began_at": 90.0,
}
REQUEST = {
    "id": "019ac0de-0000-7000-8000-0000aed47506",
    "received_at": 40.0,
    "project": "shop",
    "service": "web",
    "client_address": None,
    "operation": "chat",
    "model": "docker.io/ai/tiny:latest",
    "stream": True,
    "prompt": "Hi\x1b[31m there",
    "pieces": 12_345,
}


@pytest.mark.parametrize("width", [60, 72, 80, 100, 130, 200])
@pytest.mark.parametrize("columns", [RUNNING, MODELS, RECENT])
def test_the_columns_of_each_table_fit_the_terminal(width: int, columns: tuple[object, ...]) -> None:
    shown = [size for size in widths(columns, width) if size is not None]

    assert sum(shown) + 2 * len(shown) <= width - 1  # beside the scroll bar
    assert min(shown) >= 4


def test_rows_show_what_is_known_and_leave_the_rest_empty() -> None:
    glance = Glance(running=[REQUEST], runners=[RUNNER], ram_total_bytes=8 * 10**9, ram_free_bytes=10**9, at=100.0)

    (running,), (model,) = running_rows(glance), model_rows(glance)
    assert running.texts == ("aed47506", "shop/web", "tiny", "1 min", "12.3k", "Hi [31m there")
    assert model.texts[0] == "tiny"
    assert model.texts[2:5] == ("████████ 355.00 MB", "1/4", "2")
    assert model.texts[-1] == "4 min 18 s"
    assert status_line(glance, 80) == "1 running · 2 waiting · memory 1.00 GB free of 8.00 GB"
    assert status_line(glance, 30) == "1 running · 2 waiting"
    assert matches(running, "WEB hi")
    assert not matches(running, "web nothing")
    unknown = {**RUNNER, "upstream": "http://far", "processor": None, "memory_resident_bytes": None, "parallel": None}
    (far,) = model_rows(Glance(runners=[{**unknown, "in_use": 0, "waiting": 0, "expires_at": None}], at=100.0))
    assert far.texts[2:] == ("", "", "", "", "")


@pytest.fixture(scope="module")
def synthetic(needs_process: None) -> Iterator[SyntheticDmrc]:
    with synthetic_dmrc(parallel=1) as found:
        yield found


def watching(dmrc: Dmrc) -> Watching:
    settings = Settings.from_environment(dmrc.environment)
    return Watching(DaemonClient(settings), settings.paths.exchanges)


async def until(pilot: Pilot[None], is_so: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline, f"{what}\n{screen(pilot)}"
        await pilot.pause(0.05)


def screen(pilot: Pilot[None]) -> str:
    strips = pilot.app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip).rstrip() for strip in strips)


def drive(app: TopApp, size: tuple[int, int], steps: Callable[[Pilot[None]], Awaitable[None]]) -> None:
    async def run() -> None:
        async with app.run_test(size=size) as pilot:
            await steps(pilot)

    asyncio.run(run())


@pytest.mark.process
def test_a_request_that_runs_is_seen_and_cancelled_and_then_shown_whole(synthetic: SyntheticDmrc) -> None:
    answer = synthetic.ask(**SLOW)
    app = TopApp(watching(synthetic.dmrc))

    async def steps(pilot: Pilot[None]) -> None:
        running = app.query_one("#running", LiveTable)
        await until(pilot, lambda: running.rows_shown and running.rows_shown[0].texts[4], "tokens of a running request")
        id_ = running.rows_shown[0].key
        assert "1 running" in screen(pilot)
        await pilot.press("c")
        await until(pilot, lambda: not running.rows_shown, "the end of the request")
        recent = app.query_one("#recent", LiveTable)
        await until(pilot, lambda: any(row.key == id_ for row in recent.rows_shown), "its record")
        assert "×" in screen(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, Detail), "the request whole")
        assert id_ in screen(pilot)
        await pilot.press("escape")
        await pilot.press("u")
        models = app.query_one("#models", LiveTable)
        await until(pilot, lambda: not models.rows_shown, "the end of the model")

    drive(app, (80, 24), steps)
    answer.read()


@pytest.mark.process
def test_without_a_daemon_it_says_so_shows_the_record_and_goes_on_when_there_is_one(dmrc: Dmrc) -> None:
    plant(dmrc.home, 40)
    app = TopApp(watching(dmrc))

    async def steps(pilot: Pilot[None]) -> None:
        recent = app.query_one("#recent", LiveTable)
        await until(pilot, lambda: len(recent.rows_shown) == 40, "the record")
        status = app.query_one("#status", Static)
        assert "the daemon does not run; waiting for it" in screen(pilot)
        await pilot.press("slash", *"nowhere-at-all")
        await until(pilot, lambda: not recent.rows_shown, "a filter that shows nothing")
        await pilot.press("escape")
        await until(pilot, lambda: len(recent.rows_shown) == 40, "all lines again")
        await pilot.press("f")
        await until(pilot, lambda: 0 < len(recent.rows_shown) < 40, "failures only")
        for width in (60, 132):
            await pilot.resize_terminal(width, 24)
            await until(pilot, lambda width=width: app.size.width == width, "the new size")
            await pilot.pause(0.2)
            assert all(len(line) <= width for line in screen(pilot).splitlines())
        await asyncio.to_thread(dmrc.ok, "ui", "--print")  # it starts one
        await until(pilot, lambda: not status.has_class("away"), "the daemon")

    drive(app, (80, 24), steps)


@pytest.mark.process
def test_on_a_terminal_it_draws_resizes_and_quits_and_no_color_is_kept(dmrc: Dmrc) -> None:
    plant(dmrc.home, 5)
    for more, has_colour in (({}, True), ({"NO_COLOR": "1"}, False)):
        environment = {**dmrc.environment, "TERM": "xterm-256color", **more}
        if "NO_COLOR" not in more:
            environment.pop("NO_COLOR", None)
        child = pexpect.spawn(str(dmrc.program), ["top"], env=environment, dimensions=(24, 80), timeout=60)
        child.expect("Last requests")
        child.expect("waiting for it")
        drawn = child.before + child.after
        child.setwinsize(24, 60)
        child.send("q")
        child.expect(pexpect.EOF)
        drawn += child.before
        child.close()
        assert child.exitstatus == 0
        coloured = re.search(rb"\x1b\[(?:\d+;)*(?:3[1-7]|9[1-7])(?:;\d+)*m", drawn)
        assert bool(coloured) is has_colour


@pytest.mark.process
@pytest.mark.parametrize("terminal", ["xterm", "dumb"])
def test_without_a_terminal_it_says_in_a_line_what_to_use(dmrc: Dmrc, terminal: str) -> None:
    done = dmrc.run("top", env={"TERM": terminal})

    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line == (
        "dmrc: dmrc top needs a terminal that can move its cursor. For lines use: dmrc ps, and dmrc requests --follow"
    )


@pytest.mark.process
@pytest.mark.parametrize("arguments", [["--help"], ["top", "--help"]])
def test_help_imports_no_textual(arguments: list[str]) -> None:
    code = f"""if True:
        import atexit, sys
        from dmrc.cli.main import main
        atexit.register(lambda: print("textual" in sys.modules))
        main({json.dumps(arguments)})
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "False"
