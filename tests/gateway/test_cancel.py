"""The user of this machine cancels a request on the page: its slot is free at once, and its caller is told."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.polling import eventually
from tests.synthetic_engine import SyntheticDmrc, synthetic_dmrc

SLOW = {"stream": True, "max_tokens": 10_000, "rate": 50}


@pytest.fixture(scope="module", params=["0", "1"], ids=["in the daemon", "in a stream process"])
def synthetic(request: pytest.FixtureRequest, needs_process: None) -> Iterator[SyntheticDmrc]:
    """One slot, so that a second request waits."""
    with synthetic_dmrc(parallel=1, DMRC_STREAM_PROCESSES=request.param) as found:
        if request.param == "1":
            eventually(lambda: is_carried(found), "a stream process that is ready")
        yield found


def is_carried(synthetic: SyntheticDmrc) -> bool:
    """Return whether the next stream goes by a process of its own: each starts one where there is none."""
    import psutil

    from tests.processes import stream_processes_of

    synthetic.ask(stream=True, max_tokens=3).read()
    return bool(stream_processes_of(psutil.Process(synthetic.pid)))


class Page:
    """What the page's scripts ask."""

    def __init__(self, synthetic: SyntheticDmrc) -> None:
        opening = httpx.get(synthetic.dmrc.ok("ui", "--print").strip(), follow_redirects=False)
        self.url = f"http://127.0.0.1:{synthetic.dmrc.port}"
        self.headers = {"cookie": opening.headers["set-cookie"].partition(";")[0], "origin": self.url}

    def cancel(self, id: str) -> httpx.Response:
        return httpx.post(f"{self.url}/ui/requests/{id}/cancel", headers=self.headers)

    def running(self) -> set[str]:
        """Return the ids of what runs: they come before the first progress."""
        ids, name = set(), ""
        with httpx.stream("GET", f"{self.url}/ui/events", headers=self.headers) as answer:
            for line in answer.iter_lines():
                name = line.removeprefix("event: ") if line.startswith("event: ") else name
                if name == "progress":
                    break
                if name == "started" and line.startswith("data: "):
                    ids.add(json.loads(line.removeprefix("data: "))["id"])
        return ids


@pytest.fixture
def page(synthetic: SyntheticDmrc) -> Page:
    return Page(synthetic)


def exchange(synthetic: SyntheticDmrc, id: str) -> dict[str, object]:
    def found() -> dict[str, object] | None:
        every = json.loads(synthetic.dmrc.ok("requests", "--json", "-n", "50"))
        return next((one for one in every if one["id"] == id), None)

    return eventually(found, "the record of the request")


def in_use(synthetic: SyntheticDmrc) -> int:
    (runner,) = synthetic.dmrc.daemon_client().runners()
    return int(str(runner["in_use"]))


def read_some(answer: http.client.HTTPResponse) -> bytes:
    return b"".join(answer.readline() for _ in range(9))


def test_a_stream_ends_with_an_error_and_what_it_said_stays_on_record(synthetic: SyntheticDmrc, page: Page) -> None:
    with synthetic.ask(**SLOW) as answer:
        begun, id = read_some(answer), answer.headers["x-dmrc-exchange-id"]
        assert page.cancel(id).json() == {"cancelled": id}
        whole = begun + answer.read()

    *_, last = [line for line in whole.splitlines() if line]
    assert json.loads(last.removeprefix(b"data: "))["error"]["type"] == "cancelled"
    assert b"[DONE]" not in whole
    recorded = exchange(synthetic, id)
    assert (recorded["status"], recorded["error_type"]) == (200, "cancelled")
    assert recorded["client_disconnected"] is False
    assert int(str(recorded["completion_tokens"])) >= 3
    assert in_use(synthetic) == 0
    assert synthetic.ask().status == 200
    assert page.cancel(id).status_code == 404


def test_a_request_that_waits_is_cancelled_and_the_one_before_it_goes_on(synthetic: SyntheticDmrc, page: Page) -> None:
    with synthetic.ask(**SLOW) as first, ThreadPoolExecutor() as threads:
        read_some(first)
        waiting = threads.submit(synthetic.ask)
        (id,) = eventually(lambda: page.running() - {first.headers["x-dmrc-exchange-id"]}, "a request that waits")
        page.cancel(id)
        answer = waiting.result(60)
        told = json.loads(answer.read())
        assert first.readline()

    assert answer.status == 499
    assert told["error"]["type"] == "cancelled"
    assert told["error"]["message"] == "the request was cancelled on the machine that runs dmrc. Ask again"
    assert exchange(synthetic, id)["status"] == 499


def test_a_caller_who_reads_slowly_gets_no_broken_chunk(synthetic: SyntheticDmrc, page: Page) -> None:
    """What a stream process had written in part cannot be followed by anything: the connection ends there."""
    with synthetic.ask(stream=True, max_tokens=200_000) as answer:
        read_some(answer)
        page.cancel(answer.headers["x-dmrc-exchange-id"])
        try:
            whole, is_cut = answer.read(), False
        except http.client.IncompleteRead as cut:
            whole, is_cut = cut.partial, True

    events = [line.removeprefix(b"data: ") for line in whole.splitlines() if line]
    for event in events[:-1] if is_cut else events:
        json.loads(event)
    assert is_cut or "error" in json.loads(events[-1])
